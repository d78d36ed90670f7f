//! The program's own commands, run to their end.

use std::process::Stdio;

use tokio::process::Command;

/// What a command said, and whether it ended well.
#[derive(Debug)]
pub struct Said {
    pub succeeded: bool,
    pub out: String,
    pub err: String,
}

/// Runs `holdfast` with these arguments on this database, with nothing else in its environment but `settings`.
pub async fn holdfast(database_url: &str, args: &[&str], settings: &[(&str, &str)]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(args)
        .env_clear()
        .env("DATABASE_URL", database_url)
        .env("HOLDFAST_LOG", "warn")
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { succeeded: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}
