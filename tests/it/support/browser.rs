//! A headless Chromium, spoken to over a pipe by its DevTools protocol: no port, no driver, nothing but this host.
//!
//! What it complains of (errors of scripts, refusals by the page's policy, files that do not load) is kept, and fails the
//! test that does not expect it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast::servers::TempFolder;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Client;

const NAMES: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];
/// What it does not need for this, and that it looks nowhere but here.
const OPTIONS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
];
/// A limit for what should take a moment: it only tells a hang from an answer.
const SOON: Duration = Duration::from_secs(60);

/// A browser with one page.
pub struct Browser {
    input: ChildStdin,
    last_id: u64,
    page: String,
    heard: Arc<Mutex<Heard>>,
    reading: JoinHandle<()>,
    child: Child,
    _profile: TempFolder,
}

#[derive(Default)]
struct Heard {
    asked: HashMap<u64, oneshot::Sender<Value>>,
    complaints: Vec<String>,
}

impl Browser {
    pub async fn open() -> Self {
        let profile = TempFolder::new().unwrap();
        // It reads what it is told from descriptor 3 and answers on 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null", program()])
            .args(OPTIONS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let heard = Arc::<Mutex<Heard>>::default();
        let reading = tokio::spawn(hear(child.stdout.take().unwrap(), heard.clone()));
        let input = child.stdin.take().unwrap();
        let mut browser =
            Self { input, last_id: 0, page: String::new(), heard, reading, child, _profile: profile };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"})).await;
        let attached = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", attached).await;
        browser.page = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({})).await;
        }
        browser.wide().await;
        browser
    }

    /// As on a desk.
    pub async fn wide(&mut self) {
        self.seen_on(1280, 900, false).await;
    }

    /// As on a phone.
    pub async fn narrow(&mut self) {
        self.seen_on(390, 844, true).await;
    }

    async fn seen_on(&mut self, width: u32, height: u32, mobile: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
    }

    pub async fn dark(&mut self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", features).await;
    }

    /// Opens the console of a replica and signs in, all by the keyboard.
    pub async fn sign_in(&mut self, client: &Client) {
        self.ask("Page.navigate", json!({"url": format!("http://{}/", client.address)})).await;
        self.until("document.activeElement?.id === 'key'").await;
        self.write(&client.key).await;
        self.press("Enter").await;
        self.until("document.querySelector('nav a[aria-current]')").await;
    }

    /// Follows the console to another page of it.
    pub async fn visit(&mut self, page: &str) {
        self.run(&format!("location.hash = '#/{page}'")).await;
    }

    /// What an expression is, once its promise is kept.
    pub async fn run(&mut self, script: &str) -> Value {
        let given =
            json!({"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let answer = self.ask("Runtime.evaluate", given).await;
        assert!(answer["exceptionDetails"].is_null(), "{script}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, script: &str) {
        let waiting = format!(
            "new Promise((done, failed) => {{
                const end = Date.now() + {};
                const look = () => {{
                    if ({script}) done(true);
                    else if (Date.now() > end) done(document.body.innerText);
                    else setTimeout(look, 20);
                }};
                look();
            }})",
            SOON.as_millis() / 2
        );
        let met = self.run(&waiting).await;
        assert_eq!(met, true, "never came true: {script}; complaints: {:?}", self.complaints());
    }

    /// Waits until the page says this somewhere.
    pub async fn until_said(&mut self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", Value::from(text))).await;
    }

    /// Presses the button that says this: on the question that is asked, if there is one.
    pub async fn click(&mut self, text: &str) {
        let buttons = "[...(document.querySelector('dialog') ?? document).querySelectorAll('button')]";
        let this = format!("{buttons}.find((one) => one.innerText.trim() === {})", Value::from(text));
        self.until(&this).await;
        self.run(&format!("{this}.click()")).await;
    }

    /// Puts text where the focus is.
    pub async fn write(&mut self, text: &str) {
        self.ask("Input.insertText", json!({"text": text})).await;
    }

    pub async fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            _ => panic!("another key: {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.ask("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Keeps what the page looks like, as `target/console/NAME.png`.
    pub async fn picture(&mut self, name: &str) {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let image = self.ask("Page.captureScreenshot", whole).await;
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../console");
        std::fs::create_dir_all(&folder).unwrap();
        let image = STANDARD.decode(image["data"].as_str().unwrap()).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), image).unwrap();
    }

    /// What it complained of so far.
    pub fn complaints(&self) -> Vec<String> {
        self.heard.lock().unwrap().complaints.clone()
    }

    /// Ends it, and checks that there was nothing to complain of.
    pub async fn close(mut self) {
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "the browser complains: {complaints:#?}");
        self.ask("Browser.close", json!({})).await;
        self.reading.await.unwrap();
        timeout(SOON, self.child.wait()).await.expect("the browser ends").unwrap();
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut call = json!({"id": self.last_id, "method": method, "params": params});
        let is_of_the_browser = method.starts_with("Target.") || method.starts_with("Browser.");
        if !is_of_the_browser {
            call["sessionId"] = self.page.clone().into();
        }
        let (answer, answered) = oneshot::channel();
        self.heard.lock().unwrap().asked.insert(self.last_id, answer);
        let mut bytes = call.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).await.unwrap();
        let answer =
            timeout(SOON, answered).await.expect("the browser answers").expect("the browser is there");
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }
}

async fn hear(output: ChildStdout, heard: Arc<Mutex<Heard>>) {
    let mut output = BufReader::new(output);
    let mut message = Vec::new();
    while output.read_until(0, &mut message).await.is_ok_and(|bytes| bytes > 0) {
        let told: Value = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message)).unwrap();
        message.clear();
        let mut heard = heard.lock().unwrap();
        match told["id"].as_u64() {
            Some(id) => {
                if let Some(asked) = heard.asked.remove(&id) {
                    // Whoever asked may have given up.
                    let _gone = asked.send(told);
                }
            }
            None => heard.complaints.extend(complaint(&told)),
        }
    }
    heard.lock().unwrap().asked.clear();
}

fn complaint(told: &Value) -> Option<String> {
    let params = &told["params"];
    match told["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if params["type"] == "error" => Some(params["args"].to_string()),
        "Log.entryAdded" if params["entry"]["level"] == "error" => Some(params["entry"].to_string()),
        "Network.loadingFailed" if !params["blockedReason"].is_null() => Some(params.to_string()),
        _ => None,
    }
}

fn program() -> &'static str {
    let path = std::env::var("PATH").unwrap_or_default();
    let is_there = |name: &str| match name.starts_with('/') {
        true => std::path::Path::new(name).exists(),
        false => std::env::split_paths(&path).any(|folder| folder.join(name).exists()),
    };
    NAMES.into_iter().find(|name| is_there(name)).expect("no Chromium: install it with `make tools`")
}
