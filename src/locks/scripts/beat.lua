-- Says that a replica lives, and how many requests wait in it for which key.
--
-- KEYS      the replica's liveness, the set of all replicas, the replica's waiters, the index of live locks
-- ARGV[1]   the replica
-- ARGV[2]   for how many ms this counts
-- ARGV[…]   pairs: the name of a lock, how many wait for it
local replica, lives = ARGV[1], tonumber(ARGV[2])
local now = clock() / 1000

-- Another value with every beat: where a jump of the clock keeps a dead one's key alive, it still does not change.
redis.call('SET', KEYS[1], text(clock()), 'PX', lives)
redis.call('ZADD', KEYS[2], text(now + lives), replica)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now))
-- What a crash left in the index of live locks goes too, whether anyone looks or not.
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', text(now))
redis.call('DEL', KEYS[3])
if #ARGV > 2 then
    redis.call('HSET', KEYS[3], unpack(ARGV, 3))
    redis.call('PEXPIRE', KEYS[3], lives)
end
return 1
