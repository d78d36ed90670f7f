#!/usr/bin/env bash
# Searches every state of the lock protocol's model (lock.pml), then plants one mistake after another and sees to it
# that the search finds each, by the property that it breaks. Needs spin and a C compiler. Ends with status 1 if
# the protocol does not hold, if a search was not a whole one, or if a mistake goes unnoticed.
set -euo pipefail
model=$(cd "$(dirname "$0")" && pwd)/lock.pml

# NAME | MACROS | WHAT MUST BREAK, as lock.pml names it; nothing for the protocol itself
variants() {
    cat <<'TABLE'
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
}

# What the search says when a property breaks.
sign_of() { # PROPERTY
    case $1 in
    WRITERS) echo 'assertion violated (writers[' ;;
    BOOKS) echo 'assertion violated ((ledger[' ;;
    NO_WAIT_AT_ROW) echo 'assertion violated (stormy||(row[' ;;
    FOREIGN) echo 'assertion violated ((key[' ;;
    KEPT) echo 'assertion violated  !(promised)' ;;
    deadlock) echo 'invalid end state' ;;
    esac
}

for program in spin "${CC:-cc}"; do
    command -v "$program" >/dev/null || { echo "model: $program is missing; \`make tools\` sees to it" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$model" "$work/lock.pml"
cd "$work"

search() { # MACROS PROPERTY
    local macros effort=-O1
    read -ra macros <<<"$1"
    # A mistake is found at once: compiling well would take longer than it saves.
    if [[ -n $2 ]]; then effort=-O0; fi
    spin "${macros[@]}" -a lock.pml && "${CC:-cc}" "$effort" -w -DSAFETY -o pan pan.c && ./pan -m100000
}

# Every state was looked at, and every statement of the model took part.
was_whole() {
    grep -q '^Full statespace search for:' out &&
        ! grep -qiE 'not completed|max search depth|hash-?compact|bit ?state|out of memory|memlim' out &&
        ! grep -E '^[[:space:]]lock\.pml:' out | grep -qv '"-end-"$'
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
while IFS='|' read -r name macros property; do
    if ! search "$macros" "$property" >out 2>&1; then echo "model: the search did not run: $name" >>out; fi
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out)
    seconds=$(sed -n 's/^pan: elapsed time \([0-9.e-]*\) seconds.*/\1/p' out)
    verdict=$(verdict "$property")
    row "$name" "${states:--}" "$verdict" "${seconds:--}"
    if [[ $verdict == [A-Z]* ]]; then
        failed=yes
        sed 's/^/    /' out
    fi
done < <(variants)
echo "$SECONDS seconds in all"
[[ -z $failed ]]
