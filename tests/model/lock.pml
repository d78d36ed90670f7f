/*
 * A model of the lock protocol of src/locks, for Spin. check.sh searches all of it and sees to it that every planted
 * mistake is found: `tests/model/check.sh`, or within `make test`.
 *
 * N replicas run one section each: Redis keys, row locks, read, decide, commit, release, answer. With ITEMS=2 a
 * section wants either item or both. A replica, its section and its token are one number here: `me`, from 1.
 *
 * At any step, any number of times, and for as long as the storm lasts:
 *   - a Redis key holds anything: it expired, was flushed, fell back to old data, or a take came through late;
 *   - a replica sees no Redis and goes on with the row lock alone, beside others that have both;
 *   - a replica that lives is taken for dead and its key is freed;
 *   - a replica dies: Postgres rolls back and frees its rows, its key stays;
 *   - Postgres ends a transaction whose replica lives on.
 * Once the storm is over, and where it never came, nothing of this happens. Only keys that nobody renews lapse.
 *
 * What must hold:
 *   BOOKS           no more is sold than there was, and stock and ledger agree after every commit
 *   WRITERS         a row has one writer at a time
 *   FOREIGN         nobody deletes or renews a key of another, but that of the one he took for dead
 *   KEPT            whoever was told "sold" has a committed sale
 *   SERVED          where nothing failed all there is gets sold, and
 *   NO_WAIT_AT_ROW  nobody waits at a row: that is what the Redis keys are for
 *   and whoever lives comes to his end once the storm is over: no deadlock, no key that blocks for ever.
 *
 * Left out: Redis's line of waiters, which decides who is next and never what is true; and callers that give up
 * waiting, who are like replicas that died before they had anything.
 */

#ifndef N
#define N 3
#endif
#ifndef ITEMS
#define ITEMS 1
#endif
/* One fewer than may want it, so that the last unit and "sold out" are both met. */
#ifndef UNITS
#define UNITS (N - 1)
#endif

byte key[ITEMS];     /* the token in each Redis key; 0 for none */
byte row[ITEMS];     /* whose transaction has each row; 0 for none */
byte writers[ITEMS]; /* how many believe to have it */
byte stock[ITEMS];
byte ledger[ITEMS];  /* units sold by committed movements */
byte holding;        /* who believes to have his Redis keys, as bits */
byte gone;           /* how many have answered or died */
bool storm;          /* things may fail now */
bool stormy;         /* things may have failed */

#define BIT(n) (1 << (n))
#define WANTS(i) (wanted & BIT(i))
#define HOLDS (holding & BIT(me))
#if defined(TAKE_REGARDLESS)
#define FREE true
#elif ITEMS == 1
#define FREE (key[0] == 0)
#else
#define FREE ((!WANTS(0) || key[0] == 0) && (!WANTS(1) || key[1] == 0))
#endif
#if ITEMS == 1
#define SOLD_OUT (read[0] == 0)
#else
#define SOLD_OUT ((WANTS(0) && read[0] == 0) || (WANTS(1) && read[1] == 0))
#endif

/* The row that is locked next is the first that is wanted and not locked yet. */
#ifdef UNSORTED_ROWS
#define NEXT(i) (wanted & ~locked & BIT(i))
#else
#define NEXT(i) ((wanted & ~locked & (BIT(i + 1) - 1)) == BIT(i))
#endif
#ifdef NO_ROW_LOCK
#define ROW_FREE(i) true
#else
#define ROW_FREE(i) (row[i] == 0)
#endif

#define BOOKS(i) (ledger[i] <= UNITS && stock[i] + ledger[i] == UNITS)
#define WRITERS(i) (writers[i] == 1)
#define FOREIGN(i, whose) (key[i] == 0 || key[i] == whose)
#define KEPT (!promised)
#define SERVED (stormy || ITEMS > 1 || stock[0] == 0)
#define NO_WAIT_AT_ROW(i) (stormy || row[i] == 0)

/*
 * A script in Redis is one step for all others, and so are a commit and a rollback in Postgres. What nobody else can
 * see is drawn into the step before it, which makes far fewer states of the same behaviour.
 */

inline take() {
    d_step {
        FREE ->
        for (i : 0 .. ITEMS - 1) {
            if
            :: WANTS(i) -> key[i] = me
            :: else
            fi
        }
        i = 0;
        holding = holding | BIT(me)
    }
}

inline delete(n, whose) {
    assert(FOREIGN(n, whose));
    key[n] = 0
}

/* Also of keys he does not believe to have: his take may have come through late. */
inline release() {
#ifdef GET_THEN_DEL
    d_step {
        for (i : 0 .. ITEMS - 1) {
            mine[i] = (WANTS(i) && key[i] == me)
        }
        i = 0
    }
#endif
    d_step {
        for (i : 0 .. ITEMS - 1) {
            if
#if defined(GET_THEN_DEL)
            :: mine[i] -> mine[i] = false; delete(i, me)
#elif defined(RELEASE_WITHOUT_OWNER)
            :: WANTS(i) && HOLDS -> delete(i, me)
#else
            :: WANTS(i) && key[i] == me -> delete(i, me)
#endif
            :: else
            fi
        }
        i = 0;
        leave()
    }
}

