-- Brings the shadow of a lease in step with a claim: sets it, or deletes it where no value is given.
--
-- KEYS      the lease's name; the index of live locks, where there is one
-- ARGV[1]   the claim's fence; 0 for a place holder
-- ARGV[2]   the value that shows the claim, 'lease:FENCE:RANDOM', or ''
-- ARGV[3]   its TTL in ms
--
-- Answers 0 if that is done, 1 if a newer claim's shadow or another's place holder stays, 2 if the value is a stranger's.
local key, index = KEYS[1], KEYS[2]
local fence, value, ttl = tonumber(ARGV[1]), ARGV[2], ARGV[3]

local shown = redis.pcall('GET', key)
if shown then
    local theirs = type(shown) == 'string' and tonumber(string.match(shown, '^lease:(%d+):'))
    if not theirs then
        return 2
    end
    if theirs > fence or (fence == 0 and value ~= '') then
        return 1
    end
end
if value ~= '' then
    redis.call('SET', key, value, 'PX', ttl)
    if index then
        redis.call('ZADD', index, text(clock() / 1000 + ttl), key)
    end
else
    redis.call('DEL', key)
    if index then
        redis.call('ZREM', index, key)
    end
end
return 0
