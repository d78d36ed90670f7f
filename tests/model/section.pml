/*
 * A model of how requests share sections in one process (src/section/share and src/locks/line), for Spin. check.sh
 * searches all of it, and sees to it that every planted mistake is found.
 *
 * R requests want any of K keys each, and come when they like. One opens a section, or joins that which is last in line
 * for all it wants, or that which waits for a slot. A section is a number here, from 1: its place in the lines.
 *
 * At any step:
 *   - a stranger, another replica, takes any key that nobody here has taken, and lets go of it again;
 *   - a caller hangs up.
 *
 * What must hold:
 *   APART    no two sections that are carried out at once share a key
 *   COVERED  a section has taken every key that its requests want
 *   NEEDED   a section waits for a stranger only for what each of its requests wants
 *   SLOT     and has no slot meanwhile
 *   ONCE     nobody is answered twice
 *   and everybody is answered in the end: no circle of waits, nobody forgotten.
 *
 * Left out: the bounds of a section, deadlines (who is told that his time is over is like one who hung up), and the
 * database: whose row is waited for is a stranger, and a section that fails there is carried out one by one.
 */

#ifndef R
#define R 3
#endif
#ifndef K
#define K 2
#endif
/* A request opens one section when it comes, one when it is set apart, and one alone. */
#define T (3 * R)

#define BIT(n) (1 << (n))
#define ALL_KEYS (BIT(K) - 1)

byte wants[R];        /* keys, as bits */
byte members[T + 1];  /* requests, as bits */
byte keys[T + 1];     /* whose lines it stands in */
byte needs[T + 1];    /* the key that it was set apart for; 0 for none */
byte line[K * T];     /* sections, in the order in which they came */
byte length[K];
byte ready;           /* the section that only waits for a slot; 0 for none */
byte slots = 1;
byte next = 1;        /* the number of the next section */
byte answered;        /* requests, as bits */
byte were_apart;      /* requests that were set apart once, as bits */
byte strangers;       /* keys that another replica has, as bits */
byte taken;           /* keys that are taken here, as bits */
bool may_join[T + 1]; /* it is not closed */
bool may_grow[T + 1]; /* and takes up keys */
bool served[T + 1];   /* it has its keys */
byte place[R];        /* the section that each request is in */

/* With many keys a stranger has one at a time, which makes fewer states. */
#if K == 2
#define STRANGER_MAY(k) !HAS(strangers | taken, k)
#else
#define STRANGER_MAY(k) (strangers == 0 && !HAS(taken, k))
#endif
#define HAS(set, n) ((set) & BIT(n))
#define HEAD(k) line[(k) * T]
#define TAIL(k) line[(k) * T + length[k] - 1]
#define HEADS(t, k) (!HAS(keys[t], k) || HEAD(k) == t)
#if K == 2
#define HEADS_ALL(t) (HEADS(t, 0) && HEADS(t, 1))
#else
#define HEADS_ALL(t) (HEADS(t, 0) && HEADS(t, 1) && HEADS(t, 2))
#endif

/* All of this is done under one mutex, or seen by nobody else. */

inline stand(t, more) {
    for (k : 0 .. K - 1) {
        if
        :: HAS(more, k) -> line[k * T + length[k]] = t; length[k]++
        :: else
        fi
    }
    keys[t] = keys[t] | (more);
    k = 0
}

inline leave_lines(t, less) {
    for (k : 0 .. K - 1) {
        if
        :: HAS((less) & keys[t], k) ->
            i = 0;
            do
            :: line[k * T + i] != t -> i++ /* not in every use */
            :: else -> break
            od;
            do
            :: i + 1 < length[k] -> line[k * T + i] = line[k * T + i + 1]; i++ /* not in every use */
            :: else -> break
            od;
            length[k]--;
            line[k * T + length[k]] = 0
        :: else
        fi
    }
    keys[t] = keys[t] & ~(less);
    i = 0;
    k = 0
}

