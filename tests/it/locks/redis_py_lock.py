"""Another program with redis-py's own Lock: does what its standard input says and answers each line with one.

    try KEY       take KEY if it is free          True or False
    acquire KEY   wait for KEY                    True, or False after a minute
    owned KEY     is it still ours?               True or False
    extend KEY    have it for longer              True, or the error's name
    release KEY   let it go                       None, or the error's name
"""

import sys

import redis
from redis.exceptions import LockError
from redis.lock import Lock

client = redis.Redis.from_url(sys.argv[1])
locks = {}


def lock_of(key):
    if key not in locks:
        locks[key] = Lock(client, name=key, timeout=30, sleep=0.005, blocking_timeout=60, thread_local=False)
    return locks[key]


DOING = {
    "try": lambda lock: lock.acquire(blocking=False),
    "acquire": lambda lock: lock.acquire(),
    "owned": lambda lock: lock.owned(),
    "extend": lambda lock: lock.extend(30, replace_ttl=True),
    "release": lambda lock: lock.release(),
}

for line in sys.stdin:
    word, key = line.split()
    try:
        answer = DOING[word](lock_of(key))
    except LockError as error:
        answer = type(error).__name__
    print(answer, flush=True)
