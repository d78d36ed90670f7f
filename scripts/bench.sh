#!/usr/bin/env bash
# Measures a release build against private servers that write to disk as real ones do, prints the figures and adds
# them to load/RESULTS.md together with the machine they were taken on. Called by `make bench`.
#
# SECONDS_EACH and CONNECTIONS change how long and how wide each part runs, ROUNDS how often the locks are measured.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${TARGET:-${CARGO_TARGET_DIR:-target}}/release
seconds=${SECONDS_EACH:-10}
connections=${CONNECTIONS:-32}
results=load/RESULTS.md

# First call: start the servers, and run this again with them.
if [[ ${1:-} != --with-servers ]]; then
    exec "$bin/holdfast" servers --durable -- "$0" --with-servers
fi

work=$(mktemp -d)
service=
finish() {
    if [[ -n $service ]]; then
        kill -TERM "$service" 2>/dev/null || true
        wait "$service" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# A key for this run alone: 64 hexadecimal characters.
key=hf_$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')

start_service() {
    "$bin/holdfast" migrate
    HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_ADMIN_KEY=$key HOLDFAST_LOG=${HOLDFAST_LOG:-info} HOLDFAST_LOG_FORMAT=text \
        "$bin/holdfast" serve >"$work/log" 2>&1 &
    service=$!
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        url=$(sed -n 's|.*listening on \(http://[^ ]*\).*|\1|p' "$work/log" | head -1)
        if [[ -n $url ]]; then return; fi
        kill -0 "$service" 2>/dev/null || break
        sleep 0.1
    done
    echo "bench: the service did not start:" >&2
    tail -20 "$work/log" >&2
    exit 1
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

start_service
{
    echo
    echo "## $(date -u '+%Y-%m-%d %H:%M UTC'), $(commit)"
    echo
    echo "$(getconf _NPROCESSORS_ONLN) cores, $(processor); $(uname -sr); $("$bin/holdfast" --version)"
    echo "$connections connections, $seconds seconds each; service, servers and load generator on this one machine."
} | tee "$work/report"

for part in spread hot orders; do
    {
        echo
        echo "### $part"
        echo
        echo '```'
        "$bin/holdfast-load" "$part" --target "$url" --key "$key" --connections "$connections" \
            --seconds "$seconds" --limit "$DATABASE_URL" 2>&1
        echo '```'
    } | tee -a "$work/report"
done

{
    echo
    echo "### locks: the line beside polling"
    echo
    echo '```'
    SECONDS_EACH=$seconds SQLX_OFFLINE=true cargo bench --quiet --bench locks 2>/dev/null
    echo '```'
} | tee -a "$work/report"

if [[ ! -s $results ]]; then
    printf '# Results\n\nWritten by make bench, the newest last.\n' >"$results"
fi
cat "$work/report" >>"$results"
echo
echo "added to $results"
