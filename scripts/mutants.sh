#!/usr/bin/env bash
# The tests of the tests: plants one mistake after another in a copy of this project and runs the tests that must
# notice. Prints which test caught which; ends with status 1 if one goes unnoticed, or can no longer be planted.
#
#   target/debug/holdfast servers -- scripts/mutants.sh          all of them, some minutes
#   target/debug/holdfast servers -- scripts/mutants.sh commit   those whose name contains the word
#   scripts/mutants.sh --planted                                 only whether the code still is as this table has it
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH="$PATH:$HOME/.cargo/bin"
export HOLDFAST_TEST_PYTHON=${HOLDFAST_TEST_PYTHON:-${CARGO_TARGET_DIR:-$PWD/target}/python/bin/python}
# Shared by all mutants, so that each compiles only what it changes; apart from the project's own, whose program
# may be running this script.
target=${CARGO_TARGET_DIR:-$PWD/target}/mutants
export CARGO_TARGET_DIR=$target CARGO_TERM_COLOR=never RUST_BACKTRACE=0
# A mutant may hang what it breaks.
limit=180
only=${1:-}

# NAME | FILE | WHAT IS THERE | WHAT IS PUT THERE | TESTS THAT MUST NOTICE | "sql" if the query is a new one
mutants() {
    cat <<'TABLE'
no row lock (levels)|src/inventory/store.rs|ORDER BY variant_id FOR UPDATE"|ORDER BY variant_id"|emptied_in_mid_section sell_as_one|sql
no row lock (orders)|src/orders/store/placing.rs|ORDER BY variant_id FOR UPDATE OF stock"|ORDER BY variant_id"|row_order|sql
no row lock (levels of a section)|src/inventory/store.rs|ORDER BY variant_id FOR UPDATE SKIP LOCKED"|ORDER BY variant_id"|a_row_is_waited_for|sql
no row lock (orders of a section)|src/orders/store/placing.rs|ORDER BY variant_id FOR UPDATE OF stock SKIP LOCKED"|ORDER BY variant_id"|a_row_is_waited_for|sql
rows locked in any order (levels)|src/inventory/store.rs|ORDER BY variant_id FOR UPDATE"|ORDER BY md5(variant_id::text \|\| pg_backend_pid()) FOR UPDATE"|row_order|sql
rows locked in any order (orders)|src/orders/store/placing.rs|ORDER BY variant_id FOR UPDATE OF stock"|ORDER BY md5(variant_id::text \|\| pg_backend_pid()) FOR UPDATE OF stock"|row_order|sql
release without asking whose key it is|src/locks/scripts/release.lua|    if holder == token then|    if true then|owner interop
take whatever the key holds|src/locks/scripts/take.lua|    if holder then|    if false then|strangers interop
one token for all sections|src/locks/claim.rs|format!("{replica}{}{OURS}", ids::token()).into()|format!("{replica}{replica}{OURS}").into()|every_section_has_a_token
renew without asking whose key it is|src/locks/scripts/renew.lua|if redis.pcall('GET', KEYS[i]) == token then|if true then|renewal
no renewal|src/locks/renewal.rs|                self.renew(&claim).await;|                drop(claim);|renewal
renewal after the end|src/locks/renewal.rs|self.held().remove(token);|self.held().entry(token.into()).and_modify(\|held\| held.ends = false);|renewal
a lease that is let go is nobody's|src/locks/lease.rs|let held = layer.ends(&claim.token);|let held = layer.ends(&claim.token); layer.no_longer_held(&claim.token);|asked_about_while
whoever left stays in line|src/locks/lease.rs|            self.inner.take_back(claim, &successors, place);||whoever_leaves
whoever went on without Redis stays in line|src/locks/layer.rs|let mut stands_in_line = place.was_announced();|let mut stands_in_line = false;|went_on_without_redis
a cluster's taker loses its turn with each key|src/locks/redis.rs|let itself = vec![Some(itself); index];|let itself = vec![None; index]; let _ = Successor::itself(claim.token.clone(), waited);|over_many_busy_keys
each in line pays for a hung Redis|src/locks/layer.rs|let Some(began) = self.breaker.failing_since() else|let Some(began) = None::<Instant> else|pays_for_it_once
the dead are waited for|src/locks/owners.rs|        if self.seems_alive(replica).await? {|        if true \|\| self.seems_alive(replica).await? {|long_before_its_ttl
the living are taken for dead|src/locks/owners.rs|        if self.seems_alive(replica).await? {|        if false && self.seems_alive(replica).await? {|a_replica_that_lives
a jump of Redis's clock keeps the dead alive|src/locks/owners.rs|        self.looked_at - self.seen_at < allowed|        self.beat.is_some() \|\| self.looked_at - self.seen_at < allowed|set_back_does_not_seem
who has no beat is dead at once|src/locks/owners.rs|else { BEAT_MISSED_FOR };|else { BEAT_MISSED_FOR * 0 };|after_a_flush
nobody disowns a token|src/locks/owners.rs|        if !is_ours \|\| |        if true \|\| |missed_the_last_releases given_up_and_swept
no line across replicas|src/locks/scripts/take.lua|local head = head_of(lines[i], now)|local head = nil|arrival_order
arrival counts from asking Redis|src/locks/scripts/release.lua|now - tonumber(ARGV[2 + 2 * i])|now|arrival_order
no successor is announced|src/locks/scripts/release.lua|    if successor ~= '' then|    if false then|further_from_redis
no message at release|src/locks/scripts/line.lua|redis.call('PUBLISH', 'holdfast:wake:' .. string.sub(token, 1, 32), token)|redis.call('ECHO', token)|wake_up fair_share
no look without a message|src/locks/layer.rs|() = tokio::time::sleep_until(look_at) =>|() = tokio::time::sleep_until(look_at + poll * 1_000) =>|wake_up
the breaker never closes|src/locks/breaker.rs|self.turn(&mut inner, BreakerState::Closed,|self.turn(&mut inner, BreakerState::Open,|after_its_return
the breaker never opens|src/locks/breaker.rs|if opens {|if opens && false {|killed_before
a hold's end is looked at before its rows are locked|src/holds/store/mod.rs|    let levels = lock_levels_in_tx(conn, &keys.variant_ids()).await?;|    let early = find_hold(conn, hold_id).await?.ok_or(HoldError::NotFound)?; let levels = lock_levels_in_tx(conn, &keys.variant_ids()).await?; if true { return Ok((early, levels)); }|finds_it_ended
what has lapsed counts as held|src/inventory/store.rs|            level.held -= row.quantity;|            drop(row.quantity);|though_nobody_has_written
an open breaker skips the row lock too|src/section/rows.rs|    let locked = lock_levels(conn, joined, &requests, &claims, may_wait).await?;|    let bare = joined[0].lock.mode == crate::locks::LockMode::DatabaseOnly; if bare { sqlx::Executor::execute(&mut *conn, "SAVEPOINT m").await.map_err(\|e\| Failed::inside(e.into()))?; } let locked = lock_levels(conn, joined, &requests, &claims, may_wait).await?; if bare { sqlx::Executor::execute(&mut *conn, "ROLLBACK TO m").await.map_err(\|e\| Failed::inside(e.into()))?; }|sell_as_one
all are told when the first of them has waited for a row|src/section/share/life.rs|let outcome = if has_time(&member) {|let outcome = if false && has_time(&member) {|came_late_to_a_section
a row's wait looks once at who stands behind|src/section/share/life.rs|tokio::time::interval(app.locks.look_every())|tokio::time::interval(app.locks.look_every() * 1_000)|and_does_not_need_the_row
a row is waited for that not all who share need|src/section/rows.rs|joined.iter().all(\|joined\| joined.request.keys().contains(&key))|running.iter().all(\|request\| request.keys().contains(&key))|though_that_one_has_its_answer
a key in hand elsewhere is waited for under a lease|src/section/mod.rs|IN_HAND_WAIT.min(left)|left|not_waited_for_under_a_lease
who runs alone is never told that it comes too late|src/locks/line/mod.rs|line.stride.is_too_slow(places as u32, within, TELLING)|false && line.stride.is_too_slow(places as u32, within, TELLING)|who_runs_alone_is_told
orphans are forgotten|src/locks/keeper.rs|        if orphans.len() < MAX_ORPHANS {|        if false {|hung_and_woke
the key is checked in Redis only|src/section/share/mod.rs|Work::Change(change) => change.claim.as_ref(),|Work::Change(_) => None,|idempotency
the key's claim in a transaction of its own|src/section/together.rs|    let mut rows = rows::lock(|    sqlx::Executor::execute(&mut *conn, "COMMIT; BEGIN").await.map_err(\|error\| Failed::inside(error.into()))?; let mut rows = rows::lock(|postgres_breaks_off
a cancellation is carried out each time it is asked for|src/orders/rules.rs|let left = \|line: &Line\| line.quantity - line.cancelled_quantity;|let left = \|line: &Line\| line.quantity;|orders::cancel
an early cancellation does not hold its order's claim|src/orders/cancel_early.rs|    idempotency::hold_in_tx(conn, &scope, key).await?;||webhooks::early webhooks::races
an order does not look for its cancellation|src/section/rows.rs|cancelled: whose(locked.cancelled),|cancelled: HashSet::new(),|webhooks::early
a cancellation does not see the one before it in its section|src/section/together.rs|                    order.clone_from(&decided.order);||what_is_left_of_it
a section captures a hold twice|src/section/together.rs|                    hold.clone_from(&captured);||they_leave_is_sold
what a capture leaves stays held in its section|src/holds/capture.rs|    hold.lines.iter().for_each(\|line\| ledger.let_go(line.variant_id, line.quantity));||they_leave_is_sold
a section waits for an order that one of it wants|src/section/rows.rs|ids.first().copied().filter(\|_\| all_need_one && ids.len() == 1)|ids.first().copied().filter(\|_\| all_need_one \|\| ids.len() == 1)|has_locked_holds_up_nobody
an event is carried out each time it is delivered|src/webhooks/deliver.rs|if let Some(first) = first {|if let Some(first) = first.filter(\|_\| false) {|webhooks::receive
any signature is good|src/webhooks/signature.rs|self.tags.contains(&right)|!self.tags.is_empty() \|\| self.tags.contains(&right)|webhooks::signed
the entry in a transaction of its own|src/webhooks/deliver.rs|        let receipt = self.effect_in_tx|        sqlx::Executor::execute(&mut *conn, "COMMIT; BEGIN").await.map_err(crate::db::DbError::from)?; let receipt = self.effect_in_tx|webhooks::faults
the stream does not wait for who is slow|src/events/fences.rs|next.fence <= oldest_running && next.written|next.fence <= oldest_running.max(i64::MAX) && next.written|events::stream
a record is kept whoever has its rack by now|src/counts/records/rules.rs|let is_ours = newest.owner == record.session_id.as_str() &&|let is_ours = newest.owner == record.session_id.as_str() \|\| own.is_some() &&|counts::racks counts::sync counts::fences
what went out between two counts is forgotten|src/counts/sessions/store/posting.rs|AND m.version <= c.last_version AND delta < 0|AND m.version <= c.last_version AND delta < 0 AND false|counts::shelf counts::anchors|sql
a file is finished by whoever knows its fence|src/leases/marker.rs|found.newest.owner != owner;|found.newest.owner != owner && owner.is_empty();|invoices::markers
uploads that may be one invoice take no common lock|src/invoices/intake/rules.rs|    let window = Days::new(WINDOW_DAYS_MAX.into());|    if !facts.currency.is_empty() { return keys; } let window = Days::new(WINDOW_DAYS_MAX.into());|invoices::races
answer before the commit|src/section/together.rs|            tx.commit().await.map_err(\|error\| Failed::ForAll(error.into()))?;|            drop(tokio::spawn(tx.commit()));|postgres_breaks_off
commits that are not written down|src/db/mod.rs|.options(written)|.options(written).options([("synchronous_commit", "off")])|a_crash_of_postgres
a silent Postgres is waited for|src/db/mod.rs|give_up_after(self.transaction_max, work).await|Ok(work.await)|postgres_silent
work in the handler's own future|src/http/shell.rs|.spawn(turn.begin(answer).instrument(span));|.clone(); let task = async { Ok::<_, tokio::task::JoinError>(turn.begin(answer).instrument(span).await) };|hung_up hang_ups
TABLE
}

# A | that is not the end of a column is written \|.
plain() { sed 's/\\|/|/g' <<<"$1"; }
split() { # LINE: leaves the columns in $columns
    mapfile -t columns < <(sed 's/\\|/\x01/g; s/|/\n/g; s/\x01/\\|/g' <<<"$1")
}
report() { printf '%-46s %s\n' "$1" "$2"; }

if [[ $only == --planted ]]; then
    gone=0
    while IFS= read -r line; do
        split "$line"
        if ! grep -qF -- "$(plain "${columns[2]}")" "${columns[1]}"; then
            report "${columns[0]}" "can't be planted: ${columns[1]} has changed, and the table in scripts/mutants.sh has not"
            gone=1
        fi
    done < <(mutants)
    exit "$gone"
fi

: "${DATABASE_URL:?call this as: target/debug/holdfast servers -- scripts/mutants.sh}" "${REDIS_URL:?needs a Redis too}"

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
# Newer than the mutant that an earlier run built last.
tar cf - --exclude=./target --exclude=./.git --exclude=./.run . | tar xmf - -C "$tree"

# Builds the tests in $tree and leaves the program's path in $program.
build() { # sql?
    local offline=true
    [[ $1 == sql ]] && offline=false
    program=$(cd "$tree" && SQLX_OFFLINE=$offline cargo test --locked --test it --no-run 2>&1 | tee "$tree/build.log" |
        sed -n 's/.*Executable tests.*(\(.*\))$/\1/p')
    [[ -n $program ]]
}

run() { # TESTS...
    (cd "$tree" && timeout "$limit" "$program" "$@") >"$tree/run.log" 2>&1
}

# Where every character of FROM stands for itself.
plant() { # FILE FROM TO
    FROM=$2 TO=$3 perl -0777 -pi -e 's/\Q$ENV{FROM}\E/$ENV{TO}/g' "$tree/$1"
    ! cmp -s "$1" "$tree/$1"
}


echo "mutants: building the project as it is"
build as-it-is || { cat "$tree/build.log" >&2; exit 1; }
# Queries that a mutant changes are checked against this database.
"$target/debug/holdfast" migrate >/dev/null

all=()
while IFS= read -r line; do
    [[ $line == *"$only"* ]] && all+=("$line")
done < <(mutants)

filters=()
for line in "${all[@]}"; do
    split "$line"
    read -ra words <<<"${columns[4]}"
    filters+=("${words[@]}")
done
# All of them at once here.
limit=$((4 * limit)) run "${filters[@]}" || { cat "$tree/run.log" >&2; echo "mutants: these tests fail without a mutant" >&2; exit 1; }

survived=0
report MUTANT "CAUGHT BY"
for line in "${all[@]}"; do
    split "$line"
    name=${columns[0]} file=${columns[1]}
    read -ra words <<<"${columns[4]}"
    if ! plant "$file" "$(plain "${columns[2]}")" "$(plain "${columns[3]}")"; then
        report "$name" "NOT PLANTED: $file has changed, and this table has not"
        survived=1
    elif ! build "${columns[5]:-}"; then
        report "$name" "DOES NOT BUILD: $(grep -m1 '^error' "$tree/build.log" || true)"
        survived=1
    else
        status=0
        run "${words[@]}" || status=$?
        caught=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$tree/run.log" | sed 's/.*:://' | paste -sd ' ' -)
        if ((status == 0)); then
            report "$name" "SURVIVED"
            survived=1
        elif ((status == 124)); then
            report "$name" "${caught:+$caught }(hangs)"
        else
            report "$name" "${caught:-crash with status $status}"
        fi
    fi
    # Newer than what was built from the mutant.
    cp "$file" "$tree/$file" && touch "$tree/$file"
done
exit "$survived"
