//! The folders that private servers live in.
//!
//! What must stay true: one folder belongs to one running program. The claim is a lock that the kernel drops when
//! its holder dies, however it dies; so whoever holds the claim knows that any server still running in the folder
//! is an orphan and may be stopped. Only the user that the server runs as can look inside.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User};
use sha2::{Digest, Sha256};

use crate::ids;

/// The file that is locked while a folder is claimed; it holds the number of the claiming process.
const CLAIM_FILE: &str = "claim";
/// How the name of every throwaway folder begins.
const THROWAWAY_PREFIX: &str = "holdfast-";
/// A throwaway folder younger than this is never swept: its owner may be about to claim it.
const SWEEP_AGE: Duration = Duration::from_secs(60);
/// Unix socket paths are limited to 104 bytes (macOS) or 108 (Linux), the socket's own name included.
const LONGEST_SOCKET_PATH: usize = 99;
/// Where servers started by root are kept when the folder asked for lies where their own user may not go.
const STAND_IN: &str = "/var/lib/holdfast";

/// The users that servers run as when Holdfast itself runs as root, which Postgres refuses.
pub(super) const POSTGRES_USERS: &[&str] = &["postgres", "nobody"];
/// The same for Redis.
pub(super) const REDIS_USERS: &[&str] = &["redis", "nobody", "postgres"];

/// A server's folder, claimed for as long as this value lives.
#[derive(Debug)]
pub(super) struct Claim {
    /// The folder, absolute and free of links.
    pub path: PathBuf,
    /// The user to run the server as; `None` is ourselves.
    pub run_as: Option<User>,
    _lock: fs::File,
}

impl Claim {
    /// Makes the folder if need be, and claims it.
    pub(super) fn take(folder: &Path, users: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = fs::canonicalize(folder)?;
        let lock = lock(&path)?;
        let run_as = service_user(users)?;
        if let Some(user) = &run_as {
            if !may_pass(&path, user) {
                bail!(
                    "the server runs as user {}, who cannot reach {}: use another folder",
                    user.name,
                    path.display()
                );
            }
            chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).with_context(|| {
            format!("{} belongs to another user: run as that user, or delete it", path.display())
        })?;
        Ok(Self { path, run_as, _lock: lock })
    }
}

/// A folder under the system's folder for temporary files, removed when dropped.
///
/// Drop what runs inside it first.
#[derive(Debug)]
pub struct TempFolder {
    path: PathBuf,
    keep: bool,
    _lock: fs::File,
}

impl TempFolder {
    /// Makes a new one, which nobody else can list.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new() -> Result<Self> {
        let path = temp_root().join(format!("{THROWAWAY_PREFIX}{}", short_random()));
        let mut maker = fs::DirBuilder::new();
        maker.mode(0o700).create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        open_to_servers(&path)?;
        let lock = lock(&path)?;
        Ok(Self { path, keep: false, _lock: lock })
    }

    /// Leaves it where it is, for what still runs inside.
    pub(super) fn keep(mut self) {
        self.keep = true;
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "a temporary folder could not be removed");
        }
    }
}

/// Throwaway folders whose owner died without removing them, each claimed so that no one else sweeps it.
pub(super) fn abandoned() -> Vec<TempFolder> {
    let entries = fs::read_dir(temp_root()).into_iter().flatten().flatten();
    entries.filter_map(|entry| claim_abandoned(&entry.path())).collect()
}

fn claim_abandoned(path: &Path) -> Option<TempFolder> {
    let about = fs::symlink_metadata(path).ok()?;
    let ours = about.is_dir() && about.uid() == Uid::effective().as_raw();
    let named = path.file_name()?.to_str()?.starts_with(THROWAWAY_PREFIX);
    let old = about.modified().ok()?.elapsed().ok()? > SWEEP_AGE;
    if !(ours && named && old && path.join(CLAIM_FILE).is_file()) {
        return None;
    }
    Some(TempFolder { path: path.to_owned(), keep: false, _lock: lock(path).ok()? })
}

