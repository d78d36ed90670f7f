-- Takes every key or none, in order of arrival across replicas.
--
-- KEYS      for each lock its key and its line; last the index of live locks, where there is one
-- ARGV[1]   the taker's token
-- ARGV[2]   for how many µs it has waited already, in its own process
-- ARGV[3]   for how many µs it keeps its place without trying again
-- ARGV[3+i] the TTL of lock i in ms
--
-- Answers {0}, or {i, ms left of lock i or 0, its holder or ''}: lock i is held, or free but promised to somebody who
-- came earlier.
local token, waited, linger = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local locks = #ARGV - 3
local index = KEYS[2 * locks + 1]
local now = clock()

local busy, left, holder
local in_line = {}
for i = 1, locks do
    holder = redis.pcall('GET', KEYS[2 * i - 1])
    if holder then
        -- A key of another type is somebody's mistake, not ours to fail on.
        holder = type(holder) == 'string' and holder or 'not a lock'
        busy, left = i, math.max(redis.call('PTTL', KEYS[2 * i - 1]), 0)
        break
    end
    local head = head_of(KEYS[2 * i], now)
    if head == token then
        in_line[i] = true
    elseif head then
        -- It has been called already, unless arrivals crossed on their way here: then nobody else would tell it.
        call(head)
        busy, left, holder = i, 0, ''
        break
    end
end

if not busy then
    local entries = {}
    for i = 1, locks do
        local ttl = ARGV[3 + i]
        redis.call('SET', KEYS[2 * i - 1], token, 'PX', ttl)
        if in_line[i] then
            redis.call('HDEL', KEYS[2 * i], token)
        end
        entries[2 * i - 1], entries[2 * i] = text(now / 1000 + ttl), KEYS[2 * i - 1]
    end
    if index then
        redis.call('ZADD', index, unpack(entries))
    end
    return {0}
end

-- One arrival for all lines, the earliest that any of them knows: then any two takers stand in the same order in all
-- the lines they share, and the first of all can always go. What a line knows already stays: the wait that is told is
-- off by the way here, and nobody may be overtaken because of that.
local arrival
for i = 1, locks do
    local known = arrival_in(KEYS[2 * i], token)
    arrival = known and math.min(known, arrival or known) or arrival
end
arrival = arrival or now - waited
for i = 1, locks do
    stand_in(KEYS[2 * i], token, arrival, now + linger)
end
return {busy, left, holder}
