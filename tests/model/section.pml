/*
 * A model of how requests share sections in one process (src/section/share and src/locks/line), for Spin. check.sh
 * searches all of it, and sees to it that every planted mistake is found.
 *
 * R requests want any of K keys each, and come when they like. One opens a section, or joins that which is last in line
 * for all it wants, or that which waits for a slot, or that which gathers what is to follow earlier rounds. A section is a
 * number here, from 1: its place in the lines.
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
 *   EARLIER  nobody stands behind a section that began after his
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
byte round[T + 1];    /* in which it is served, from 1; 0 for none */
byte gathering[T + 2]; /* the section of each round that takes up what earlier rounds are to be done with first */
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

/* Whether t may come to stand behind the last in line for k: it waits itself, and came later, and is of a later round. */
#ifdef FOLLOW_WHEN_SERVED
#define WAITS(t) true
#else
#define WAITS(t) (!HEADS_ALL(t))
#endif
#ifdef FOLLOW_THE_LATER
#define CAME_LATER(t, than) true
#else
#define CAME_LATER(t, than) ((than) < (t))
#endif
#define MAY_FOLLOW(t, k) (WAITS(t) && CAME_LATER(t, TAIL(k)) && round[TAIL(k)] != 0 && \
    (round[t] == 0 || round[TAIL(k)] < round[t]))

/* All of this is done under one mutex, or seen by nobody else. */

