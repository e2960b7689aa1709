//! A person at a browser: headless Chromium, driven over WebDriver, with an authenticator that holds passkeys.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::panic::Location;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::support::PATIENCE;

/// Debian's packages `chromium` and `chromium-driver`.
const DRIVER: &str = "chromedriver";

/// A browser with a profile of its own.
pub(crate) struct Browser {
    client: Client,
    origin: String,
    // Dropped last: it ends the browser.
    _driver: Driver,
}

struct Driver {
    child: Child,
    port: u16,
    _profile: tempfile::TempDir,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Chromium would outlive a driver that is killed, with its whole family.
        let asked = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut driver| {
            driver.set_read_timeout(Some(Duration::from_secs(5)))?;
            let host = format!("127.0.0.1:{}", self.port);
            write!(
                driver,
                "GET /shutdown HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
            )?;
            driver.read_to_end(&mut Vec::new())
        });
        if let Err(error) = asked {
            eprintln!("chromedriver was not asked to end: {error}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    /// Opens one, with an empty authenticator that verifies whoever touches it.
    pub(crate) async fn open(origin: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (child, port) = driver();
        let driver = Driver {
            child,
            port,
            _profile: profile,
        };
        let folder = driver._profile.path().display();
        let options = json!({
            "acceptInsecureCerts": true,
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": [
                "--headless=new",
                // Tests run as root in containers, where Chromium's own sandbox cannot be set up. It visits the console only.
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--window-size=1280,900",
                format!("--user-data-dir={folder}"),
            ]},
        });
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(options.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("Chromium starts (Debian's packages chromium and chromium-driver)");
        let browser = Self {
            client,
            origin: origin.to_owned(),
            _driver: driver,
        };
        browser.command(Authenticator::Add).await;
        browser
    }

    /// Goes to a path of the console, and waits until the page is there.
    pub(crate) async fn visit(&self, path: &str) {
        self.client
            .goto(&format!("{}{path}", self.origin))
            .await
            .unwrap();
    }

    /// The path and query that are shown.
    pub(crate) async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        }
    }

    /// Everything that can be read on the page.
    pub(crate) async fn text(&self) -> String {
        self.run("return document.body.innerText")
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until the page says something.
    #[track_caller]
    pub(crate) fn await_text<'a>(&'a self, words: &'a str) -> impl Future<Output = String> + 'a {
        self.awaited(Location::caller(), words, async move || {
            let text = self.text().await;
            text.contains(words).then_some(text)
        })
    }

    /// Waits until another path is shown.
    #[track_caller]
    pub(crate) fn await_path<'a>(&'a self, start: &'a str) -> impl Future<Output = String> + 'a {
        self.awaited(Location::caller(), start, async move || {
            let path = self.path().await;
            path.starts_with(start).then_some(path)
        })
    }

    async fn awaited(
        &self,
        caller: &Location<'_>,
        wanted: &str,
        look: impl AsyncFn() -> Option<String>,
    ) -> String {
        let begun = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{caller}: {wanted:?} is not there; {}:\n{}\n{:?}",
                self.path().await,
                self.text().await,
                self.complaints().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks what a CSS selector finds first.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.find(Locator::Css(selector)).await;
        element.click().await.unwrap();
    }

    /// Clicks the button or link with this text.
    pub(crate) async fn press(&self, label: &str) {
        let path =
            format!("//*[self::button or self::a or self::summary][normalize-space(.)={label:?}]");
        let clicked = self.find(Locator::XPath(&path)).await.click().await;
        clicked.unwrap_or_else(|error| panic!("{label}: {error}"));
    }

    /// Types into the field with this name.
    pub(crate) async fn fill(&self, name: &str, text: &str) {
        let element = self.find(Locator::Css(&format!("[name={name:?}]"))).await;
        element.clear().await.ok();
        element.send_keys(text).await.unwrap();
    }

    /// Chooses an option of the list with this name.
    pub(crate) async fn choose(&self, name: &str, value: &str) {
        let element = self
            .find(Locator::Css(&format!("select[name={name:?}]")))
            .await;
        element.select_by_label(value).await.unwrap();
    }

    async fn find(&self, locator: Locator<'_>) -> Element {
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(locator)
            .await;
        match found {
            Ok(element) => element,
            Err(error) => panic!(
                "{locator:?} is not on {}: {error}\n{}",
                self.path().await,
                self.text().await
            ),
        }
    }

    /// What is at a path, as the signed-in browser gets it.
    pub(crate) async fn fetch(&self, path: &str) -> String {
        let script = "const [path, done] = arguments; \
             fetch(path).then((one) => one.text()).then(done, (error) => done(String(error)))";
        let text = self.run_async(script, vec![path.into()]).await;
        text.as_str().unwrap().to_owned()
    }

    /// Runs a script in the page and gives what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client
            .execute(script, Vec::new())
            .await
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// What a script in the page gives that calls its last argument when it is done.
    pub(crate) async fn run_async(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client
            .execute_async(script, arguments)
            .await
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// How wide and high the window is.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        self.client.set_window_size(width, height).await.unwrap();
    }

    /// Says that the person prefers `light` or `dark`.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let command = DevTools {
            name: "Emulation.setEmulatedMedia",
            parameters: json!({ "features": features }),
        };
        self.client.issue_cmd(command).await.unwrap();
    }

    /// Errors and refused content that the browser has noted since it was asked last.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.client.issue_cmd(Log).await.unwrap();
        let entries = log.as_array().cloned().unwrap_or_default();
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries
            .iter()
            .filter(|entry| entry["level"] == "SEVERE")
            .map(text)
            .collect()
    }

    async fn command(&self, command: Authenticator) -> Value {
        self.client.issue_cmd(command).await.unwrap()
    }

    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
    }
}

/// Starts the driver on a port that it chooses.
fn driver() -> (Child, u16) {
    let mut child = Command::new(DRIVER)
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is there: scripts/test-services installs it");
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    for line in output.lines().map_while(Result::ok) {
        // "ChromeDriver was started successfully on port 12345."
        if let Some((_, port)) = line.split_once("successfully on port ") {
            return (child, port.trim_end_matches('.').parse().unwrap());
        }
        said.push_str(&line);
    }
    let _ = child.wait();
    panic!("chromedriver did not start: {said}");
}

/// WebDriver extension of WebAuthn Level 3 section 11.
#[derive(Debug)]
enum Authenticator {
    Add,
}

impl WebDriverCompatibleCommand for Authenticator {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/webauthn/authenticator",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": true,
            "hasUserVerification": true,
            "isUserConsenting": true,
            "isUserVerified": true,
        });
        (Method::POST, Some(body.to_string()))
    }
}

/// A command of Chromium's own protocol.
#[derive(Debug)]
struct DevTools {
    name: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.name, "params": self.parameters });
        (Method::POST, Some(body.to_string()))
    }
}

/// What the browser's console shows.
#[derive(Debug)]
struct Log;

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}
