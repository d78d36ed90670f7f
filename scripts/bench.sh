#!/usr/bin/env bash
# Measures a release build against private servers that write to disk as real ones do, holds the figures against what is
# aimed at (load/aims.csv), and adds them to load/RESULTS.md together with the machine they were taken on. Called by
# `make bench`.
#
# PARTS says what is measured (below; `growth` fills 1,000,000 variants first and takes many minutes, `invoices` 1,000,000
# invoices and takes some), ROUNDS how often each, SECONDS_EACH for how long each time, RESULTS into which file it is written.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${TARGET:-${CARGO_TARGET_DIR:-target}}/release
seconds=${SECONDS_EACH:-3}
rounds=${ROUNDS:-5}
# What is not held against an aim round by round is measured less often.
few=$(((rounds + 1) / 2))
results=${RESULTS:-load/RESULTS.md}
parts=${PARTS:-hot delay single replicas spread orders memory polling traces bulk storm overload outage away warehouse locks}
variants=${GROWTH_VARIANTS:-1000000}
invoices=${GROWTH_INVOICES:-1000000}

# First call: start the servers, and run this again with them. A server that is somebody else's is measured as it is.
if [[ ${1:-} != --with-servers ]]; then
    if [[ -n ${DATABASE_URL:-} ]]; then export FOREIGN_DATABASE=yes; fi
    exec "$bin/holdfast" servers --durable -- "$0" --with-servers
fi

# Four thousand connections need as many open files, at both ends.
ulimit -n 8192 2>/dev/null || ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
work=$(mktemp -d)
services=()
redis=
failed=no
stop_services() {
    local pid
    for pid in ${services[@]+"${services[@]}"}; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    services=()
}
stop_redis() {
    if [[ -s $work/redis.pid ]]; then kill -KILL "$(cat "$work/redis.pid")" 2>/dev/null || true; fi
    rm -f "$work/redis.pid" "$work/redis.sock"
}
finish() {
    stop_services
    stop_redis
    rm -rf "$work"
}
trap finish EXIT

# A key for this run alone: 64 hexadecimal characters.
HOLDFAST_ADMIN_KEY=hf_$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')
export HOLDFAST_ADMIN_KEY

