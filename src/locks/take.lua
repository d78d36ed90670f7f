-- Takes every key or none, in order of arrival across replicas.
--
-- KEYS      the lock keys, sorted
-- ARGV[1]   the taker's token
-- ARGV[2]   its ticket from an earlier try, or ''
-- ARGV[3]   how many ms it keeps its place in line without trying again
-- ARGV[4]   for how many ms its replica is known to live
-- ARGV[4+i] the TTL of KEYS[i] in ms
--
-- Answers {0} when taken, else {i, ms left of one of our locks on KEYS[i] or 0, ticket}: KEYS[i] is held, or free
-- but promised to somebody who came earlier. A lock whose holder has died is as good as free.
local token, ticket, linger = ARGV[1], ARGV[2], ARGV[3]

-- Whoever asks lives, even where a Redis that was flushed has not heard its beat yet.
redis.call('SET', 'holdfast:replica:' .. string.sub(token, 1, 32), '1', 'PX', ARGV[4])

-- Who holds a key: 'ours', 'dead' (one of ours whose replica beats no more: as good as free) or 'stranger',
-- whose token names no replica and who is left to his TTL.
local function holder_of(key)
    local holder = redis.pcall('GET', key)
    if type(holder) ~= 'string' or not string.find(holder, '^%x+:holdfast$') then
        return 'stranger'
    end
    return redis.call('EXISTS', 'holdfast:replica:' .. string.sub(holder, 1, 32)) == 1 and 'ours' or 'dead'
end

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
    local holder = left ~= -2 and holder_of(key)
    if holder == 'ours' or holder == 'stranger' then
        busy = i
        left = holder == 'ours' and left or 0
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
        redis.call('SET', key, token, 'PX', ARGV[4 + i])
        if ticket ~= '' then
            redis.call('ZREM', 'holdfast:line:' .. key, token)
        end
    end
    if ticket ~= '' then
        redis.call('DEL', 'holdfast:waiter:' .. token)
    end
    return {0}
end

-- The first time, and again for whoever was too slow to keep its place.
if ticket == '' or redis.call('EXISTS', 'holdfast:waiter:' .. token) == 0 then
    if ticket == '' then
        ticket = redis.call('INCR', 'holdfast:ticket')
    elseif tonumber(redis.call('GET', 'holdfast:ticket') or 0) < tonumber(ticket) then
        -- Flushed meanwhile: those who come now still come later.
        redis.call('SET', 'holdfast:ticket', ticket)
    end
    for _, key in ipairs(KEYS) do
        redis.call('ZADD', 'holdfast:line:' .. key, 'NX', ticket, token)
        redis.call('PEXPIRE', 'holdfast:line:' .. key, 60000)
    end
end
redis.call('SET', 'holdfast:waiter:' .. token, '1', 'PX', linger)
return {busy, left, tonumber(ticket)}
