-- Deletes the keys that are still the caller's, takes it out of their lines, and calls the next in each.
--
-- KEYS      for each lock its key and its line; last the index of live locks, where there is one
-- ARGV[1]   the owner's token
-- ARGV[2]   for how many µs a successor keeps its place without asking
-- ARGV[1+2i], ARGV[2+2i] the token of the caller's successor at lock i in its own process, which asks next, and for how
--           many µs that one has waited; or '' and 0
--
-- Answers how many keys were the caller's own.
local token, linger = ARGV[1], tonumber(ARGV[2])
local locks = (#ARGV - 2) / 2
local index = KEYS[2 * locks + 1]

local names, lines, has_successors = {}, {}, false
for i = 1, locks do
    names[i], lines[i] = KEYS[2 * i - 1], KEYS[2 * i]
    has_successors = has_successors or ARGV[1 + 2 * i] ~= ''
end

local owned = {}
for i, holder in ipairs(redis.call('MGET', unpack(names))) do
    if holder == token then
        owned[#owned + 1] = names[i]
    end
end
if #owned > 0 then
    redis.call('DEL', unpack(owned))
    if index then
        redis.call('ZREM', index, unpack(owned))
    end
end

-- Nearly always nobody waits for any of them.
if has_successors or redis.call('EXISTS', unpack(lines)) > 0 then
    local now, called = clock(), {}
    for i = 1, locks do
        local line, successor = lines[i], ARGV[1 + 2 * i]
        -- Its turn is kept until it asks: else whoever is called now would overtake it. Who gives a key back only to ask
        -- for it again comes after itself.
        if successor ~= token then
            redis.call('HDEL', line, token)
        end
        if successor ~= '' then
            local arrival = arrival_in(line, successor) or now - tonumber(ARGV[2 + 2 * i])
            stand_in(line, successor, arrival, now + linger)
        end
        local head = head_of(line, now)
        if head and head ~= successor and not called[head] then
            called[head] = true
            call(head)
        end
    end
end
return #owned
