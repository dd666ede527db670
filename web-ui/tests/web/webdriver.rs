//! A browser on a string: as much of the W3C WebDriver protocol as the page's test needs, which is plain JSON over HTTP.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::agent;

/// The Enter key (WebDriver, "keyboard actions").
pub const ENTER: &str = "\u{e007}";
/// What WebDriver calls the reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How long a page may take to get where it is going. Not a measure of speed: a machine that does much else is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Chromium without a window, driven by ChromeDriver; both end when it is dropped.
pub struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let (chromium, driver) = (program("chromium"), program("chromedriver"));
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new(driver).arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: u16 = lines
            .find_map(|line| {
                Some(line.ok()?.split_once("successfully on port ")?.1.trim_end_matches('.').parse().unwrap())
            })
            .expect("chromedriver says its port");
        thread::spawn(move || lines.count()); // a full pipe would stop it

        // Made before the session, so that a failure ends the driver.
        let mut browser =
            Self { driver, session: format!("http://127.0.0.1:{port}/session"), _profile: profile };
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
        ]
        .map(String::from)
        .into();
        arguments.push(format!("--user-data-dir={}", browser._profile.path().display()));
        let session = browser.call(
            "",
            json!({"capabilities": {"alwaysMatch": {
                "browserName": "chrome",
                "goog:loggingPrefs": {"browser": "ALL"},
                "goog:chromeOptions": {"binary": chromium, "args": arguments},
            }}}),
        );
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().unwrap());
        browser
    }

    /// One command; panics with the driver's words when it fails.
    pub fn call(&self, command: &str, body: Value) -> Value {
        let mut response = agent().post(format!("{}{command}", self.session)).send_json(&body).unwrap();
        let mut answer: Value = response.body_mut().read_json().unwrap();
        assert!(response.status().is_success(), "{command} {body}: {answer}");
        answer["value"].take()
    }

    pub fn open(&self, url: &str) {
        self.call("/url", json!({"url": url}));
    }

    /// The value of a JavaScript expression in the page.
    pub fn eval(&self, expression: &str) -> Value {
        self.call("/execute/sync", json!({"script": format!("return {expression}"), "args": []}))
    }

    /// Waits until the expression is truthy.
    pub fn wait_for(&self, expression: &str) {
        let start = Instant::now();
        while !self.eval(&format!("Boolean({expression})")).as_bool().unwrap() {
            assert!(
                start.elapsed() < PATIENCE,
                "waited for {expression}; the page says: {}",
                self.eval("document.body.innerText")
            );
            thread::sleep(Duration::from_millis(30));
        }
    }

    fn element(&self, selector: &str) -> String {
        let found = self.call("/element", json!({"using": "css selector", "value": selector}));
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    /// Types as a person would, where the selector points.
    pub fn type_into(&self, selector: &str, keys: &str) {
        self.call(&format!("{}/value", self.element(selector)), json!({"text": keys}));
    }

    pub fn clear(&self, selector: &str) {
        self.call(&format!("{}/clear", self.element(selector)), json!({}));
    }

    pub fn click(&self, selector: &str) {
        self.call(&format!("{}/click", self.element(selector)), json!({}));
    }

    /// Messages of the console that are errors, since the last call.
    pub fn console_errors(&self) -> Vec<String> {
        let messages = self.call("/se/log", json!({"type": "browser"}));
        let severe = messages.as_array().unwrap().iter().filter(|message| message["level"] == "SEVERE");
        severe.map(|message| message["message"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; ending the driver alone would leave it running.
        let _ = agent().delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Where a program is.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{name} is not on PATH; on Debian: apt-get install chromium chromium-driver (`make test` does)")
    })
}
