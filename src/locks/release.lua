-- Deletes the keys that are still the caller's, takes it out of their lines, and calls the next in each.
--
-- KEYS    the lock keys
-- ARGV[1] the owner's token
-- ARGV[2] '1' if it may still stand in line
--
-- Answers how many keys were its own: fewer than KEYS means that the lease was lost meanwhile.
local token = ARGV[1]
local owned = 0
for _, key in ipairs(KEYS) do
    local line = 'holdfast:line:' .. key
    -- A key of another type is somebody's mistake, not ours to fail on.
    if redis.pcall('GET', key) == token then
        redis.call('DEL', key)
        owned = owned + 1
    end
    if ARGV[2] == '1' then
        redis.call('ZREM', line, token)
    end
    local next = redis.call('ZRANGE', line, 0, 0)[1]
    if next then
        -- A token begins with the 32 characters that name its replica.
        redis.call('PUBLISH', 'holdfast:wake:' .. string.sub(next, 1, 32), next)
    end
end
if ARGV[2] == '1' then
    redis.call('DEL', 'holdfast:waiter:' .. token)
end
return owned
