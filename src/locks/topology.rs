//! Where Redis is: one server, the master that sentinels name, or a cluster; and how it is reached.
//!
//! | scheme | what is there |
//! | --- | --- |
//! | `redis://`, `rediss://` | one server; with the second `s` over TLS, which trusts whom the system trusts |
//! | `redis+unix://`, `unix://` | one server's socket |
//! | `redis+sentinel://`, `rediss+sentinel://` | sentinels, asked for every new connection; user and password are those of the servers they watch, and their own stand behind the `?` |
//! | `redis+cluster://`, `rediss+cluster://` | nodes of a cluster, any of which tell of the others |
//!
//! `valkey` says the same as `redis`. Over TLS the sentinels are spoken to over TLS too.
//!
//! What must stay true: a connection is had within its budget or not at all, whatever is dead or hung on the way;
//! and no error shows any of the URL.

use std::time::Duration;

use futures_util::future::select_ok;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::ClusterClientBuilder;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisError};

use super::connection::Connection;
use super::sentinels::Sentinels;

const SERVER: &str = "redis://[user:password@]host[:port][/database]";
const SOCKET: &str = "redis+unix:///path[?db=…&user=…&pass=…]";
const CLUSTER: &str = "redis+cluster://[user:password@]host[:port][,host[:port]…]";
/// Where Redis is, and how it is reached.
#[derive(Debug, Clone)]
pub struct Topology(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Server(Client),
    Sentinels(Sentinels),
    /// Some of its nodes.
    Cluster(Vec<Client>),
}

/// Why a URL says nothing of where Redis is. One line, without any of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// It begins with nothing that is known.
    #[error("must begin with redis://, rediss://, redis+unix://, redis+sentinel:// or redis+cluster://")]
    Scheme,
    /// Something is missing, wrong or too much.
    #[error("{what}; its form is {form}, with special characters as in %40")]
    Form {
        /// What is the matter.
        what: &'static str,
        /// What it should look like.
        form: &'static str,
    },
}

impl Topology {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`TopologyError`] if its scheme is unknown or it is not of its scheme's form.
    pub fn parse(url: &str) -> Result<Self, TopologyError> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(TopologyError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase().replace("valkey", "redis");
        Ok(Self(match scheme.as_str() {
            "redis" | "rediss" => Kind::Server(client(&scheme, rest, SERVER)?),
            "redis+unix" | "unix" => Kind::Server(client(&scheme, rest, SOCKET)?),
            "redis+sentinel" => Kind::Sentinels(Sentinels::parse("redis", rest)?),
            "rediss+sentinel" => Kind::Sentinels(Sentinels::parse("rediss", rest)?),
            "redis+cluster" => Kind::Cluster(nodes("redis", rest)?),
            "rediss+cluster" => Kind::Cluster(nodes("rediss", rest)?),
            _ => return Err(TopologyError::Scheme),
        }))
    }

    /// Whether keys are spread over several masters, so that no script may touch keys of more than one slot.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.0, Kind::Cluster(_))
    }

    /// A new connection, none of whose calls takes longer than `budget`, and neither does connecting.
    ///
    /// # Errors
    /// If Redis can't be reached within `budget`.
    pub async fn connect(&self, budget: Duration) -> Result<Connection, RedisError> {
        within(budget, async {
            Ok(match &self.0 {
                Kind::Server(client) => Connection::Single(open(client, budget).await?),
                Kind::Sentinels(sentinels) => Connection::Single(sentinels.master(budget).await?.1),
                Kind::Cluster(nodes) => {
                    let nodes = nodes.iter().map(|node| node.get_connection_info().clone());
                    let client = ClusterClientBuilder::new(nodes)
                        // See [`Connection`].
                        .retries(0)
                        .response_timeout(budget)
                        // A hung node is met once among those that the URL names, and once among all.
                        .connection_timeout(budget / 3)
                        .build()?;
                    Connection::Cluster(client.get_async_connection().await?)
                }
            })
        })
        .await
    }

    /// A connection that hears what is published on `channel`: of a cluster by way of whichever node answers
    /// first, for nodes tell each other everything that is published.
    ///
    /// # Errors
    /// If Redis can't be reached within `budget`.
    pub async fn subscribe(&self, channel: &str, budget: Duration) -> Result<PubSub, RedisError> {
        within(budget, async {
            match &self.0 {
                Kind::Server(client) => hear(client, channel).await,
                Kind::Sentinels(sentinels) => hear(&sentinels.master(budget).await?.0, channel).await,
                Kind::Cluster(nodes) => {
                    let hearing = nodes.iter().map(|node| Box::pin(hear(node, channel)));
                    Ok(select_ok(hearing).await?.0)
                }
            }
        })
        .await
    }
}