inline stand(t, more) {
    for (k : 0 .. K - 1) {
        if
        :: HAS(more, k) ->
#ifndef JOIN_WHOEVER_IS_LAST
            assert(length[k] == 0 || TAIL(k) < t); /* EARLIER */
#endif
            line[k * T + length[k]] = t; /* not in every use */
            length[k]++ /* not in every use */
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

/* The latest round of those who are last in r's lines, from 1, left in `latest`; 0 if one of them has none. */
inline find_latest(r) {
    latest = 0;
    yes = true;
    for (k : 0 .. K - 1) {
        if
        :: HAS(wants[r], k) && length[k] > 0 ->
            if
            :: round[TAIL(k)] == 0 -> yes = false
            :: round[TAIL(k)] > latest -> latest = round[TAIL(k)]
            :: else
            fi
        :: else
        fi
    }
    k = 0;
    if
    :: !yes -> latest = 0
    :: else
    fi
}

/* The sections that r may try to join, 0 for none: left in `host` and `other`. */
inline find_hosts(r, apart) {
    find_latest(r);
    host = 0;
    other = 0;
    yes = true;
    for (k : 0 .. K - 1) {
        if
        :: HAS(wants[r], k) && length[k] > 0 && (latest == 0 || (apart) != 0 || round[TAIL(k)] == latest) ->
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
    :: !yes ->
        /* That which is for something that r wants too, if there is but one. */
        host = 0;
        for (k : 0 .. K - 1) {
            if
            :: HAS(wants[r], k) && length[k] > 0 && (latest == 0 || (apart) != 0) && (needs[TAIL(k)] & wants[r]) ->
                if
                :: host == 0 -> host = TAIL(k)
                :: host != 0 && host != TAIL(k) -> host = T + 1
                :: else
                fi
            :: else
            fi
        }
        k = 0;
        if
        :: host == T + 1 -> host = 0
        :: else
        fi
#endif
    :: yes && host == 0 && (apart) == 0 -> host = ready
    :: else
    fi;
    if
    :: latest != 0 && (apart) == 0 -> other = gathering[latest + 1]
    :: else
    fi;
    latest = 0
}

/* Whether r can join `host`: leaves it in `yes`. */
inline find_room(r, apart) {
    if
#ifdef JOIN_THE_CLOSED
    :: !may_join[host] && keys[host] == 0 -> yes = false
#else
    :: !may_join[host] -> yes = false
#endif
    :: else -> yes = true
    fi;
    if
    :: yes && needs[host] != 0 -> yes = ((wants[r] & needs[host]) != 0)
    :: yes && needs[host] == 0 && (apart) != 0 -> all_want(host, apart) /* not in every use */
    :: else
    fi;
    if
    :: members[host] == 0 -> yes = false
    :: else
    fi;
    if
    :: yes ->
        for (k : 0 .. K - 1) {
            if
#ifndef JOIN_WHOEVER_IS_LAST
            :: HAS(wants[r] & ~keys[host], k) && length[k] > 0 && !MAY_FOLLOW(host, k) -> yes = false
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
        :: !yes -> settle(host)
        :: else
        fi
    :: else
    fi
}

inline settle(t) {
    if
    :: ready == t -> ready = 0 /* not in every use */
    :: else
    fi;
    if
    :: round[t] != 0 && gathering[round[t]] == t -> gathering[round[t]] = 0
    :: else
    fi
}

inline leave_round(t) {
    settle(t);
    round[t] = 0
}

/* r joins a section, or opens one. */
inline enter(r, apart) {
    find_hosts(r, apart);
    yes = false;
    do
    :: !yes && host != 0 ->
        find_room(r, apart);
        if
        :: !yes -> host = 0
        :: else
        fi
    :: !yes && host == 0 && other != 0 -> host = other; other = 0 /* not in every use */
    :: else -> break
    od;
    if
    :: yes ->
        stand(host, wants[r] & ~keys[host]);
        members[host] = members[host] | BIT(r);
        place[r] = host
    :: else -> begin(r, apart, true)
    fi;
    host = 0;
    other = 0;
    yes = false
}

inline begin(r, apart, shared) {
    find_latest(r);
    if
    :: shared && (apart) == 0 && yes -> /* not in every use */
        round[next] = latest + 1;
        if
        :: latest > 0 -> gathering[latest + 1] = next
        :: else
        fi
    :: else
    fi;
    latest = 0;
    yes = false;
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
    settle(t)
}

inline answer(those) {
    assert((answered & (those)) == 0); /* ONCE */
    answered = answered | (those)
}

/* Those who want a key of `which` leave t: they are added to `left`. */
inline part_with(t, which) {
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
    stay = 0
}

/* Those in `left` go on for themselves. */
inline set_apart(which) {
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
    left = 0
}

/* Nobody comes to stand behind t for company's sake, nor behind those behind it. Whoever stands there for `which` and does
 * not want it himself is held up no longer. In each line they stand by their numbers. */
inline let_others_pass(t, which) {
    leave_round(t);
    stay = keys[t];
    for (behind : t + 1 .. T) {
        if
        :: (keys[behind] & stay) ->
            leave_round(behind);
            stay = stay | keys[behind]
        :: else
        fi
    }
    stay = 0;
    for (behind : t + 1 .. T) {
        if
        :: may_grow[behind] && (keys[behind] & (which)) && members[behind] != 0 ->
            all_want(behind, which);
            if
            :: !yes -> part_with(behind, which)
            :: yes && needs[behind] == 0 -> needs[behind] = which
            :: else
            fi
        :: else
        fi
    }
    behind = 0;
    set_apart(which)
}

proctype Section(byte me) {
    byte k, i, r, host, other, latest, behind, left, stay, which;
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
            if
            :: !is_alone -> let_others_pass(me, which)
            :: else
            fi;
            yes = false
        :: else ->
            part_with(me, which);
            set_apart(which);
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
        leave_lines(me, keys[me]);
        leave_round(me)
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
        leave_lines(me, keys[me]);
        leave_round(me)
    };
end:
    false
}

/* A caller, who may hang up before his request is carried out. */
proctype Request(byte me) {
    byte k, host, other, latest;
    bool yes;

    if
    :: atomic { enter(me, 0) }
#ifdef SOME_GO_ALONE
    :: atomic { begin(me, 0, false) }
#endif
    fi;
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
