//! The service as a program sees it. The page in a browser is tested in `web-ui`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::support::{Desk, names};

/// A running `pictor serve`, stopped when dropped.
struct Service {
    child: Child,
    url: String,
}

impl Service {
    fn start(desk: &Desk) -> Self {
        let mut child = desk
            .command(["serve", "--index", "idx", "--addr", "127.0.0.1:0", "--json", "--quiet"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("pictor starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its address");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in '{line}'"));
        Self { child, url: ready["listening"].as_str().expect("an address").to_owned() }
    }

    fn search(&self, body: Value) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.post(format!("{}/api/search", self.url)).send_json(body).expect("an answer");
        (answer.status().as_u16(), answer.body_mut().read_json().expect("JSON"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn answers_as_the_command_line_does() {
    let desk = Desk::with_photos(6);
    desk.json("index photos --index idx");
    let service = Service::start(&desk);
    let (status, answer) = service.search(json!({ "text": "a red car", "k": 4 }));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(names(&answer), names(&desk.json("search --index idx -k 4 a red car")));

    let page = ureq::get(&service.url).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(page.contains("<input"), "{page}");
    let (status, error) = service.search(json!({ "text": "a red car", "k": 0 }));
    assert_eq!(status, 400, "{error}");
    assert!(error["error"]["message"].is_string(), "{error}");
}

#[test]
fn sees_what_is_indexed_while_it_runs() {
    let desk = Desk::with_photos(3);
    desk.json("index photos --index idx");
    let service = Service::start(&desk);
    desk.photo("late.png", 77);
    desk.json("index photos --index idx");
    let (_, answer) = service.search(json!({ "text": "anything", "k": 10 }));
    assert_eq!(names(&answer).len(), 4, "{answer}");
    assert_eq!(answer["generation"], 2);
}
