-- What is known of some locks, for those who look on.
--
-- KEYS for each lock its key and its line
--
-- Answers for each {holder or '', ms left, how many replicas have a taker who still asks in its line}.
local seen, now = {}, clock()
for i = 1, #KEYS, 2 do
    local holder = redis.pcall('GET', KEYS[i])
    if type(holder) ~= 'string' then
        holder = holder and 'not a lock' or ''
    end
    local takers = 0
    for _, entry in ipairs(redis.call('HVALS', KEYS[i + 1])) do
        local arrival, asks_until = string.match(entry, '^(%d+) (%d+)$')
        takers = takers + (is_kept(tonumber(arrival), tonumber(asks_until), now) and 1 or 0)
    end
    seen[#seen + 1] = {holder, redis.call('PTTL', KEYS[i]), takers}
end
return seen
