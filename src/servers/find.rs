//! Where the Postgres and Redis programs of this machine are.
//!
//! Order: what the environment names, `PATH`, the folders of Debian, Red Hat and Homebrew (the highest version
//! first). The first one new enough is taken; one named by the environment is taken or refused, never passed over.
//!
//! What must stay true: a Postgres program is resolved to its real folder, because it finds its shared files
//! relative to it; `redis-server` is never resolved, because on Debian it is a link to a program of another name
//! that decides by the name it is called by.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Names the folder that holds `postgres` and `initdb`.
pub const POSTGRES_VARIABLE: &str = "HOLDFAST_POSTGRES_BIN";
/// Names the `redis-server` or `valkey-server` program itself.
pub const REDIS_VARIABLE: &str = "HOLDFAST_REDIS_SERVER";
/// The oldest Postgres that Holdfast works with.
pub const POSTGRES_OLDEST: u32 = 15;
/// The oldest Redis (or Valkey) that Holdfast works with.
pub const REDIS_OLDEST: u32 = 7;

/// A server program and its version.
#[derive(Debug, Clone)]
pub struct Found {
    /// For Postgres the folder of its programs, for Redis the program itself.
    pub path: PathBuf,
    /// The major version.
    pub major: u32,
}

/// Why no server program can be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// None was found anywhere.
    #[error(
        "no {name} found: run scripts/install-servers.sh, or set {variable} to {what}, or set {url} to a running one"
    )]
    Missing {
        /// What was looked for.
        name: &'static str,
        /// The variable that would have named it.
        variable: &'static str,
        /// What that variable holds.
        what: &'static str,
        /// The variable that makes a private server unnecessary.
        url: &'static str,
    },
    /// The only ones found are too old.
    #[error("{name} {major} in {} is too old: {oldest} or newer is needed", path.display())]
    TooOld {
        /// What was looked for.
        name: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What it is.
        major: u32,
        /// What it would have to be.
        oldest: u32,
    },
    /// The environment names something that does not run.
    #[error("{variable} is {}, where no {name} answers to --version: it must be {what}", path.display())]
    Unusable {
        /// What was looked for.
        name: &'static str,
        /// The variable that names it.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The database was made by another version than any that is installed.
    #[error(
        "the database in {} was made by Postgres {major}, which is not installed any more: install it, or delete that folder to begin with an empty one",
        folder.display()
    )]
    OtherVersion {
        /// The folder of the database.
        folder: PathBuf,
        /// The version that made it.
        major: u32,
    },
}

/// What is looked for, and how it is spoken of.
struct Wanted {
    name: &'static str,
    variable: &'static str,
    what: &'static str,
    url: &'static str,
    oldest: u32,
}

const POSTGRES: Wanted = Wanted {
    name: "Postgres",
    variable: POSTGRES_VARIABLE,
    what: "the folder that holds `postgres` and `initdb`",
    url: "DATABASE_URL",
    oldest: POSTGRES_OLDEST,
};

const REDIS: Wanted = Wanted {
    name: "Redis or Valkey",
    variable: REDIS_VARIABLE,
    what: "the path of `redis-server` or `valkey-server`",
    url: "REDIS_URL",
    oldest: REDIS_OLDEST,
};

/// The Postgres to use.
///
/// # Errors
/// When none is there or none is new enough.
pub fn postgres() -> Result<Found, NotFound> {
    if let Some(folder) = named_by(&POSTGRES) {
        return check_named(&POSTGRES, &folder, postgres_at(&folder));
    }
    first_new_enough(&POSTGRES, postgres_folders().iter().filter_map(|folder| postgres_at(folder)))
}

/// The Postgres that can open an existing database, which only the major version that made it can.
///
/// # Errors
/// When that version is not there.
pub fn postgres_of(major: u32, database: &Path) -> Result<Found, NotFound> {
    let named = named_by(&POSTGRES).map(|folder| vec![folder]);
    let folders = named.unwrap_or_else(postgres_folders);
    folders
        .iter()
        .filter_map(|folder| postgres_at(folder))
        .find(|found| found.major == major)
        .ok_or_else(|| NotFound::OtherVersion { folder: database.to_owned(), major })
}