/// The nodes that a cluster's URL names.
fn nodes(scheme: &str, rest: &str) -> Result<Vec<Client>, TopologyError> {
    let (authority, path) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    if !path.is_empty() {
        let what = "nothing stands behind a cluster's hosts, which have one database";
        return Err(TopologyError::Form { what, form: CLUSTER });
    }
    let (login, hosts) = split_login(authority);
    hosts.split(',').map(|host| client(scheme, &format!("{login}{host}"), CLUSTER)).collect()
}

/// User and password with the `@` behind them, if there are any, and what follows.
pub(super) fn split_login(authority: &str) -> (&str, &str) {
    authority.split_at(authority.rfind('@').map_or(0, |at| at + 1))
}

pub(super) fn client(scheme: &str, rest: &str, form: &'static str) -> Result<Client, TopologyError> {
    let wrong = |what| TopologyError::Form { what, form };
    // Among them is `#insecure`, which would believe anyone.
    if rest.contains('#') {
        return Err(wrong("there is a # in it"));
    }
    let client = Client::open(format!("{scheme}://{rest}"))
        .map_err(|_| wrong("a host, port, database or special character is missing or wrong"))?;
    match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } if host.is_empty() => {
            Err(wrong("a host is missing"))
        }
        _ => Ok(client),
    }
}

pub(super) async fn open(client: &Client, budget: Duration) -> Result<MultiplexedConnection, RedisError> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(budget)).set_response_timeout(Some(budget));
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn hear(client: &Client, channel: &str) -> Result<PubSub, RedisError> {
    let mut pubsub = client.get_async_pubsub().await?;
    pubsub.subscribe(channel).await?;
    Ok(pubsub)
}