inline renew() {
    d_step {
        HOLDS ->
        for (i : 0 .. ITEMS - 1) {
            if
#ifdef RENEW_WITHOUT_OWNER
            :: WANTS(i) -> assert(FOREIGN(i, me))
#else
            :: WANTS(i) && key[i] == me -> assert(FOREIGN(i, me))
#endif
            :: else
            fi
        }
        i = 0
    }
}

/* Somebody was taken for dead, whose token was in the key at some time: the key is freed if it still is. */
inline take_over(n, seen) {
    if
#ifdef TAKE_OVER_WITHOUT_COMPARE
    :: delete(n, seen)
#else
    :: key[n] == seen -> delete(n, seen)
    :: else
#endif
    fi
}

inline lock_row(n) {
    d_step {
        NEXT(n) && ROW_FREE(n) ->
        row[n] = me;
        locked = locked | BIT(n);
        writers[n]++;
#ifndef BOOKS_ONLY
        assert(WRITERS(n))
#endif
    }
}

inline come_to_row(n) {
    d_step { !stormy && NEXT(n) -> assert(NO_WAIT_AT_ROW(n)) }
}

inline read_rows() {
    d_step {
        locked == wanted ->
        for (i : 0 .. ITEMS - 1) {
            if
            :: WANTS(i) -> read[i] = stock[i]
            :: else
            fi
        }
        i = 0
    }
}

/* However a transaction ends, its rows are free. */
inline end_transaction() {
    for (i : 0 .. ITEMS - 1) {
        if
        :: locked & BIT(i) -> row[i] = 0; writers[i]--
        :: else
        fi;
        read[i] = 0
    }
    i = 0;
    locked = 0
}

inline commit() {
    d_step {
        !SOLD_OUT ->
        for (i : 0 .. ITEMS - 1) {
            if
            :: WANTS(i) -> stock[i] = read[i] - 1; ledger[i]++; assert(BOOKS(i))
            :: else
            fi
        }
        promised = false;
        end_transaction()
    }
}

inline leave() {
    assert(KEPT);
    promised = false;
    holding = holding & ~BIT(me);
    gone++
}

#define MAY_DIE :: atomic { storm -> goto dead }
#define MAY_BE_ENDED :: atomic { storm -> goto rolled_back }

proctype Replica(byte me; byte wanted) {
    byte i, locked;
    byte read[ITEMS];
    bool promised; /* told "sold", and nothing is committed yet */
#ifdef GET_THEN_DEL
    bool mine[ITEMS];
#endif

    if
    :: take()
    :: storm /* no Redis: goes on without */
    MAY_DIE
    fi;

    do
    :: read_rows() -> break
    :: lock_row(0)
    :: come_to_row(0)
#if ITEMS > 1
    :: lock_row(1)
    :: come_to_row(1)
#endif
    :: renew()
    MAY_DIE
    MAY_BE_ENDED
    od;

    do
    :: atomic { SOLD_OUT -> goto rolled_back }
#ifdef ANSWER_BEFORE_COMMIT
    :: !SOLD_OUT && !promised -> promised = true
#endif
    :: commit() -> goto let_go
    :: renew()
    MAY_DIE
    MAY_BE_ENDED
    od;

rolled_back:
    atomic { end_transaction() };
let_go:
    if
    :: release() -> goto end
    MAY_DIE
    fi;
dead:
    atomic {
        end_transaction();
        leave();
        goto end
    };
end:
    false
}

/* What befalls the keys, and the end of the storm. */
active proctype Redis() {
    byte i, token;
end:
    do
    :: atomic {
        storm -> select(i : 0 .. ITEMS - 1);
        select(token : 0 .. N);
        if
        :: key[i] = token
        :: token != 0 -> take_over(i, token)
        fi;
        token = 0;
        i = 0
    }
    :: storm -> storm = false
#ifndef KEYS_WITHOUT_TTL
    :: atomic { key[0] != 0 && !(holding & BIT(key[0])) -> key[0] = 0 }
#if ITEMS > 1
    :: atomic { key[1] != 0 && !(holding & BIT(key[1])) -> key[1] = 0 }
#endif
#endif
    od
}

init {
    byte i, wanted;
    atomic {
        for (i : 0 .. ITEMS - 1) {
            stock[i] = UNITS
        }
        if
        :: storm = true; stormy = true
        :: true
        fi;
        for (i : 1 .. N) {
            select(wanted : 1 .. BIT(ITEMS) - 1);
            run Replica(i, wanted)
        }
        i = 0;
        wanted = 0
    }
    gone == N;
    assert(SERVED)
}
