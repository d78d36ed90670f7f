//! The sentinels of a service, who know which of its servers is the master.
//!
//! What must stay true: they are asked for every new connection, since the answer changes; and a server counts as
//! the master only if it says so itself.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, Role, cmd};

use super::topology::{TopologyError, client, open, split_login};

/// What a URL of sentinels looks like.
pub(super) const FORM: &str = "redis+sentinel://[user:password@]host[:port][,host[:port]…]/service_name[/database][?sentinel_user=…&sentinel_password=…]";
/// Where a sentinel listens unless told otherwise.
const PORT: &str = ":26379";

/// The sentinels of one service.
#[derive(Debug, Clone)]
pub(super) struct Sentinels {
    pub(super) sentinels: Vec<Client>,
    pub(super) service: String,
    /// How the service's servers are reached, but for their addresses.
    pub(super) servers: ConnectionInfo,
}

impl Sentinels {
    /// Reads what stands behind a URL's scheme.
    pub(super) fn parse(scheme: &str, rest: &str) -> Result<Self, TopologyError> {
        let wrong = |what| TopologyError::Form { what, form: FORM };
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = split_login(authority);
        let (service, database) = path.split_once('/').unwrap_or((path, ""));
        // What sentinels themselves allow in a name.
        if service.is_empty() || !service.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_".contains(&c)) {
            return Err(wrong("the service name is missing or can't be one"));
        }
        let (mut user, mut password) = ("", "");
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("sentinel_user", value)) => user = value,
                Some(("sentinel_password", value)) => password = value,
                _ => return Err(wrong("an option is unknown")),
            }
        }
        let own_login =
            if (user, password) == ("", "") { String::new() } else { format!("{user}:{password}@") };
        let sentinel = |host: &str| {
            let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
            client(scheme, &format!("{own_login}{host}{}", if has_port { "" } else { PORT }), FORM)
        };
        // Parsed with an address that is not used.
        let servers = client(scheme, &format!("{login}localhost/{database}"), FORM)?;
        Ok(Self {
            sentinels: hosts.split(',').map(sentinel).collect::<Result<_, _>>()?,
            service: service.to_owned(),
            servers: servers.get_connection_info().clone(),
        })
    }

    /// The server that a sentinel names and that itself says it is the master. All are asked at once: one that
    /// is down costs nothing, and one that has not heard of a failover is outdone by one that has.
    pub(super) async fn master(
        &self,
        budget: Duration,
    ) -> Result<(Client, MultiplexedConnection), RedisError> {
        let mut asked: FuturesUnordered<_> =
            self.sentinels.iter().map(|sentinel| self.ask(sentinel, budget)).collect();
        let (mut named, mut tried) = (Vec::new(), FuturesUnordered::new());
        let mut failure = nothing_found("no sentinel answers");
        loop {
            tokio::select! {
                Some(answer) = asked.next() => match answer {
                    Ok(address) if named.contains(&address) => {}
                    Ok(address) => {
                        named.push(address.clone());
                        tried.push(self.verify(address, budget));
                    }
                    Err(error) => failure = error,
                },
                Some(outcome) = tried.next() => match outcome {
                    Ok(master) => return Ok(master),
                    Err(error) => failure = error,
                },
                else => return Err(failure),
            }
        }
    }

    async fn ask(&self, sentinel: &Client, budget: Duration) -> Result<(String, u16), RedisError> {
        let mut conn = open(sentinel, budget).await?;
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        let address: Option<(String, u16)> = question.query_async(&mut conn).await?;
        address.ok_or_else(|| nothing_found("a sentinel does not know the service"))
    }

    async fn verify(
        &self,
        (host, port): (String, u16),
        budget: Duration,
    ) -> Result<(Client, MultiplexedConnection), RedisError> {
        let address = match self.servers.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        let client = Client::open(self.servers.clone().set_addr(address))?;
        let mut conn = open(&client, budget).await?;
        match cmd("ROLE").query_async(&mut conn).await? {
            Role::Primary { .. } => Ok((client, conn)),
            _ => Err(nothing_found("the server that a sentinel names is no master")),
        }
    }
}

fn nothing_found(why: &'static str) -> RedisError {
    RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, why))
}