/// The Redis or Valkey to use.
///
/// # Errors
/// When none is there or none is new enough.
pub fn redis() -> Result<Found, NotFound> {
    if let Some(program) = named_by(&REDIS) {
        return check_named(&REDIS, &program, redis_at(&program));
    }
    let folders = path_folders().into_iter().chain(standard_folders());
    let programs = folders.flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)));
    first_new_enough(&REDIS, programs.filter_map(|program| redis_at(&program)))
}

fn named_by(wanted: &Wanted) -> Option<PathBuf> {
    env::var_os(wanted.variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn check_named(wanted: &Wanted, path: &Path, found: Option<Found>) -> Result<Found, NotFound> {
    let unusable = NotFound::Unusable {
        name: wanted.name,
        variable: wanted.variable,
        path: path.to_owned(),
        what: wanted.what,
    };
    first_new_enough(wanted, [found.ok_or(unusable)?].into_iter())
}

/// The first that is new enough; else says of the first one found that it is too old.
fn first_new_enough(wanted: &Wanted, found: impl Iterator<Item = Found>) -> Result<Found, NotFound> {
    let mut too_old = None;
    for candidate in found {
        if candidate.major >= wanted.oldest {
            return Ok(candidate);
        }
        too_old.get_or_insert(candidate);
    }
    Err(match too_old {
        Some(Found { path, major }) => {
            NotFound::TooOld { name: wanted.name, path, major, oldest: wanted.oldest }
        }
        None => NotFound::Missing {
            name: wanted.name,
            variable: wanted.variable,
            what: wanted.what,
            url: wanted.url,
        },
    })
}

/// The Postgres whose programs stand in `folder` or are linked from there.
fn postgres_at(folder: &Path) -> Option<Found> {
    let real = fs::canonicalize(folder.join("postgres")).ok()?;
    let path = real.parent()?.to_owned();
    if !path.join("initdb").is_file() {
        return None;
    }
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    let major = leading_number(version_of(&real)?.split_whitespace().nth(2)?)?;
    Some(Found { path, major })
}

fn redis_at(program: &Path) -> Option<Found> {
    if !program.is_file() {
        return None;
    }
    // "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=…"
    let text = version_of(program)?;
    let major = leading_number(text.split_whitespace().find_map(|word| word.strip_prefix("v="))?)?;
    Some(Found { path: program.to_owned(), major })
}

fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn postgres_folders() -> Vec<PathBuf> {
    let mut folders = path_folders();
    folders.extend(numbered("/usr/lib/postgresql", "", "bin"));
    folders.extend(numbered("/usr", "pgsql-", "bin"));
    for prefix in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
        folders.extend(numbered(prefix, "postgresql@", "bin"));
        folders.push(Path::new(prefix).join("postgresql/bin"));
    }
    folders
}

fn path_folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
}

/// Where programs usually are, for a `PATH` that lacks them.
fn standard_folders() -> impl Iterator<Item = PathBuf> {
    ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"]
        .map(PathBuf::from)
        .into_iter()
}

/// `parent/<prefix><number>/<below>` for every number there, the highest first.
fn numbered(parent: &str, prefix: &str, below: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(below)))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(major: u32) -> Found {
        Found { path: PathBuf::from(format!("/opt/{major}")), major }
    }

    #[test]
    fn the_first_new_enough_is_taken() {
        let taken = first_new_enough(&POSTGRES, [found(14), found(16), found(18)].into_iter()).unwrap();
        assert_eq!(taken.major, 16);
    }

    #[test]
    fn one_too_old_is_named_with_what_is_needed() {
        let refused = first_new_enough(&POSTGRES, [found(14), found(13)].into_iter()).unwrap_err();
        assert_eq!(refused.to_string(), "Postgres 14 in /opt/14 is too old: 15 or newer is needed");
    }

    #[test]
    fn versions_are_read_from_what_servers_print() {
        assert_eq!(leading_number("15.18"), Some(15));
        assert_eq!(leading_number("18beta1"), Some(18));
        assert_eq!(leading_number("devel"), None);
    }
}
