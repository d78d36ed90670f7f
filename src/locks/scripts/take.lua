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
-- A small sorted set of short names is a list, gone through for each of them: a long name among them ends that. No lock has
-- such a name, and whoever lists them leaves it out. It goes with the first beat after its time.
local LONG_NAME, MANY = string.rep('-', 65), 8

local token, waited, linger = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local locks = #ARGV - 3
local index = KEYS[2 * locks + 1]
local now = clock()

local names, lines = {}, {}
for i = 1, locks do
    names[i], lines[i] = KEYS[2 * i - 1], KEYS[2 * i]
end

local busy, left, holder
local in_line = {}
-- Nearly always all are free and nobody waits, which one call tells for hundreds of locks.
if redis.call('EXISTS', unpack(KEYS, 1, 2 * locks)) > 0 then
    for i = 1, locks do
        holder = redis.pcall('GET', names[i])
        if holder then
            -- A key of another type is somebody's mistake, not ours to fail on.
            holder = type(holder) == 'string' and holder or 'not a lock'
            busy, left = i, math.max(redis.call('PTTL', names[i]), 0)
            break
        end
        local head = head_of(lines[i], now)
        if head == token then
            in_line[i] = true
        elseif head then
            -- It has been called already, unless arrivals crossed on their way here: then nobody else would tell it.
            call(head)
            busy, left, holder = i, 0, ''
            break
        end
    end
end

if not busy then
    -- Few TTLs for many locks: numbers are dear to write.
    local entries, ends = {}, {}
    for i = 1, locks do
        local ttl = ARGV[3 + i]
        redis.call('SET', names[i], token, 'PX', ttl)
        if in_line[i] then
            redis.call('HDEL', lines[i], token)
        end
        ends[ttl] = ends[ttl] or text(now / 1000 + ttl)
        entries[2 * i - 1], entries[2 * i] = ends[ttl], names[i]
    end
    if index then
        if locks > MANY then
            redis.call('ZADD', index, entries[1], LONG_NAME)
        end
        redis.call('ZADD', index, unpack(entries))
    end
    return {0}
end

-- One arrival for all lines, the earliest that any of them knows: then any two takers stand in the same order in all
-- the lines they share, and the first of all can always go. What a line knows already stays: the wait that is told is
-- off by the way here, and nobody may be overtaken because of that.
local arrival
for i = 1, locks do
    local known = arrival_in(lines[i], token)
    arrival = known and math.min(known, arrival or known) or arrival
end
arrival = arrival or now - waited
for i = 1, locks do
    stand_in(lines[i], token, arrival, now + linger)
end
return {busy, left, holder}
