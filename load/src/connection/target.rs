//! A replica's address, and whose turn it is.

use std::cell::Cell;
use std::str::FromStr;

use anyhow::{Context, bail};
use hyper::Uri;

/// The origin of one replica: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host and port, as they stand in the `Host` header and as they are dialled.
    pub authority: String,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let uri: Uri = text.parse().with_context(|| format!("{text:?} is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{text:?} must begin with http://; the load generator speaks plain HTTP/1.1 only");
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            bail!("{text:?} must be an origin such as http://127.0.0.1:8080, without a path");
        }
        let host = uri.host().with_context(|| format!("{text:?} names no host"))?;
        Ok(Self { authority: format!("{host}:{}", uri.port_u16().unwrap_or(80)) })
    }
}

/// Hands out positions for a round robin over the targets, one counter for all workers.
#[derive(Debug, Default)]
pub struct Turn(Cell<usize>);

impl Turn {
    /// The next position; the caller takes it modulo the number of its targets.
    pub fn next(&self) -> usize {
        self.0.replace(self.0.get().wrapping_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_origin_with_a_port() -> anyhow::Result<()> {
        assert_eq!("http://127.0.0.1:8080".parse::<Target>()?.authority, "127.0.0.1:8080");
        assert_eq!("http://[::1]:9000/".parse::<Target>()?.authority, "[::1]:9000");
        assert_eq!("http://shop".parse::<Target>()?.authority, "shop:80");
        Ok(())
    }

    #[test]
    fn other_schemes_and_paths_are_refused() {
        for wrong in ["https://127.0.0.1", "127.0.0.1:8080", "http://host/api/v1", "http://host/?a=b"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong} was taken");
        }
    }
}