/* Whether each member of t wants a key of `which`: leaves it in `yes`. */
inline all_want(t, which) {
    yes = true; /* not in every use */
    for (k : 0 .. R - 1) {
        if
        :: HAS(members[t], k) && !(wants[k] & (which)) -> yes = false
        :: else
        fi
    }
    k = 0
}

/* The section that r may join, if any: left in `host`. */
inline find_host(r, apart) {
    host = 0;
    yes = true;
    for (k : 0 .. K - 1) {
        if
        :: HAS(wants[r], k) && length[k] > 0 ->
            if
            :: host == 0 -> host = TAIL(k)
            :: host != 0 && host != TAIL(k) -> yes = false
            :: else
            fi
        :: else
        fi
    }
    k = 0;
    if
#ifdef JOIN_WHOEVER_IS_LAST
    :: false
#else
    :: !yes -> host = 0
#endif
    :: yes && host == 0 && (apart) == 0 -> host = ready
    :: else
    fi;
    if
#ifdef JOIN_THE_CLOSED
    :: host != 0 && !may_join[host] && keys[host] == 0 -> host = 0
#else
    :: host != 0 && !may_join[host] -> host = 0
#endif
    :: else
    fi
}

/* r joins a section, or opens one. */
inline enter(r, apart) {
    find_host(r, apart);
    if
    :: host != 0 ->
        if
        :: needs[host] != 0 -> yes = ((wants[r] & needs[host]) != 0)
        :: needs[host] == 0 && (apart) != 0 -> all_want(host, apart) /* not in every use */
        :: else -> yes = true /* not in every use */
        fi;
        if
        :: members[host] == 0 -> yes = false
        :: else
        fi;
        if
        :: !yes -> host = 0
        :: else ->
            for (k : 0 .. K - 1) {
                if
#ifndef JOIN_WHOEVER_IS_LAST
                :: HAS(wants[r] & ~keys[host], k) && length[k] > 0 -> yes = false
#endif
                :: else
                fi
            }
            k = 0;
            if
            :: !may_grow[host] && (wants[r] & ~keys[host]) -> yes = false
            :: else
            fi;
            if
            :: yes ->
                stand(host, wants[r] & ~keys[host]);
                members[host] = members[host] | BIT(r);
                place[r] = host
            :: else ->
                if
                :: ready == host -> ready = 0
                :: else
                fi;
                host = 0
            fi
        fi
    :: else
    fi;
    if
    :: host == 0 -> begin(r, apart, true)
    :: else
    fi;
    host = 0;
    yes = false
}

inline begin(r, apart, shared) {
    stand(next, wants[r]);
    members[next] = BIT(r);
    place[r] = next;
    needs[next] = apart;
    may_join[next] = shared;
    may_grow[next] = shared;
    run Section(next);
    next++
}

inline end_grow(t) {
    may_grow[t] = false;
    if
    :: ready == t -> ready = 0
    :: else
    fi
}

inline answer(those) {
    assert((answered & (those)) == 0); /* ONCE */
    answered = answered | (those)
}

/* Those who want a key of `which` leave t, and go on for themselves. */
inline set_apart(t, which) {
    left = 0;
    stay = 0;
    for (k : 0 .. R - 1) {
        if
        :: HAS(members[t], k) && (wants[k] & (which)) -> left = left | BIT(k)
        :: HAS(members[t], k) && !(wants[k] & (which)) -> stay = stay | wants[k]
        :: else
        fi
    }
    k = 0;
    members[t] = members[t] & ~left;
    leave_lines(t, keys[t] & ~stay);
    for (r : 0 .. R - 1) {
        if
        :: HAS(left, r) && HAS(were_apart, r) -> begin(r, 0, false)
        :: HAS(left, r) && !HAS(were_apart, r) ->
            were_apart = were_apart | BIT(r);
            enter(r, which)
        :: else
        fi
    }
    r = 0;
    left = 0;
    stay = 0
}

