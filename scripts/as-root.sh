# For the scripts that install something, which say what they do by a `say` of their own.
# shellcheck shell=bash

# Runs a command as root, by sudo where that is needed.
as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "this needs root, and there is no sudo here: run as root: $*"
        return 1
    fi
}
