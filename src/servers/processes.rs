//! What the operating system knows about a process that may be one of ours.
//!
//! What must stay true: a number read from a file is never trusted to be the process that wrote it. Before a
//! signal goes to a process that this program did not start itself, its command line is compared.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Output},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

/// Where Linux shows its processes; other systems are asked through `ps`.
const PROC: &str = "/proc";

/// The process with this number, if it runs `program` and names `folder` among its arguments.
///
/// A dead, foreign or half-dead (zombie) process gives `None`.
pub(super) fn running(pid: i32, program: &str, folder: &Path) -> Option<Pid> {
    let line = command_line(pid)?;
    let is_program = Path::new(line.first()?)
        .file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|name| name.starts_with(program));
    let wanted = folder.to_string_lossy();
    let names_folder =
        line.iter().any(|argument| *argument == wanted) || line.join(" ").contains(&format!(" {wanted} "));
    (is_program && names_folder).then(|| Pid::from_raw(pid))
}

/// The processes whose parent is `parent`.
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let table = if Path::new(PROC).join("self").exists() { table_from_proc() } else { table_from_ps() };
    table.into_iter().filter(|(_, of)| *of == parent.as_raw()).map(|(pid, _)| Pid::from_raw(pid)).collect()
}

/// Whether the process still runs; one that only waits to be collected by its parent does not.
pub(super) fn alive(pid: Pid) -> bool {
    let state = if has_proc() {
        stat_after_name(pid.as_raw())
    } else {
        Command::new("ps")
            .args(["-o", "stat=", "-p", &pid.to_string()])
            .output()
            .ok()
            .map(|output| text_of(&output))
    };
    state.is_some_and(|state| !state.trim().is_empty() && !state.trim_start().starts_with(['Z', 'X']))
}

/// Sends a signal; a process that is already gone is no error here, for that is what the caller wants or will see.
pub(super) fn send(pid: Pid, signal: Signal) {
    if let Err(error) = signal::kill(pid, signal) {
        tracing::debug!(process.pid = pid.as_raw(), signal = signal.as_str(), %error, "signal not delivered");
    }
}

/// The arguments of a process, the program first; `None` when it is gone or a zombie.
fn command_line(pid: i32) -> Option<Vec<String>> {
    if !has_proc() {
        let output =
            Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().ok()?;
        let line: Vec<String> = text_of(&output).split_whitespace().map(str::to_owned).collect();
        return (!line.is_empty()).then_some(line);
    }
    let raw = fs::read(Path::new(PROC).join(pid.to_string()).join("cmdline")).ok()?;
    let words = raw.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let line: Vec<String> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    (!line.is_empty()).then_some(line)
}

fn has_proc() -> bool {
    Path::new(PROC).join("self/stat").exists()
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `/proc` says of a process after its name: its state, its parent, and more. The name stands in parentheses
/// and may itself hold spaces and parentheses, so the last one counts.
fn stat_after_name(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(Path::new(PROC).join(pid.to_string()).join("stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.to_owned())
}

/// (process, parent) of every process, from `/proc`.
fn table_from_proc() -> Vec<(i32, i32)> {
    let entries = fs::read_dir(PROC).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat_after_name(pid)?.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect()
}

/// (process, parent) of every process, from `ps`.
fn table_from_ps() -> Vec<(i32, i32)> {
    let Ok(output) = Command::new("ps").args(["-ax", "-o", "pid=,ppid="]).output() else {
        return Vec::new();
    };
    text_of(&output)
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map_while(|word| word.parse().ok());
            Some((numbers.next()?, numbers.next()?))
        })
        .collect()
}
