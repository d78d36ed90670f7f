-- Deletes a key of another type than a lock's, if it still is of one, and calls the first in its line.
--
-- KEYS      the key and its line
--
-- Answers how many keys were deleted.
local type = redis.call('TYPE', KEYS[1]).ok
if type == 'none' or type == 'string' then
    return 0
end
redis.call('DEL', KEYS[1])
local head = head_of(KEYS[2], clock())
if head then
    call(head)
end
return 1