proctype Section(byte me) {
    byte k, i, r, host, left, stay, which;
    bool yes, has_slot, is_alone;

    /* Its turn in every line. */
    if
    :: atomic { members[me] != 0 && HEADS_ALL(me) -> is_alone = !may_join[me] }
    :: atomic { members[me] == 0 -> goto given_up }
    fi;
    /* A slot; whoever goes alone takes none. */
    if
    :: is_alone
    :: atomic { !is_alone && slots > 0 -> slots--; has_slot = true; end_grow(me) }
    :: atomic {
        !is_alone && slots == 0 ->
        if
        :: ready == 0 && needs[me] == 0 -> ready = me
        :: else
        fi
    }
        if
        :: atomic { slots > 0 -> slots--; has_slot = true; end_grow(me) }
        :: atomic { members[me] == 0 -> goto given_up }
        fi
    fi;
    /* The keys, all of them or none. */
    do
    :: atomic { members[me] == 0 -> goto given_up }
    :: atomic {
        members[me] != 0 && (keys[me] & strangers) == 0 ->
        assert((keys[me] & taken) == 0); /* APART */
        taken = taken | keys[me];
        served[me] = true;
        left = members[me];
        may_join[me] = false;
        may_grow[me] = false
    } -> break
    :: atomic {
        members[me] != 0 && (keys[me] & strangers) != 0 ->
        if
        :: HAS(keys[me] & strangers, 0) -> which = BIT(0)
        :: HAS(keys[me] & strangers, 1) -> which = BIT(1)
#if K > 2
        :: HAS(keys[me] & strangers, 2) -> which = BIT(2)
#endif
        fi;
        all_want(me, which);
#ifdef WAIT_FOR_ALL
        yes = true;
#endif
        if
        :: yes ->
#ifndef WAIT_WITH_A_SLOT
            if
            :: has_slot -> slots++; has_slot = false
            :: else
            fi;
#endif
            assert(!has_slot); /* SLOT */
            all_want(me, which);
            assert(yes); /* NEEDED */
            yes = false
        :: else ->
            set_apart(me, which);
            which = 0
        fi
    }
        if
        :: which == 0
        :: atomic { which != 0 && ((strangers & which) == 0 || members[me] == 0) -> which = 0 }
        fi
    od;
    /* Decided and written; then the slot is free, and then it is committed, and told. */
    atomic {
        for (k : 0 .. R - 1) {
            assert(!HAS(left, k) || (wants[k] & ~taken) == 0) /* COVERED */
        }
        k = 0;
        if
        :: has_slot -> slots++; has_slot = false
        :: else
        fi
    };
    atomic {
        answer(left);
        members[me] = members[me] & ~left;
        left = 0;
        taken = taken & ~keys[me];
        leave_lines(me, keys[me])
    };
    goto end;

given_up:
    atomic {
        if
        :: has_slot -> slots++; has_slot = false
        :: else
        fi;
        end_grow(me);
        may_join[me] = false;
        leave_lines(me, keys[me])
    };
end:
    false
}

/* A caller, who may hang up before his request is carried out. */
proctype Request(byte me) {
    byte k, i, host;
    bool yes;

    atomic { enter(me, 0) };
end:
#ifdef NOBODY_HANGS_UP
    false;
#endif
    atomic {
        HAS(members[place[me]], me) && !served[place[me]] ->
        members[place[me]] = members[place[me]] & ~BIT(me);
        answer(BIT(me))
    }
}

/* Another replica, which comes to its end. */
active proctype Stranger() {
    byte k;
    do
    :: atomic {
        select(k : 0 .. K - 1);
        if
        :: HAS(strangers, k) -> strangers = strangers & ~BIT(k)
        :: STRANGER_MAY(k) -> strangers = strangers | BIT(k)
        :: else
        fi;
        k = 0
    }
    :: strangers == 0 -> break
    od
}

init {
    byte r, w;
    atomic {
        for (r : 0 .. R - 1) {
            /* Who is who makes no difference. */
            select(w : (r == 0 -> 1 : wants[r - 1]) .. ALL_KEYS);
            wants[r] = w
        }
        w = 0;
        for (r : 0 .. R - 1) {
            run Request(r)
        }
        r = 0
    }
    answered == BIT(R) - 1
}