async fn within<T>(
    budget: Duration,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let late = || RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    tokio::time::timeout(budget, work).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use redis::ConnectionInfo;

    use super::super::sentinels::FORM as SENTINELS;
    use super::*;

    /// Address, user, password and database of a server.
    fn told(client: &ConnectionInfo) -> (String, Option<&str>, Option<&str>, i64) {
        let settings = client.redis_settings();
        (client.addr().to_string(), settings.username(), settings.password(), settings.db())
    }

    fn server(url: &str) -> ConnectionInfo {
        match Topology::parse(url).unwrap().0 {
            Kind::Server(client) => client.get_connection_info().clone(),
            other => panic!("{url}: {other:?}"),
        }
    }

    fn addresses(clients: &[Client]) -> Vec<String> {
        clients.iter().map(|client| client.get_connection_info().addr().to_string()).collect()
    }

    #[test]
    fn a_server_is_reached_by_tcp_tls_or_socket_under_either_name() {
        for name in ["redis", "valkey", "REDIS"] {
            let plain = server(&format!(" {name}://ann:p%40ss%2F@h:1/5 "));
            assert_eq!(told(&plain), ("h:1".to_owned(), Some("ann"), Some("p@ss/"), 5));
            assert!(matches!(plain.addr(), ConnectionAddr::Tcp(..)));
            let tls = server(&format!("{name}s://[::1]"));
            assert!(
                matches!(tls.addr(), ConnectionAddr::TcpTls { host, port: 6379, insecure: false, .. } if host == "::1")
            );
        }
        for scheme in ["unix", "redis+unix", "valkey+unix"] {
            let socket = server(&format!("{scheme}:///a%20b/r.sock?db=3&pass=p%40ss"));
            assert_eq!(told(&socket), ("/a b/r.sock".to_owned(), None, Some("p@ss"), 3));
        }
    }

    #[test]
    fn a_url_of_sentinels_holds_the_login_of_the_servers_and_behind_the_question_mark_their_own() {
        let url = "rediss+sentinel://ann:p%40ss@a,b:1,[::1],[::1]:2/my-shop.1/4?sentinel_user=s&sentinel_password=%26";
        let Kind::Sentinels(found) = Topology::parse(url).unwrap().0 else { panic!() };
        assert_eq!(found.service, "my-shop.1");
        assert_eq!(addresses(&found.sentinels), ["a:26379", "b:1", "::1:26379", "::1:2"]);
        for sentinel in &found.sentinels {
            let (_, user, password, database) = told(sentinel.get_connection_info());
            assert_eq!((user, password, database), (Some("s"), Some("&"), 0));
        }
        let (_, user, password, database) = told(&found.servers);
        assert_eq!((user, password, database), (Some("ann"), Some("p@ss"), 4));
        assert!(matches!(found.servers.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));

        let Kind::Sentinels(plain) = Topology::parse("valkey+sentinel://a/s").unwrap().0 else { panic!() };
        assert_eq!(told(plain.sentinels[0].get_connection_info()), ("a:26379".to_owned(), None, None, 0));
        assert!(matches!(plain.servers.addr(), ConnectionAddr::Tcp(..)));
    }

    #[test]
    fn every_node_of_a_cluster_has_the_same_login() {
        let topology = Topology::parse("redis+cluster://:p%40ss@a:1,[::1]:2,c").unwrap();
        assert!(topology.is_cluster());
        let Kind::Cluster(nodes) = topology.0 else { panic!() };
        assert_eq!(addresses(&nodes), ["a:1", "::1:2", "c:6379"]);
        assert!(
            nodes.iter().all(|node| node.get_connection_info().redis_settings().password() == Some("p@ss"))
        );
        let Kind::Cluster(nodes) = Topology::parse("rediss+cluster://a/").unwrap().0 else { panic!() };
        assert!(matches!(nodes[0].get_connection_info().addr(), ConnectionAddr::TcpTls { .. }));
    }

    #[test]
    fn a_wrong_url_is_one_line_that_says_what_is_right_and_repeats_nothing() {
        for url in ["hunter2", "http://:hunter2@h", "redis+hunter2://h", "", "redis:hunter2"] {
            let shown = Topology::parse(url).unwrap_err().to_string();
            assert!(shown.contains("redis+sentinel:// or redis+cluster://"), "{url}: {shown}");
            assert!(!shown.contains("hunter2") && !shown.contains('\n'), "{shown}");
        }
        for (url, form) in [
            ("redis://", SERVER),
            ("redis://:hunter2@", SERVER),
            ("redis://:hunter2@h:99999", SERVER),
            ("redis://:hunter2@h/one", SERVER),
            ("redis://:hunter/2@h", SERVER),
            ("redis://:hunter2%ff@h", SERVER),
            ("rediss://:hunter2@h/#insecure", SERVER),
            ("redis+unix://hunter2", SOCKET),
            ("redis+sentinel://:hunter2@h:1", SENTINELS),
            ("redis+sentinel://:hunter2@h:1/", SENTINELS),
            ("redis+sentinel://:hunter2@h:1/a%20b", SENTINELS),
            ("redis+sentinel://:hunter2@h:1/s/one", SENTINELS),
            ("redis+sentinel://:hunter2@h:1,:2/s", SENTINELS),
            ("redis+sentinel://:hunter2@h:x/s", SENTINELS),
            ("redis+sentinel://h/s?password=hunter2", SENTINELS),
            ("redis+cluster://:hunter2@", CLUSTER),
            ("redis+cluster://:hunter2@h:1,,h:2", CLUSTER),
            ("redis+cluster://:hunter2@h:1/3", CLUSTER),
        ] {
            let shown = Topology::parse(url).expect_err(url).to_string();
            assert!(shown.contains(form), "{url}: {shown}");
            assert!(!shown.contains("hunter") && !shown.contains('\n'), "{shown}");
        }
    }

    #[test]
    fn no_password_is_shown_by_debug() {
        for url in [
            "redis://:hunter2@h",
            "unix:///s?pass=hunter2",
            "redis+sentinel://:hunter2@h/s?sentinel_password=hunter2",
            "redis+cluster://:hunter2@h",
        ] {
            let shown = format!("{:?}", Topology::parse(url).unwrap());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
