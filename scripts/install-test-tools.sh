#!/usr/bin/env bash
# Sees to it that `make test` has what it needs besides servers: Spin, which searches the model of the lock protocol,
# promtool, which reads the alerts as Prometheus does, Chromium, which shows the console (any version will do, and Chrome
# too), and of the versions in tests/requirements.txt redis-py, whose lock must get on with ours, and Schemathesis, which
# asks for whatever the API's description allows. Says what it installs and why before it does, and does nothing when there
# is nothing to do. A C compiler is taken to be there: Rust needs one.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/as-root.sh
source scripts/as-root.sh

# What the pinned redis-py needs.
python_oldest=3.10
venv=${CARGO_TARGET_DIR:-target}/python
tools=${CARGO_TARGET_DIR:-target}/tools
pinned() { sed -n "s/^$1==//p" tests/requirements.txt; }
redis_py=$(pinned redis)
schemathesis=$(pinned schemathesis)

say() { echo "tools: $*" >&2; }

# Others are called that too.
has_spin() { [[ $(spin -V 2>/dev/null) == 'Spin Version '* ]]; }

# The names are those of tests/it/support/browser.rs.
has_chromium() {
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$name" >/dev/null && return 0
    done
    [[ -x '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome' || -x /Applications/Chromium.app/Contents/MacOS/Chromium ]]
}

# A Python that can make an environment with pip in it; its name is left in $python.
has_python() {
    for python in python3 /usr/bin/python3 {/opt/homebrew,/usr/local,/home/linuxbrew/.linuxbrew}/bin/python3; do
        "$python" -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (${python_oldest/./, }))" \
            >/dev/null 2>&1 && return 0
    done
    return 1
}

has_redis_py() {
    [[ $("$venv/bin/python" -c 'import redis.lock; print(redis.__version__)' 2>/dev/null) == "$redis_py" ]]
}

has_schemathesis() {
    [[ -x $venv/bin/schemathesis ]] && "$venv/bin/python" -c "import importlib.metadata as m, sys
sys.exit(m.version('schemathesis') != '$schemathesis')" 2>/dev/null
}

install() { # WHY APT_PACKAGES BREW_FORMULAS
    local packages
    if command -v apt-get >/dev/null; then
        read -ra packages <<<"$2"
        say "installing with apt-get: $2 ($1)"
        as_root apt-get update -qq || say "the lists of packages could not be renewed: going on with those here"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}" ||
            say "apt-get could not install $2"
    elif command -v brew >/dev/null; then
        read -ra packages <<<"$3"
        say "installing with brew: $3 ($1)"
        brew install "${packages[@]}" || say "brew could not install $3"
    fi
}

give_up() {
    say "$*"
    exit 1
}

has_promtool() {
    "$tools/promtool" --version >/dev/null 2>&1 || promtool --version >/dev/null 2>&1
}

# The one program out of Debian's package: installed as a whole it would start a server.
unpack_promtool() {
    local folder
    folder=$(mktemp -d)
    say "unpacking promtool from Debian's package of Prometheus into $tools (it reads the alerts)"
    if ! (cd "$folder" && apt-get download prometheus >/dev/null 2>&1); then
        as_root apt-get update -qq || true
        (cd "$folder" && apt-get download prometheus >/dev/null) || say "apt-get could not download prometheus"
    fi
    mkdir -p "$tools"
    if dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -x -C "$folder" ./usr/bin/promtool; then
        mv "$folder/usr/bin/promtool" "$tools/promtool"
    fi
    rm -rf "$folder"
}

if ! has_spin; then
    install 'it searches the model of the lock protocol' spin spin
    has_spin || give_up "no Spin, the model checker: install it with this system's package manager"
fi
if ! has_chromium; then
    install 'it shows the console, about 100 MB' chromium chromium
    has_chromium || give_up "no Chromium: install it with this system's package manager"
fi
if ! has_promtool; then
    if command -v apt-get >/dev/null; then
        unpack_promtool
    else
        install 'its promtool reads the alerts' '' prometheus
    fi
    has_promtool || give_up "no promtool: install Prometheus with this system's package manager"
fi
if has_redis_py && has_schemathesis; then exit 0; fi
if ! has_python; then
    install "for another program's lock beside ours" 'python3 python3-venv' python3
    has_python || give_up "no Python $python_oldest or newer with venv and pip: install it with this system's package manager"
fi
say "installing redis-py $redis_py (its lock must get on with ours) and Schemathesis $schemathesis (it tries the API's" \
    "description, about 100 MB) with pip into $venv"
mkdir -p "${venv%/*}"
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt ||
    give_up "pip could not install what tests/requirements.txt names"
has_redis_py || give_up "what pip installed is not redis-py $redis_py"
has_schemathesis || give_up "what pip installed is not Schemathesis $schemathesis"
