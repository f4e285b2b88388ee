//! A visitor: a chromedriver and a browser of its own, with a profile that is thrown away. Both are ended by their process
//! ids, also when a story panics: a browser outlives its chromedriver.

use fantoccini::elements::Element;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a page may take to show what is waited for.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// chromedriver's program; without it the browser's stories are ignored, and the runner says so.
pub fn driver() -> Option<String> {
    std::env::var("FUDA_TEST_CHROMEDRIVER").ok().filter(|path| !path.is_empty())
}

/// What a visitor brings along.
pub struct Habits {
    /// As in Accept-Language: `ja` or `en`.
    pub language: &'static str,
    pub javascript: bool,
    /// The port of a server on this machine that stands for pay.google.com, with a certificate of its own.
    pub google: Option<u16>,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits { language: "en", javascript: true, google: None }
    }
}

pub struct Visitor {
    pub window: Client,
    driver: Child,
    browser: Option<u64>,
    pub profile: PathBuf,
    /// What the browser asked the network for, as far as chromedriver was asked for it.
    pub(crate) requests: Mutex<Vec<Value>>,
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.end("-KILL");
        std::fs::remove_dir_all(&self.profile).ok();
    }
}

impl Visitor {
    pub async fn new(habits: Habits) -> Visitor {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fuda_browser_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let profile = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&profile).unwrap();
        let (mut driver, address) = start_driver();
        let wishes = wishes(&habits, &profile);
        let connected = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(wishes.as_object().unwrap().clone())
            .connect(&address)
            .await;
        let window = connected.unwrap_or_else(|error| {
            driver.kill().ok();
            driver.wait().ok();
            panic!("no browser: {error}");
        });
        let browser = window.capabilities().and_then(|made| made["goog:processID"].as_u64());
        let visitor = Visitor { window, driver, browser, profile, requests: Mutex::new(Vec::new()) };
        visitor.screen(1000, 800).await;
        visitor
    }

    /// Closes the browser, which writes to its profile what belongs there; that stays until the visitor is dropped.
    pub fn leave(&mut self) {
        self.end("-TERM");
    }

    /// The browser by `signal`, and if that is of no use by force; then its helpers, which write to the profile for a moment
    /// longer.
    fn end(&mut self, signal: &str) {
        // Once: an id that is free again may be somebody else's.
        let Some(browser) = self.browser.take() else { return };
        let family = family(browser);
        for (signal, process) in [(signal, &family[..1]), ("-KILL", &family[..])] {
            let ids: Vec<String> = process.iter().filter(|id| running(**id)).map(u64::to_string).collect();
            if !ids.is_empty() {
                Command::new("kill").arg(signal).args(&ids).stderr(Stdio::null()).status().ok();
            }
            let mut tries = 0;
            while tries < 100 && process.iter().any(|id| running(*id)) {
                std::thread::sleep(Duration::from_millis(20));
                tries += 1;
            }
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }

    pub async fn opens(&self, url: &str) {
        self.window.goto(url).await.unwrap();
    }

    /// A command of Chrome's own protocol.
    pub async fn cdp(&self, command: &str, arguments: Value) -> Value {
        let body = json!({"cmd": command, "params": arguments});
        self.window.issue_cmd(Chromes { path: "goog/cdp/execute", body }).await.unwrap()
    }

    /// What chromedriver noted of the network since it was last asked.
    pub(crate) async fn log(&self) -> Vec<Value> {
        let body = json!({"type": "performance"});
        let log = self.window.issue_cmd(Chromes { path: "se/log", body }).await.unwrap();
        let entries = log.as_array().unwrap().iter();
        entries.map(|entry| serde_json::from_str(entry["message"].as_str().unwrap()).unwrap()).collect()
    }

    /// Waits for the element, or says what the page shows instead.
    pub async fn sees(&self, css: &str) -> Element {
        match self.window.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await {
            Ok(found) => found,
            Err(error) => panic!("no {css} on {}: {error}\n{}", self.place().await, self.text().await),
        }
    }

    pub async fn has(&self, css: &str) -> bool {
        !self.window.find_all(Locator::Css(css)).await.unwrap().is_empty()
    }

    /// Types into the field of that name, as a hand does; what stood there is gone.
    pub async fn fills(&self, name: &str, text: &str) {
        let field = self.sees(&format!("[name='{name}']")).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub async fn presses(&self, css: &str) {
        self.sees(css).await.click().await.unwrap();
    }

    pub async fn text(&self) -> String {
        let body = self.window.find(Locator::Css("body")).await.unwrap();
        body.text().await.unwrap_or_default()
    }

    pub async fn place(&self) -> String {
        self.window.current_url().await.unwrap().to_string()
    }

    /// Waits until the address begins so, and gives it whole.
    pub async fn arrives(&self, begin: &str) -> String {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let place = self.place().await;
            if place.starts_with(begin) {
                return place;
            }
            assert!(std::time::Instant::now() < end, "not at {begin} but {place}:\n{}", self.text().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn runs(&self, script: &str) -> Value {
        let done = self.window.execute(script, Vec::new()).await;
        done.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The page's own size in CSS pixels.
    pub async fn screen(&self, width: u32, height: u32) {
        let phone = width < 500;
        let size = json!({"width": width, "height": height, "screenWidth": width, "screenHeight": height,
            "deviceScaleFactor": 1, "mobile": phone});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    pub async fn prefers(&self, scheme: &str, motion: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]);
        self.cdp("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }
}

/// State and parent, as Linux has them.
fn process(id: u64) -> Option<(char, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut words = status.rsplit_once(") ")?.1.split(' ');
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

/// A zombie that nobody waits for has ended too.
fn running(id: u64) -> bool {
    process(id).is_some_and(|(state, _)| state != 'Z')
}

/// A process and all below it.
fn family(first: u64) -> Vec<u64> {
    let names = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    let parents: Vec<(u64, u64)> = ids.filter_map(|id| Some((id, process(id)?.1))).collect();
    let mut found = vec![first];
    let mut at = 0;
    while at < found.len() {
        let next = found[at];
        found.extend(parents.iter().filter(|(_, parent)| *parent == next).map(|(id, _)| *id));
        at += 1;
    }
    found
}

fn wishes(habits: &Habits, profile: &std::path::Path) -> Value {
    let profile = format!("--user-data-dir={}", profile.display());
    let google = habits.google.map_or(String::new(), |port| format!("MAP pay.google.com 127.0.0.1:{port}"));
    let google = format!("--host-resolver-rules={google}");
    let args = [
        // Alone the certificates of that one server would be wrong.
        if habits.google.is_some() { "--ignore-certificate-errors" } else { "--disable-gpu" },
        &google,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--disable-breakpad",
        "--disable-extensions",
        &profile,
    ];
    json!({
        "browserName": "chrome",
        "goog:loggingPrefs": {"performance": "ALL"},
        "goog:chromeOptions": {
            "args": args,
            "prefs": {
                // Not the page of new tabs, which is a heavy one.
                "session.restore_on_startup": 4,
                "session.startup_urls": ["about:blank"],
                "intl.accept_languages": habits.language,
                "profile.managed_default_content_settings.javascript": if habits.javascript { 1 } else { 2 },
            },
        },
    })
}

// The child is killed and waited for by the visitor that gets it.
#[allow(clippy::zombie_processes)]
fn start_driver() -> (Child, String) {
    let mut command = Command::new(driver().unwrap());
    command.args(["--port=0", "--log-level=WARNING"]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let Some(Ok(line)) = lines.next() else { panic!("chromedriver did not start") };
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            let port = port.trim_end_matches('.').to_owned();
            // Read on, or it would stop at a full pipe.
            std::thread::spawn(move || lines.count());
            return (child, format!("http://127.0.0.1:{port}"));
        }
    }
}

/// A command that only Chrome has.
#[derive(Debug)]
struct Chromes {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Chromes {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}
