#!/usr/bin/env bash
# Sees to it that Postgres (15 or newer) and Redis (7 or newer, or Valkey) can be had: those that DATABASE_URL and
# REDIS_URL name, else the programs on this machine, else the system's packages, else Docker. Says what it installs
# and why before it does, starts no server and leaves none to be started, and does nothing when there is nothing
# to do.
set -euo pipefail
# shellcheck source=scripts/as-root.sh
source "$(dirname "$0")/as-root.sh"

postgres_oldest=15
redis_oldest=7

say() { echo "servers: $*" >&2; }

# The first number in a version: "postgres (PostgreSQL) 15.18 (Debian …)" and "Redis server v=7.0.15 …".
major_of() {
    local text
    text=$("$1" --version 2>/dev/null) || return 1
    [[ $text =~ (\)\ |v=)([0-9]+) ]] || return 1
    echo "${BASH_REMATCH[2]}"
}

new_enough() { # PROGRAM OLDEST
    local major
    [[ -x $1 ]] && major=$(major_of "$1") && ((major >= $2))
}

has_postgres() {
    [[ -n ${DATABASE_URL:-} ]] && return 0
    local program
    if [[ -n ${HOLDFAST_POSTGRES_BIN:-} ]]; then
        new_enough "$HOLDFAST_POSTGRES_BIN/postgres" "$postgres_oldest"
        return
    fi
    for program in "$(command -v postgres || true)" /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres \
        {/opt/homebrew,/usr/local,/home/linuxbrew/.linuxbrew}/opt/postgresql*/bin/postgres; do
        new_enough "$program" "$postgres_oldest" && return 0
    done
    return 1
}

has_redis() {
    [[ -n ${REDIS_URL:-} ]] && return 0
    local program
    if [[ -n ${HOLDFAST_REDIS_SERVER:-} ]]; then
        new_enough "$HOLDFAST_REDIS_SERVER" "$redis_oldest"
        return
    fi
    for program in "$(command -v redis-server || true)" "$(command -v valkey-server || true)" \
        {/usr,/usr/local,/opt/homebrew,/home/linuxbrew/.linuxbrew}/bin/{redis,valkey}-server; do
        new_enough "$program" "$redis_oldest" && return 0
    done
    return 1
}

# What apt would install of a package, as a major version; 0 for nothing.
apt_major() {
    local version
    version=$(LC_ALL=C apt-cache policy "$1" | sed -n 's/^ *Candidate: *\([0-9]*:\)\{0,1\}\([0-9]*\).*/\2/p')
    echo "${version:-0}"
}

# Debian's packages create a cluster and start servers of their own when they are installed. Nobody asked for those:
# for as long as this runs starting is forbidden and no cluster is made, and afterwards all is as it was.
apt_install() {
    # shellcheck disable=SC2016 # expanded by the bash it is given to
    as_root bash -euo pipefail -c '
        policy=/usr/sbin/policy-rc.d
        cluster=/etc/postgresql-common/createcluster.conf
        put_back() {
            if [[ -n ${made_policy:-} ]]; then rm -f "$policy"; fi
            if [[ -n ${saved:-} ]]; then cp -p "$saved" "$cluster"; rm -f "$saved"; fi
        }
        trap put_back EXIT
        if [[ ! -e $policy ]]; then
            made_policy=yes
            printf "#!/bin/sh\nexit 101\n" >"$policy"
            chmod 755 "$policy"
        fi
        export DEBIAN_FRONTEND=noninteractive
        if [[ " $* " == *" postgresql "* ]]; then
            apt-get install -y --no-install-recommends postgresql-common
            saved=$(mktemp)
            cp -p "$cluster" "$saved"
            sed -i "/^create_main_cluster/d" "$cluster"
            printf "\ncreate_main_cluster = false\n" >>"$cluster"
        fi
        new_redis=
        if [[ " $* " == *" redis-server "* ]] && ! dpkg-query -W redis-server >/dev/null 2>&1; then new_redis=yes; fi
        apt-get install -y --no-install-recommends "$@"
        # Installing it also marks it to be started with the machine.
        if [[ -n $new_redis ]]; then
            if command -v systemctl >/dev/null; then systemctl disable redis-server.service || true; fi
            if command -v update-rc.d >/dev/null; then update-rc.d redis-server disable || true; fi
        fi
    ' apt_install "$@"
}

with_apt() {
    local packages=()
    if ! has_postgres; then packages+=(postgresql); fi
    if ! has_redis; then packages+=(redis-server); fi
    say "${packages[*]} not found here (Postgres keeps the stock, Redis the locks): looking at the system's packages"
    as_root apt-get update -qq || say "the lists of packages could not be renewed: going on with those here"

    local wanted=() package oldest
    for package in "${packages[@]}"; do
        oldest=$redis_oldest
        if [[ $package == postgresql ]]; then oldest=$postgres_oldest; fi
        if (($(apt_major "$package") >= oldest)); then
            wanted+=("$package")
        else
            say "this system's $package is version $(apt_major "$package"): $oldest or newer is needed"
        fi
    done
    if ((${#wanted[@]})); then
        say "installing with apt-get: ${wanted[*]} (programs only; no server is started by it)"
        apt_install "${wanted[@]}" || say "apt-get could not install ${wanted[*]}"
    fi
}

with_brew() {
    local formulas=()
    if ! has_postgres; then formulas+=(postgresql@17); fi
    if ! has_redis; then formulas+=(valkey); fi
    say "installing with brew: ${formulas[*]} (programs only; no server is started by it)"
    brew install "${formulas[@]}" || say "brew could not install ${formulas[*]}"
}

other_ways() {
    if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
        say "Docker is here: \`cp .env.example .env\`, fill it in, and \`docker compose up\` runs the whole service"
    elif [[ $(uname) == Darwin ]]; then
        say "install Homebrew and call this again, or run \`brew install postgresql@17 valkey\` yourself"
    else
        say "install Postgres $postgres_oldest or newer and Redis $redis_oldest or newer with this system's package manager"
    fi
    say "or set DATABASE_URL (and REDIS_URL) to servers that already run"
}

# A program named by a variable is meant: installing another would not make it right.
check_named() { # VARIABLE CHECK
    if [[ -n ${!1:-} ]] && ! "$2"; then
        say "$1=${!1} names nothing new enough: correct it or unset it"
        exit 1
    fi
}

check_named HOLDFAST_POSTGRES_BIN has_postgres
check_named HOLDFAST_REDIS_SERVER has_redis
if has_postgres && has_redis; then exit 0; fi
if command -v apt-get >/dev/null; then
    with_apt
elif command -v brew >/dev/null; then
    with_brew
fi

if ! has_redis; then
    say "no Redis $redis_oldest or newer: Holdfast goes on without, with its locks in the database only"
fi
if ! has_postgres; then
    say "no Postgres $postgres_oldest or newer, which Holdfast can't do without"
    other_ways
    exit 1
fi
