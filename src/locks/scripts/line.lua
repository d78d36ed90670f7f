-- What the scripts that follow have in common: the line in front of a key.
--
-- A line is a hash: token → 'ARRIVAL UNTIL', both in µs of this server's clock. Whoever came earliest and still asks is
-- its head. It holds one taker a replica, so reading the whole of it is cheap. Numbers are written with '%.0f': Lua
-- would round them.

-- Nobody keeps a place for longer than this without asking, in µs.
local LONGEST_PLACE = 60000000

local function clock()
    local time = redis.call('TIME')
    return time[1] * 1000000 + time[2]
end

local function text(number)
    return string.format('%.0f', number)
end

-- Whether a place in line is still kept. One of whoever arrives in the future, or that seems kept for longer than any is,
-- was written before the clock was set back, and would else stand there until the old time comes round again.
local function is_kept(arrival, asks_until, now)
    return asks_until and arrival <= now and asks_until >= now and asks_until <= now + LONGEST_PLACE
end

-- The earliest in `line` who still asks. Whoever has not asked for too long is taken out.
local function head_of(line, now)
    local head, earliest
    local entries = redis.call('HGETALL', line)
    for i = 1, #entries, 2 do
        local token = entries[i]
        local arrival, asks_until = string.match(entries[i + 1], '^(%d+) (%d+)$')
        arrival, asks_until = tonumber(arrival), tonumber(asks_until)
        if not is_kept(arrival, asks_until, now) then
            redis.call('HDEL', line, token)
        elseif not head or arrival < earliest or (arrival == earliest and token < head) then
            head, earliest = token, arrival
        end
    end
    return head
end

local function arrival_in(line, token)
    local entry = redis.call('HGET', line, token)
    return entry and tonumber(string.match(entry, '^%d+'))
end

local function stand_in(line, token, arrival, asks_until)
    redis.call('HSET', line, token, text(arrival) .. ' ' .. text(asks_until))
    redis.call('PEXPIRE', line, LONGEST_PLACE / 1000)
end

-- Tells a waiter that its turn has come. A token begins with the 32 characters that name its replica.
local function call(token)
    redis.call('PUBLISH', 'holdfast:wake:' .. string.sub(token, 1, 32), token)
end
