//! `holdfast dev`: the whole service with nothing to set up.
//!
//! What must stay true: a second run finds what the first one left and changes nothing in it; Ctrl-C at any moment,
//! during the start too, leaves no process behind; a catalogue that is someone's own is left alone.

use std::{
    convert::Infallible,
    env, fs,
    io::{ErrorKind, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{serve, servers::Signals};
use crate::{
    config::Config,
    db, ids,
    servers::{self, Pair},
};

/// Where servers, their data and the key are kept, in the folder that `holdfast dev` is called in.
const FOLDER: &str = ".run";
/// Any free port, where the usual one is taken.
const ANY_PORT: &str = "127.0.0.1:0";
/// A key shorter than this is refused by the configuration.
const SHORTEST_KEY: usize = 32;
/// sku, name, price, units on the shelf: enough of some, the last one of another, and one that costs nothing.
const ITEMS: &[(&str, &str, &str, u32)] = &[
    ("DEMO-MUG", "Enamel mug, blue", "12.50", 120),
    ("DEMO-LAMP", "Desk lamp, brass", "49.00", 8),
    ("DEMO-TEAPOT", "Teapot, cast iron", "64.90", 25),
    ("DEMO-LAST", "Globe, the last one", "139.00", 1),
    ("DEMO-CARD", "Greeting card, with every order", "0.00", 1000),
];
const CURRENCY: &str = "EUR";

/// Serves until told to stop, then stops what it started.
///
/// # Errors
/// When no database can be had or the service does not start; the message says what to do.
pub async fn run() -> Result<()> {
    let mut signals = Signals::listen()?;
    let folder = PathBuf::from(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {FOLDER} here"))?;
    let (mut pair, config, key) = tokio::select! {
        prepared = prepare(&folder) => prepared?,
        _ = signals.next() => return Ok(()),
    };
    let private = pair.private_database().is_some();
    let about = describe(&pair);
    let serving = serve::run(config, move |address| {
        tokio::spawn(greet(reachable(address), key, about, private));
    });
    let served = tokio::select! {
        served = serving => served,
        never = end_with_the_terminal(signals) => match never {},
    };
    let stopped = pair.stop().await;
    served.and(stopped)
}

/// Turns the hangup of a closed terminal into the request to stop that the service knows.
async fn end_with_the_terminal(mut signals: Signals) -> Infallible {
    loop {
        if signals.next().await == Signal::SIGHUP
            && let Err(error) = signal::kill(Pid::this(), Signal::SIGTERM)
        {
            tracing::error!(%error, "the closed terminal could not end the service");
        }
    }
}

async fn prepare(folder: &Path) -> Result<(Pair, Config, Key)> {
    let home = servers::home(folder);
    if home != std::path::absolute(folder)? {
        servers::say(&format!(
            "root's servers run as users who cannot reach {FOLDER}: their data is in {}",
            home.display()
        ));
    }
    let pair = Pair::start(&home, true).await?;
    let key = Key::of_environment_or(folder)?;
    let config = configure(&pair, &key)?;
    db::migrate(pair.database_url()).await?;
    Ok((pair, config, key))
}

/// The configuration of the environment, completed with the addresses of what runs here.
fn configure(pair: &Pair, key: &Key) -> Result<Config> {
    let mut config = Config::read(&|name| match name {
        "DATABASE_URL" => Some(pair.database_url().to_owned()),
        "REDIS_URL" => pair.redis_url().map(str::to_owned),
        _ => env::var(name).ok(),
    })?;
    config.admin_key = Some(key.secret.clone());
    if env::var_os("HOLDFAST_LISTEN").is_none() && is_taken(&config.listen) {
        servers::say(&format!("{} is taken by another program: using a free port", config.listen));
        ANY_PORT.clone_into(&mut config.listen);
    }
    Ok(config)
}

fn is_taken(address: &str) -> bool {
    TcpListener::bind(address).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

/// The key with every scope.
struct Key {
    secret: SecretString,
    /// How it is written in a command to be pasted, and where it comes from.
    in_command: String,
    origin: String,
}

impl Key {
    /// The one that the environment sets, else the one in `folder`, made the first time.
    fn of_environment_or(folder: &Path) -> Result<Self> {
        const VARIABLE: &str = "HOLDFAST_ADMIN_KEY";
        if let Some(key) = env::var(VARIABLE).ok().filter(|key| !key.is_empty()) {
            let in_command = format!("${VARIABLE}");
            return Ok(Self { secret: key.into(), in_command, origin: "from the environment".to_owned() });
        }
        let path = folder.join("admin.key");
        let key = match fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => make_key(&path)?,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        if key.len() < SHORTEST_KEY {
            bail!("{} holds no key: delete it, and a new one is made", path.display());
        }
        Ok(Self {
            in_command: key.clone(),
            secret: key.into(),
            origin: format!("kept in {}", path.display()),
        })
    }
}

fn make_key(path: &Path) -> Result<String> {
    let key = ids::api_key();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{key}")?;
    Ok(key)
}

/// Where a program on this machine reaches a service that listens at `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

fn describe(pair: &Pair) -> String {
    let place = |folder: Option<&Path>| match folder {
        Some(folder) => format!("private, in {}", folder.display()),
        None => "yours".to_owned(),
    };
    let redis = match pair.redis_url() {
        Some(_) => format!("Redis ({}) and the database", place(pair.private_redis())),
        None => "the database only: no Redis".to_owned(),
    };
    format!("  database  Postgres ({})\n  locks     {redis}", place(pair.private_database()))
}

/// Fills an empty catalogue, then says how to begin.
async fn greet(address: SocketAddr, key: Key, about: String, private: bool) {
    let base = format!("http://{address}");
    let variant = match demo_catalogue(address, key.secret.expose_secret(), private).await {
        Ok(variant) => variant,
        Err(error) => {
            servers::say(&format!("the demo catalogue could not be made: {error:#}"));
            return;
        }
    };
    super::show(&format!(
        "\nHoldfast is ready at {base}\n{about}\n  key       {key} ({origin})\n\n\
         Take one unit from the shelf:\n\n  \
         curl -X POST {base}/api/v1/inventory/{variant}/decrement \\\n    \
         -H \"Authorization: Bearer {key}\" -H 'Content-Type: application/json' \\\n    \
         -d '{{\"quantity\": 1, \"reason\": \"first try\"}}'\n\nCtrl-C stops it, and all it started.\n",
        key = key.in_command,
        origin = key.origin,
    ));
}

/// Makes the demo catalogue through the service's own door, unless a database that is not ours has one already. Making
/// it twice is the same as making it once. Gives the id of a variant to try things on.
async fn demo_catalogue(address: SocketAddr, key: &str, private: bool) -> Result<String> {
    let door = Door { address, key };
    let listed = door.call(Method::GET, "/variants?limit=1", None).await?;
    if let (false, Some(id)) = (private, listed.first_id()) {
        return Ok(id);
    }
    let mut first = None;
    for (sku, name, price, on_hand) in ITEMS {
        let body =
            json!({"sku": sku, "name": name, "price": price, "currency": CURRENCY, "on_hand": on_hand});
        let mut answer = door.call(Method::POST, "/variants", Some((&format!("demo-{sku}"), body))).await?;
        if answer.status == StatusCode::CONFLICT {
            // From an earlier run, longer ago than answers are kept.
            answer = door.call(Method::GET, &format!("/variants?sku={sku}&limit=1"), None).await?;
        }
        let id = answer.first_id().with_context(|| format!("{sku}: {} {}", answer.status, answer.body))?;
        first.get_or_insert(id);
    }
    first.context("the demo catalogue is empty")
}

/// The service's address and a key to it.
struct Door<'a> {
    address: SocketAddr,
    key: &'a str,
}

struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    /// The id of the variant in the answer, or of the first of a list.
    fn first_id(&self) -> Option<String> {
        let variant = self.body.pointer("/items/0").unwrap_or(&self.body);
        variant.get("variant_id")?.as_str().map(str::to_owned)
    }
}

impl Door<'_> {
    /// One request on a connection of its own; with a body, its idempotency key stands before it.
    async fn call(&self, method: Method, path: &str, body: Option<(&str, Value)>) -> Result<Answer> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key));
        let mut payload = Bytes::new();
        if let Some((idempotency_key, body)) = body {
            request = request
                .header("Idempotency-Key", idempotency_key)
                .header(header::CONTENT_TYPE, "application/json");
            payload = Bytes::from(body.to_string());
        }
        let response = sender.send_request(request.body(Full::new(payload))?).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        driver.abort();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_client_error() && status != StatusCode::CONFLICT || status.is_server_error() {
            bail!("{path} answered {status}: {body}");
        }
        Ok(Answer { status, body })
    }
}
