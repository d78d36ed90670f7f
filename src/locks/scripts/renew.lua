-- Gives the keys that are still the caller's their whole TTL again, and touches no other.
--
-- KEYS      the lock keys; last the index of live locks, where there is one
-- ARGV[1]   the owner's token
-- ARGV[1+i] the TTL of lock i in ms
--
-- Answers how many keys were the caller's own.
local token = ARGV[1]
local locks = #ARGV - 1
local index = KEYS[locks + 1]
local now = clock()

local owned = 0
for i = 1, locks do
    local ttl = ARGV[1 + i]
    if redis.pcall('GET', KEYS[i]) == token then
        redis.call('PEXPIRE', KEYS[i], ttl)
        if index then
            redis.call('ZADD', index, text(now / 1000 + ttl), KEYS[i])
        end
        owned = owned + 1
    end
end
return owned
