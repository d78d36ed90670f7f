#!/usr/bin/env bash
# Searches every state of the models, of the lock protocol (lock.pml) and of shared sections (section.pml), then plants
# one mistake after another and sees to it that the search finds each, by the property that it breaks. Needs spin and a
# C compiler. Ends with status 1 if a protocol does not hold, if a search was not a whole one, if a statement of a model
# took no part, or if a mistake goes unnoticed.
set -euo pipefail
models=$(cd "$(dirname "$0")" && pwd)

# MODEL | NAME | MACROS | WHAT MUST BREAK, as the model names it; nothing for the protocol itself
variants() {
    sed 's/^/lock|/' <<'TABLE'
three replicas|-DN=3|
four replicas|-DN=4|
two replicas, two items|-DN=2 -DITEMS=2|
no row lock|-DNO_ROW_LOCK|WRITERS
no row lock, as the books see it|-DNO_ROW_LOCK -DBOOKS_ONLY|BOOKS
take whatever the key holds|-DTAKE_REGARDLESS|NO_WAIT_AT_ROW
keys without a TTL|-DKEYS_WITHOUT_TTL|deadlock
release without asking whose key it is|-DRELEASE_WITHOUT_OWNER|FOREIGN
release by GET, then DEL|-DGET_THEN_DEL|FOREIGN
renew without asking whose key it is|-DRENEW_WITHOUT_OWNER|FOREIGN
take over without comparing|-DTAKE_OVER_WITHOUT_COMPARE|FOREIGN
rows locked in any order|-DN=2 -DITEMS=2 -DUNSORTED_ROWS|deadlock
answer before the commit|-DANSWER_BEFORE_COMMIT|KEPT
TABLE
    sed 's/^/section|/' <<'TABLE'
three requests, two keys|-DR=3 -DK=2|
some go alone|-DR=3 -DK=2 -DSOME_GO_ALONE|
three requests, three keys|-DR=3 -DK=3 -DNOBODY_HANGS_UP|
four requests, two keys|-DR=4 -DK=2 -DNOBODY_HANGS_UP|
join one of those who are last in line|-DJOIN_WHOEVER_IS_LAST|APART
follow others once it is served|-DR=4 -DK=2 -DNOBODY_HANGS_UP -DFOLLOW_WHEN_SERVED|APART
follow whoever began later|-DR=4 -DK=2 -DNOBODY_HANGS_UP -DFOLLOW_THE_LATER|EARLIER
join a section that has begun|-DJOIN_THE_CLOSED|deadlock
wait for what a stranger has, all of them|-DWAIT_FOR_ALL|NEEDED
wait for a stranger, with a slot|-DWAIT_WITH_A_SLOT|SLOT
TABLE
}

# What the search says when a property breaks.
sign_of() { # PROPERTY
    case $1 in
    WRITERS) echo 'assertion violated (writers[' ;;
    BOOKS) echo 'assertion violated ((ledger[' ;;
    NO_WAIT_AT_ROW) echo 'assertion violated (stormy||(row[' ;;
    FOREIGN) echo 'assertion violated ((key[' ;;
    KEPT) echo 'assertion violated  !(promised)' ;;
    APART) echo 'assertion violated ((keys[me]&taken)' ;;
    NEEDED) echo 'assertion violated yes' ;;
    EARLIER) echo 'assertion violated ((length[k]==0)||(line[' ;;
    SLOT) echo 'assertion violated  !(has_slot)' ;;
    deadlock) echo 'invalid end state' ;;
    esac
}

for program in spin "${CC:-cc}"; do
    command -v "$program" >/dev/null || { echo "model: $program is missing; \`make tools\` sees to it" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$models"/*.pml "$work"
cd "$work"

search() { # MODEL MACROS PROPERTY
    local macros effort=-O1
    read -ra macros <<<"$2"
    # A mistake is found at once: compiling well would take longer than it saves.
    if [[ -n $3 ]]; then effort=-O0; fi
    spin "${macros[@]}" -a "$1.pml" && "${CC:-cc}" "$effort" -w -DSAFETY -o pan pan.c && ./pan -m100000
}

# Every state was looked at.
was_whole() {
    grep -q '^Full statespace search for:' out &&
        ! grep -qiE 'not completed|max search depth|hash-?compact|bit ?state|out of memory|memlim' out
}

# Keeps the lines that took no part in any search of a model so far.
keep_idle() { # MODEL
    { grep -E "^[[:space:]]$1\\.pml:" out || true; } | grep -v '"-end-"$' | sed 's/^[^:]*:\([0-9]*\),.*/\1/' | sort -u >idle || true
    if [[ -f idle-$1 ]]; then
        comm -12 idle "idle-$1" >both
        mv both "idle-$1"
    else
        mv idle "idle-$1"
    fi
}

# Those of them that are not marked as having no part where an inline is put to some use.
idle_lines() { # MODEL
    local line
    while read -r line; do
        sed -n "${line}p" "$1.pml" | grep -v 'not in every use' | sed "s/^/$1.pml:$line: /" || true
    done <"idle-$1"
}

verdict() { # PROPERTY
    if [[ -z $1 ]]; then
        if ! grep -q ', errors: 0$' out; then
            echo 'DOES NOT HOLD'
        elif ! was_whole; then
            echo 'SEARCHED IN PART'
        else
            echo 'holds'
        fi
    elif grep -qF "$(sign_of "$1")" out; then
        echo "refuted: $1"
    else
        echo "NOT FOUND: $1"
    fi
}

failed=
row() { printf '%-40s %10s  %-24s %8s\n' "$@"; }
row VARIANT STATES VERDICT SECONDS
while IFS='|' read -r model name macros property; do
    if ! search "$model" "$macros" "$property" >out 2>&1; then echo "model: the search did not run: $name" >>out; fi
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out)
    seconds=$(sed -n 's/^pan: elapsed time \([0-9.e-]*\) seconds.*/\1/p' out)
    verdict=$(verdict "$property")
    if [[ -z $property ]]; then keep_idle "$model"; fi
    row "$name" "${states:--}" "$verdict" "${seconds:--}"
    if [[ $verdict == [A-Z]* ]]; then
        failed=yes
        sed 's/^/    /' out
    fi
done < <(variants)
for model in lock section; do
    if [[ -n $(idle_lines "$model") ]]; then
        failed=yes
        echo 'TOOK NO PART in any search:'
        idle_lines "$model"
    fi
done
echo "$SECONDS seconds in all"
[[ -z $failed ]]