# Starts a replica: its address is then in `url`, its process in `service`.
serve() { # [DATABASE_URL [REDIS_URL]]
    local log=$work/log.${#services[@]}.$RANDOM tries
    : >"$log"
    DATABASE_URL=${1:-$DATABASE_URL} REDIS_URL=${2:-${REDIS_URL:-}} HOLDFAST_LISTEN=127.0.0.1:0 \
        HOLDFAST_LOG=${HOLDFAST_LOG:-info} HOLDFAST_LOG_FORMAT=text "$bin/holdfast" serve >"$log" 2>&1 &
    service=$!
    services+=("$service")
    for ((tries = 0; tries < 300; tries++)); do
        url=$(sed -n 's|.*listening on \(http://[^ ]*\).*|\1|p' "$log" | head -1)
        if [[ -n $url ]]; then return; fi
        kill -0 "$service" 2>/dev/null || break
        sleep 0.1
    done
    echo "bench: the service did not start:" >&2
    tail -20 "$log" >&2
    exit 1
}

# Runs the load generator; its report is kept under a name for the table.
load() { # NAME COMMAND ARGUMENTS…
    local name=$1 status=0
    shift
    printf '\n### %s\n\n```\n' "$name: $*" | sed "s|$DATABASE_URL|DATABASE_URL|g; s|${REDIS_URL:-REDIS_URL}|REDIS_URL|g; s|$work|WORK|g"
    "$bin/holdfast-load" "$@" --seconds "$seconds" --warmup 1 --rounds "$rounds" --json "$work/$name.json" \
        2>"$work/remarks" || status=$?
    grep -E '^the limit|^holdfast-load:' "$work/remarks" || true
    printf '```\n'
    if ((status)); then failed=yes; fi
}

postgres() { # PROGRAM ARGUMENTS…: of the path, or where Debian keeps it
    local program=$1
    shift
    command -v "$program" >/dev/null || program=$(ls -d /usr/lib/postgresql/*/bin/"$program" | sort -V | tail -1)
    "$program" "$@"
}

sql() {
    postgres psql --no-psqlrc --quiet --tuples-only --set=ON_ERROR_STOP=1 "$DATABASE_URL" "$@" >/dev/null
}

is_ours() {
    if [[ -z ${FOREIGN_DATABASE:-} ]]; then return; fi
    echo "bench: $1 changes the server, and this one is not ours: not measured" >&2
    return 1
}

redis_server() {
    echo "${HOLDFAST_REDIS_SERVER:-$(command -v redis-server || command -v valkey-server || true)}"
}

# A Redis that may be killed, and how it is started.
own_redis() {
    if [[ -z $(redis_server) ]]; then
        echo "bench: there is no Redis to be killed: not measured" >&2
        return 1
    fi
    redis="rm -f $work/redis.sock; $(redis_server) --port 0 --unixsocket $work/redis.sock --save '' --appendonly no"
    redis+=" --daemonize yes --pidfile $work/redis.pid --dir $work"
    stop_redis
    sh -c "$redis" >/dev/null
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        if [[ -S $work/redis.sock && -s $work/redis.pid ]]; then return; fi
        sleep 0.1
    done
    return 1
}

part_hot() {
    load hot hot --target "$main" --connections 128 --limit "$DATABASE_URL" --limit-clients best \
        --report "$(dirname "$results")/hot.svg"
}

part_delay() {
    is_ours 'commit_delay' || return 0
    sql -c 'ALTER SYSTEM SET commit_delay = 1000' -c 'ALTER SYSTEM SET commit_siblings = 0' -c 'SELECT pg_reload_conf()'
    load delay hot --target "$main" --connections 128 --limit "$DATABASE_URL" --limit-clients best
    sql -c 'ALTER SYSTEM RESET commit_delay' -c 'ALTER SYSTEM RESET commit_siblings' -c 'SELECT pg_reload_conf()'
}

part_single() {
    if [[ -z ${REDIS_URL:-} ]]; then return; fi
    load single hot --target "$main" --connections 1 --limit "$DATABASE_URL" --redis "$REDIS_URL"
}

part_replicas() {
    local second third
    serve && second=$url
    serve && third=$url
    load replicas hot --connections 128 --target "$main" --target "$second" --target "$third" --against "$main"
}

part_spread() {
    load spread32 spread --target "$main" --connections 32 --limit "$DATABASE_URL"
    load spread128 spread --target "$main" --connections 128 --limit "$DATABASE_URL"
    rounds=$few load zipf zipf --target "$main" --connections 32 --limit "$DATABASE_URL"
}

part_orders() {
    load orders orders --target "$main" --connections 32 --limit "$DATABASE_URL"
    load orders_hot orders --hot-line --target "$main" --connections 32 --limit "$DATABASE_URL"
}

part_memory() {
    rounds=1 load memory hot --target "$main" --connections 1000 --watch-pid "$main_pid"
}

# Asks for the console's page until it is ended.
first_bytes() {
    while sleep 0.1; do
        curl --silent --output /dev/null --max-time 5 --write-out '%{time_starttransfer}\n' "$main/" || echo 5
    done
}

part_polling() {
    # The same replica, looked at and not, turn by turn.
    first_bytes >"$work/first_bytes" &
    local curls=$!
    rounds=$((rounds * 2)) seconds=$((seconds * 2)) load polling_hot hot --connections 128 --looks 10 \
        --target "$main" --against "$main"
    kill "$curls"
    wait "$curls" 2>/dev/null || true
    sort -n "$work/first_bytes" | awk '{ ms[NR] = $1 * 1000 } END {
        printf "\nThe first byte of `/` meanwhile: median %.1f ms, 99 of 100 within %.1f ms, longest %.1f ms, of %d.\n",
            ms[int((NR + 1) / 2)], ms[int(NR * 0.99 + 0.5)], ms[NR], NR }'
    rounds=$((rounds * 2)) seconds=$((seconds * 2)) load polling_spread spread --connections 32 --looks 10 \
        --target "$main" --against "$main"
}

part_traces() {
    # One whose collector is away, beside one that tells no traces.
    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9 serve
    load traces hot --target "$url" --against "$main" --connections 128
}

part_bulk() {
    # Twice as long as others: large orders are few.
    rounds=$few seconds=$((seconds * 2)) load bulk bulk --target "$main" --connections 8
}

part_storm() {
    load storm storm --target "$main" --connections 16 --crowd 128
}

part_overload() {
    # Nearly as many as are served.
    rounds=$few load overload overload --target "$main" --requests spread --connections 128 --at-once 4000
    rounds=$few load overload_hot overload --target "$main" --requests hot --connections 128 --at-once 4000
    rounds=$few load overload_orders overload --target "$main" --requests orders --connections 128 --at-once 4000
    # What shares no section, for as long as it takes until its line is full.
    rounds=$few seconds=$((seconds * 5)) load overload_alone overload --target "$main" --requests batches \
        --connections 128 --at-once 4000
    # With a wait so short that many are refused.
    HOLDFAST_LOCK_WAIT_MS=250 serve
    rounds=$few load overload_short overload --target "$url" --requests orders --connections 128 --at-once 4000
}

part_outage() {
    own_redis || return 0
    serve "$DATABASE_URL" "redis+unix://$work/redis.sock"
    local pid=$work/redis.pid
    # In thirds: each as long as any other measurement.
    rounds=$few seconds=$((seconds * 3)) load outage outage --target "$url" --items 1000 \
        --away "kill -KILL \$(cat $pid) && rm -f $pid" --back "$redis" --report "$(dirname "$results")/outage.svg"
}

part_away() {
    own_redis || return 0
    serve "$DATABASE_URL" "redis+unix://$work/redis.sock"
    stop_redis
    load away_hot hot --target "$url" --against "$main" --connections 128
    load away_spread spread --target "$url" --against "$main" --connections 32
}

# Its figures are those of single calls: one run is thousands of them.
part_warehouse() {
    local status=0
    HOLDFAST_SYNC_BATCHES_PER_MINUTE=1000000 serve
    printf '\n### warehouse: 200 devices count 2,000 racks, twice as fast as people, while the shop sells\n\n```\n'
    "$bin/holdfast-load" warehouse --pace 500 --target "$url" --json "$work/warehouse.json" 2>/dev/null || status=$?
    printf '```\n'
    if ((status)); then failed=yes; fi
}

part_locks() {
    printf '\n### locks: the line beside polling\n\n```\n'
    SECONDS_EACH=$seconds ROUNDS=2 SQLX_OFFLINE=true cargo bench --quiet --bench locks 2>/dev/null || failed=yes
    printf '```\n'
}

# Another database on the same server, made and migrated.
other_database() { # NAME
    sql -c "CREATE DATABASE $1"
    other=${DATABASE_URL/\/holdfast\?/\/$1?}
    if [[ $other == "$DATABASE_URL" ]]; then echo "bench: no other database than $DATABASE_URL" >&2; return 1; fi
    DATABASE_URL=$other "$bin/holdfast" migrate >/dev/null
}

# Fills the other database, and says how long that took.
fill() { # WHAT HOW_MANY
    local began=$SECONDS status=0
    printf '\n### filled: %s %s\n\n```\n' "$2" "$1"
    DATABASE_URL=$other "$bin/holdfast-load" fill "--$1" "$2" 2>/dev/null || status=$?
    echo "in $((SECONDS - began)) s"
    if ((!status)) && [[ $1 == variants ]]; then
        DATABASE_URL=$other "$bin/holdfast" audit 2>&1 | tail -3 || status=$?
    fi
    printf '```\n'
    return "$status"
}

part_growth() {
    is_ours 'growth' || return 0
    local small large
    other_database holdfast_small
    serve "$other" && small=$url
    other_database holdfast_large
    fill variants "$variants" || return
    serve "$other" && large=$url
    load growth_spread spread --target "$large" --against "$small" --connections 32
    load growth_orders orders --target "$large" --against "$small" --connections 32
    load growth_hot hot --target "$large" --against "$small" --connections 128
}

part_invoices() {
    is_ours 'a database full of invoices' || return 0
    other_database holdfast_invoices
    fill invoices "$invoices" || return
    serve "$other"
    DATABASE_URL=$other load checks checks --target "$url" --connections 4
}

processor() {
    if [[ -r /proc/cpuinfo ]]; then
        sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -1
    else
        sysctl -n machdep.cpu.brand_string
    fi
}

commit() {
    local name
    name=$(git rev-parse --short HEAD 2>/dev/null) || name='not committed'
    if [[ -n $(git status --porcelain --untracked-files=no 2>/dev/null) ]]; then name+=' and changes'; fi
    echo "$name"
}

"$bin/holdfast" migrate
for part in $parts; do
    # A fresh service each, so that none is measured with what another left in it.
    serve
    main=$url main_pid=$service
    "part_$part" >"$work/part" 2>"$work/errors" || failed=yes
    cat "$work/errors" >&2
    tee -a "$work/details" <"$work/part"
    stop_services
done

{
    echo
    echo "## $(date -u '+%Y-%m-%d %H:%M UTC'), $(commit)"
    echo
    echo "$(getconf _NPROCESSORS_ONLN) cores, $(processor); $(uname -sr); $("$bin/holdfast" --version)"
    echo "$rounds rounds of $seconds seconds each, or as the table says; service, servers and load generator on this one machine."
    echo
    "$bin/holdfast-load" table --aims load/aims.csv "$work" || failed=yes
    cat "$work/details"
} >"$work/report"

if [[ ! -s $results ]]; then
    printf '# Results\n\nWritten by make bench, the newest last.\n' >"$results"
fi
cat "$work/report" >>"$results"
sed -n '/^| what/,/^$/p' "$work/report"
echo "added to $results"
# A missed aim is a result; a unit that went astray, or a part that broke off, is a failure.
if [[ $failed == yes ]]; then
    echo "bench: something failed; see above" >&2
    exit 1
fi
