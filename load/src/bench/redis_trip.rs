//! How long one round trip to Redis takes: a PING on an open connection, again and again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// Round trips that are measured, after a few that are not.
const TRIPS: u32 = 2_000;
const BEFORE: u32 = 200;
const PATIENCE: Duration = Duration::from_secs(2);

/// The mean round trip in milliseconds. Knows plain addresses only: `redis://host:port`, `redis+unix:///path`.
pub fn redis_trip_ms(url: &str) -> anyhow::Result<f64> {
    if let Some(path) = url.strip_prefix("redis+unix://").or_else(|| url.strip_prefix("unix://")) {
        let path = path.split('?').next().unwrap_or_default();
        let stream = UnixStream::connect(path).with_context(|| format!("cannot connect to {path}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        return mean_ms(stream);
    }
    let Some(rest) = url.strip_prefix("redis://") else {
        bail!("a round trip is measured to redis://host:port or redis+unix:///path only");
    };
    let authority = rest.split('/').next().unwrap_or_default();
    ensure!(!authority.contains('@'), "a round trip is measured without a password only");
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:6379") };
    let stream = TcpStream::connect(&address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    mean_ms(stream)
}

fn mean_ms(mut stream: impl Read + Write) -> anyhow::Result<f64> {
    let mut answer = [0; 7];
    let mut trip = || -> anyhow::Result<()> {
        stream.write_all(b"PING\r\n")?;
        stream.read_exact(&mut answer).context("Redis does not answer a PING")?;
        ensure!(answer == *b"+PONG\r\n", "Redis answers a PING with {:?}", String::from_utf8_lossy(&answer));
        Ok(())
    };
    for _ in 0..BEFORE {
        trip()?;
    }
    let began = Instant::now();
    for _ in 0..TRIPS {
        trip()?;
    }
    Ok(began.elapsed().as_secs_f64() * 1_000.0 / f64::from(TRIPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each PING with the same words.
    struct Echo(&'static [u8]);

    impl Read for Echo {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            into.copy_from_slice(self.0);
            Ok(into.len())
        }
    }

    impl Write for Echo {
        fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
            Ok(from.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_pong_is_a_round_trip() -> anyhow::Result<()> {
        assert!(mean_ms(Echo(b"+PONG\r\n"))? >= 0.0);
        assert!(mean_ms(Echo(b"-NOAUTH")).is_err());
        assert!(redis_trip_ms("rediss://somewhere").is_err());
        assert!(redis_trip_ms("redis://:word@somewhere").is_err());
        Ok(())
    }
}
