//! A Redis whose wall clock the test can set while it runs.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use holdfast::servers::{TempFolder, find};
use tokio::process::{Child, Command};

use super::{Stranger, eventually};

const SOON: Duration = Duration::from_secs(15);

/// Killed when dropped.
pub struct ClockedRedis {
    _server: Child,
    offset: PathBuf,
    socket: PathBuf,
    _folder: TempFolder,
}

impl ClockedRedis {
    pub async fn start() -> Self {
        let folder = TempFolder::new().unwrap();
        let within = |name: &str| folder.path().join(name);
        let (shim, offset, socket) = (within("clock_shim.so"), within("offset"), within("redis.sock"));
        std::fs::write(within("clock_shim.c"), include_str!("clock_shim.c")).unwrap();
        let compiled = Command::new("cc")
            .args(["-O1", "-Wall", "-shared", "-fPIC", "-o"])
            .args([&shim, &within("clock_shim.c")])
            .status();
        assert!(compiled.await.unwrap().success(), "cc can not compile clock_shim.c");
        std::fs::write(&offset, 0_i64.to_ne_bytes()).unwrap();
        let server = Command::new(find::redis().unwrap().path)
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .current_dir(folder.path())
            .env("LD_PRELOAD", &shim)
            .env("CLOCK_SHIM_FILE", &offset)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let redis = Self { _server: server, offset, socket, _folder: folder };
        eventually(SOON, "Redis answers", async || Stranger::try_at(&redis.url()).await.is_ok()).await;
        redis
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Sets its clock so many seconds ahead of the machine's.
    pub fn set_ahead(&self, seconds: i64) {
        // In place: the file is mapped by the server.
        let file = std::fs::OpenOptions::new().write(true).open(&self.offset).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &seconds.to_ne_bytes(), 0).unwrap();
    }
}
