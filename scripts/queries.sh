#!/usr/bin/env bash
# Describes every query of the workspace in .sqlx, as Postgres sees it after all migrations; with --check it only
# compares. Needs DATABASE_URL to name an empty database: `make prepare` and `make check` start one.
set -euo pipefail
cd "$(dirname "$0")/.."

: "${DATABASE_URL:?name an empty database, or call this through \`make prepare\`}"
if ! cargo sqlx --version >/dev/null 2>&1; then
    echo "sqlx-cli is missing: cargo install sqlx-cli --version 0.8.3 --locked --no-default-features --features rustls,postgres" >&2
    exit 1
fi

cargo sqlx migrate run --source migrations
# Compiled against the database itself, whatever the environment says.
SQLX_OFFLINE=false cargo sqlx prepare --workspace "$@" -- --all-targets