/// The folder to keep servers in: the one wanted, or, when root asks and the servers' users may not go there (as in
/// root's own home), one under `/var/lib` that always stands for it.
#[must_use]
pub fn home(wanted: &Path) -> PathBuf {
    let Ok(wanted) = std::path::absolute(wanted) else {
        return wanted.to_owned();
    };
    let users = [POSTGRES_USERS, REDIS_USERS].map(|users| service_user(users).ok().flatten());
    if users.iter().flatten().all(|user| may_pass(&wanted, user)) {
        return wanted;
    }
    let digest = Sha256::digest(wanted.as_os_str().as_encoded_bytes());
    let name = digest.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    Path::new(STAND_IN).join(format!("{name:08x}"))
}

/// Makes `folder` if need be, and, when we are root, lets the users that servers run as pass through to their own
/// folders in it; they can not list it.
pub(super) fn open_to_servers(folder: &Path) -> Result<()> {
    let made: Vec<&Path> = folder.ancestors().skip(1).take_while(|above| !above.exists()).collect();
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    if !Uid::effective().is_root() {
        return Ok(());
    }
    for folder in made.into_iter().chain([folder]) {
        let mode = fs::metadata(folder)?.mode();
        fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o011))?;
    }
    Ok(())
}

/// Where a socket of this name can stand: in `folder`, or in a new temporary one when that path is too long.
pub(super) fn socket_folder(claim: &Claim, socket: &str) -> Result<(PathBuf, Option<TempFolder>)> {
    let fits = |folder: &Path| folder.join(socket).as_os_str().len() <= LONGEST_SOCKET_PATH;
    if fits(&claim.path) {
        return Ok((claim.path.clone(), None));
    }
    let short = TempFolder::new()?;
    if let Some(user) = &claim.run_as {
        chown(short.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        fs::set_permissions(short.path(), fs::Permissions::from_mode(0o700))?;
    }
    if !fits(short.path()) {
        bail!(
            "the path {} is too long for a Unix socket: set TMPDIR to a shorter one",
            short.path().display()
        );
    }
    super::say(&format!(
        "{} is too long for a socket: it stands in {}",
        claim.path.display(),
        short.path().display()
    ));
    Ok((short.path().to_owned(), Some(short)))
}

/// Locks the folder's claim file, or says who has it.
fn lock(folder: &Path) -> Result<fs::File> {
    let path = folder.join(CLAIM_FILE);
    let mut options = fs::OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(false).open(&path).with_context(|| {
            format!("cannot write {}: run as the user it belongs to, or delete it", path.display())
        })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let holder = io::read_to_string(&file).unwrap_or_default();
            bail!(
                "the servers in {} are already running, started by process {}: another `make run`?",
                folder.display(),
                holder.trim()
            );
        }
        Err(fs::TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    file.set_len(0)?;
    io::Write::write_all(&mut &file, format!("{}\n", std::process::id()).as_bytes())?;
    Ok(file)
}

/// The first of `users` that exists, when we are root; else nobody but ourselves.
fn service_user(users: &[&str]) -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in users {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    bail!("servers do not run as root, and there is no user {} to run them as", users.join(" or "))
}

/// Whether every folder above `path` lets `user` pass.
fn may_pass(path: &Path, user: &User) -> bool {
    path.ancestors().skip(1).filter_map(|folder| fs::metadata(folder).ok()).all(|about| {
        let bit = if about.uid() == user.uid.as_raw() {
            0o100
        } else if about.gid() == user.gid.as_raw() {
            0o010
        } else {
            0o001
        };
        about.mode() & bit != 0
    })
}

/// The system's folder for temporary files, or `/tmp` where root's own is closed to the servers' users.
fn temp_root() -> PathBuf {
    let root = env::temp_dir();
    let below = root.join("any");
    let users = [POSTGRES_USERS, REDIS_USERS].map(|users| service_user(users).ok().flatten());
    if users.iter().flatten().all(|user| may_pass(&below, user)) { root } else { PathBuf::from("/tmp") }
}

fn short_random() -> String {
    let mut name = ids::token();
    name.truncate(8);
    name
}
