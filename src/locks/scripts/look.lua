-- What is known of some locks, for those who look on.
--
-- KEYS for each lock its key and its line
--
-- Answers for each {holder or '', ms left, how many replicas have a taker in its line}.
local seen = {}
for i = 1, #KEYS, 2 do
    local holder = redis.pcall('GET', KEYS[i])
    holder = type(holder) == 'string' and holder or ''
    seen[#seen + 1] = {holder, redis.call('PTTL', KEYS[i]), redis.call('HLEN', KEYS[i + 1])}
end
return seen
