#!/usr/bin/env bash
# The long campaigns, and their results in docs/PROOF.md. Called by `make prove DATA=FILE.csv.gz`, where FILE is a
# shop's orders as load/README.md describes; without DATA that part is left out and the page says so. PARTS names those
# that are run (default: shop model scenarios faults counts events api invoices mutants); of the others the page keeps what it has.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${TARGET:-${CARGO_TARGET_DIR:-target}}
data=${DATA:-}
parts=${PARTS:-shop model scenarios faults counts events api invoices mutants}

# First call: start the servers, and run this again with them.
if [[ ${1:-} != --with-servers ]]; then
    exec "$bin/debug/holdfast" servers --durable -- "$0" --with-servers
fi

work=$(mktemp -d)
replicas=()
helpers=()
redis=
finish() {
    for pid in "${replicas[@]}" "${helpers[@]}" $redis; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${replicas[@]}" "${helpers[@]}" $redis; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

key=hf_$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')
failed=

# A Redis of this script's own, which it may kill.
own_redis() {
    "${HOLDFAST_REDIS_SERVER:-$(command -v redis-server || command -v valkey-server)}" --port 0 \
        --unixsocket "$work/redis.sock" --save '' --appendonly no --dir "$work" >"$work/redis.log" 2>&1 &
    redis=$!
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        [[ -S $work/redis.sock ]] && return
        sleep 0.1
    done
    echo "prove: Redis did not start" >&2
    exit 1
}

# Starts a replica and leaves its address in $url.
replica() { # REDIS_URL
    local log=$work/replica-${#replicas[@]}.log tries
    REDIS_URL=$1 HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_ADMIN_KEY=$key HOLDFAST_LOG=warn \
        "$bin/release/holdfast" serve >"$log" 2>&1 &
    replicas+=($!)
    for ((tries = 0; tries < 100; tries++)); do
        url=$(sed -n 's|^listening on ||p' "$log")
        if [[ -n $url ]]; then return; fi
        sleep 0.1
    done
    echo "prove: a replica did not start" >&2
    exit 1
}

stop_replicas() {
    for pid in "${replicas[@]}"; do
        kill -TERM "$pid" || failed=yes
        wait "$pid" || failed=yes
    done
    replicas=()
}

# The whole file through two replicas, 32 at a time, a tenth of it sent twice.
replay() { # TITLE REDIS_URL
    local first second status=0
    replica "$2" && first=$url
    replica "$2" && second=$url
    "$bin/release/holdfast-load" replay "$data" --target "$first" --target "$second" --key "$key" \
        --concurrency 32 --retry-share 0.1 >"$work/replay" 2>"$work/progress" || status=$?
    printf '\n### %s\n\n```\n' "$1"
    grep -E '^(file|pace|order|cancel|increment|adjust|repeated|books|audit|VERDICT|FAULT)|lock mode|latency' "$work/replay" || cat "$work/progress"
    printf '```\n'
    if ((status)); then failed=yes; fi
    stop_replicas
}

replays() {
    "$bin/release/holdfast" migrate
    own_redis
    replay 'Redis on' "redis+unix://$work/redis.sock"
    replay 'Redis away from the start' "redis+unix://$work/nothing.sock"
    (
        sleep 5
        kill -KILL "$redis"
    ) &
    helpers+=($!)
    (
        sleep 12
        rm -f "$work/redis.sock"
        exec "${HOLDFAST_REDIS_SERVER:-$(command -v redis-server || command -v valkey-server)}" --port 0 \
            --unixsocket "$work/redis.sock" --save '' --appendonly no --dir "$work" >"$work/redis.log" 2>&1
    ) &
    helpers+=($!)
    replay 'Redis killed midway and started again' "redis+unix://$work/redis.sock"
    # It was away, and it was used again: else nothing was shown.
    for mode in two_layer database_only; do
        grep -q "$mode" "$work/replay" || failed=yes
    done
    redis=
}

model() {
    tests/model/check.sh || failed=yes
}

# The load generator's scenarios on two replicas: in calm, and while each of what may break does, five times a run. One
# after the other, so that each has the machine for itself.
scenarios() {
    local status=0
    HOLDFAST_CAMPAIGN=long SQLX_OFFLINE=true cargo test --quiet --test it -- --nocapture --test-threads=1 scenarios:: \
        >"$work/scenarios" 2>&1 || status=$?
    printf '%-12s  %-34s  %8s  %8s  %8s  %8s  %s\n' SCENARIO 'WHAT BROKE' BUYERS REQUESTS UNKNOWN REFUSED VERDICT
    sed -n 's/^.*measured: //p' "$work/scenarios" | sort
    if ((status)); then
        failed=yes
        tail -60 "$work/scenarios"
    fi
    grep '^test result' "$work/scenarios" || true
}

# What every run of the tests does a little of: hang-ups, each fault of Redis, of replicas and of Postgres, and whatever
# can happen to orders and holds at once.
faults() {
    local status=0
    HOLDFAST_CAMPAIGN=long SQLX_OFFLINE=true cargo test --quiet --test it -- --nocapture faults::hang_ups \
        faults::redis_matrix faults::replicas faults::postgres_away webhooks::burst races:: model:: >"$work/faults" 2>&1 || status=$?
    sed -n 's/^[.F]*\(test .* \.\.\. \)\{0,1\}measured: //p' "$work/faults" | sort | awk -f scripts/by-fault.awk
    grep '^test result' "$work/faults" || tail -40 "$work/faults"
    if ((status)); then
        failed=yes
        grep -A 6 'panicked at' "$work/faults" || true
    fi
}

# Counts: the shelf's model, races for a rack while Redis breaks, batches that fight for serial numbers, a warehouse.
counts() {
    local status=0
    HOLDFAST_CAMPAIGN=long SQLX_OFFLINE=true cargo test --quiet --test it -- --nocapture --test-threads=1 counts:: \
        >"$work/counts" 2>&1 || status=$?
    sed -n 's/^.*measured: //p' "$work/counts" | fold -s -w 118
    grep '^test result' "$work/counts" || tail -40 "$work/counts"
    if ((status)); then
        failed=yes
        grep -A 6 'panicked at' "$work/counts" || true
    fi
}

# Replicas killed under readers and receivers, a transaction that lasts for a minute, a thousand readers.
events() {
    local status=0
    HOLDFAST_CAMPAIGN=long SQLX_OFFLINE=true cargo test --quiet --test it -- --nocapture --test-threads=1 events::kills \
        events::idle events::stream::a_transaction_that_lasts events::crash >"$work/events" 2>&1 || status=$?
    sed -n 's/^.*measured: //p' "$work/events" | fold -s -w 118
    grep '^test result' "$work/events" || tail -40 "$work/events"
    if ((status)); then
        failed=yes
        grep -A 6 'panicked at' "$work/events" || true
    fi
}

# Whatever the API's description allows and forbids, asked for and looked at: tests/it/http/fuzz.rs.
api() {
    local status=0
    HOLDFAST_CAMPAIGN=long SQLX_OFFLINE=true cargo test --quiet --test it -- --nocapture http::fuzz >"$work/api" 2>&1 ||
        status=$?
    sed -n 's/^.*measured: //p' "$work/api"
    grep '^test result' "$work/api" || true
    if ((status)); then
        failed=yes
        tail -200 "$work/api"
    fi
}

# Uploads of one invoice at once, tills at one invoice, workers at one file, and names that are learned at once.
invoices() {
    local status=0
    HOLDFAST_CAMPAIGN=long SQLX_OFFLINE=true cargo test --quiet --test it -- --nocapture invoices:: \
        >"$work/invoices" 2>&1 || status=$?
    sed -n 's/^[.F]*\(test .* \.\.\. \)\{0,1\}measured: //p' "$work/invoices" | sort
    grep '^test result' "$work/invoices" || tail -40 "$work/invoices"
    if ((status)); then
        failed=yes
        grep -A 6 'panicked at' "$work/invoices" || true
    fi
}

mutants() {
    local status=0
    scripts/mutants.sh 2>"$work/mutants.err" || status=$?
    if ((status)); then
        failed=yes
        tail -20 "$work/mutants.err" >&2
    fi
}

shop() {
    if [[ -n $data ]]; then
        replays
    else
        echo 'Not run: no DATA was given.'
    fi
}

# Runs a part and keeps its results.
run_part() { # NAME
    printf '\n%s, commit %s\n' "$(date -u '+%Y-%m-%d %H:%M UTC')" "$(git rev-parse --short HEAD)"
    if [[ $1 == shop ]]; then
        shop
    else
        printf '\n```\n'
        "$1"
        printf '```\n'
    fi
}

# A part's results under its title, or what the page has of it now.
part() { # NAME TITLE
    printf '\n## %s\n' "$2"
    if [[ -f $work/part-$1 ]]; then
        cat "$work/part-$1"
        return
    fi
    awk -v title="## $2" '$0 == title { ours = 1; next } /^## / { ours = 0 } ours' docs/PROOF.md |
        sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
}

for name in $parts; do
    run_part "$name" >"$work/part-$name"
done
{
    echo '# Proof'
    echo
    echo 'What the long campaigns found when they last ran. Written by `make prove`.'
    echo
    echo "$(getconf _NPROCESSORS_ONLN) cores, $(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -1)," \
        "$(uname -sr); Postgres with fsync on; service, servers and load on this one machine."
    part shop 'The shop replayed'
    part model 'The lock protocol and shared sections, every state of them'
    part scenarios 'Scenarios: checkouts, cancellations, everything at once, while something breaks'
    part faults 'Hang-ups, and every fault of Redis let loose on three replicas'
    part counts 'Counts: a model of the shelf, races for a rack while Redis breaks, serial numbers, a whole warehouse'
    part events 'Events: kills under readers and receivers, a transaction that lasts, a thousand readers'
    part api 'The API as it is described: requests made of its description, good ones and bad ones'
    part invoices 'Invoices: 200 rounds of eight uploads at once, 100 tills, 1,000 files with slow and dead workers, in each mode'
    part mutants 'Mutants: mistakes planted, and the tests that notice'
} >"$work/page"
cp "$work/page" docs/PROOF.md
cat docs/PROOF.md
if [[ -n $failed ]]; then
    echo 'prove: something did not hold; see above' >&2
    exit 1
fi
