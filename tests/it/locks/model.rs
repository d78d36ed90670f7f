//! The protocol as a model, searched to the end: what no number of runs can show.
//!
//! The races that the other tests drive are those that somebody thought of. The models have all of a few replicas, with
//! Redis, replicas and transactions failing at any step (`tests/model/lock.pml`), and of a few requests that share sections
//! (`tests/model/section.pml`).

use std::path::Path;
use std::process::Command;

#[test]
fn locks_and_shared_sections_hold_in_every_state_and_every_mutant_is_refuted() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model/check.sh");
    let run = Command::new(script).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{}\n{out}{err}", run.status);
    println!("{out}");
}
