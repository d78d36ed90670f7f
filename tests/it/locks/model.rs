//! The protocol as a model, searched to the end: what no number of runs can show.
//!
//! The races that the other tests drive are those that somebody thought of. The model (`tests/model/lock.pml`) has
//! all of a few replicas, with Redis, replicas and transactions failing at any step.

use std::path::Path;
use std::process::Command;

#[test]
fn the_protocol_holds_for_three_and_four_replicas_and_every_mutant_is_refuted() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model/check.sh");
    let run = Command::new(script).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{}\n{out}{err}", run.status);
    println!("{out}");
}
