-- Takes every key or none, in order of arrival across replicas.
--
-- KEYS      the lock keys, sorted
-- ARGV[1]   the taker's token
-- ARGV[2]   its ticket from an earlier try, or ''
-- ARGV[3]   how many ms it keeps its place in line without trying again
-- ARGV[3+i] the TTL of KEYS[i] in ms
--
-- Answers {0} when taken, else {i, ms left of the lock on KEYS[i] or 0, ticket}: KEYS[i] is held, or free
-- but promised to somebody who came earlier.
local token, ticket, linger = ARGV[1], ARGV[2], ARGV[3]

-- The earliest ticket in a key's line whose owner still asks.
local function head_of(key)
    local line = 'holdfast:line:' .. key
    while true do
        local head = redis.call('ZRANGE', line, 0, 0)[1]
        if not head or head == token or redis.call('EXISTS', 'holdfast:waiter:' .. head) == 1 then
            return head
        end
        redis.call('ZREM', line, head)
    end
end

local busy, left = nil, 0
for i, key in ipairs(KEYS) do
    left = redis.call('PTTL', key)
    if left ~= -2 then
        busy = i
        break
    end
    local head = head_of(key)
    if head and head ~= token then
        busy, left = i, 0
        break
    end
end

if not busy then
    for i, key in ipairs(KEYS) do
        redis.call('SET', key, token, 'PX', ARGV[3 + i])
        if ticket ~= '' then
            redis.call('ZREM', 'holdfast:line:' .. key, token)
        end
    end
    if ticket ~= '' then
        redis.call('DEL', 'holdfast:waiter:' .. token)
    end
    return {0}
end

if ticket == '' then
    ticket = redis.call('INCR', 'holdfast:ticket')
end
-- Every try, not only the first: whoever was too slow to keep its place takes it up again.
for _, key in ipairs(KEYS) do
    redis.call('ZADD', 'holdfast:line:' .. key, 'NX', ticket, token)
    redis.call('PEXPIRE', 'holdfast:line:' .. key, 60000)
end
redis.call('SET', 'holdfast:waiter:' .. token, '1', 'PX', linger)
return {busy, left, tonumber(ticket)}
