//! A running server over an index of a few files.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pictor_core::testing::{HashEncoder, HashMatcher};
use pictor_core::{Attribute, ContentHash, DecodeError, Encoder, ImageRecord, Matcher, RasterSize};
use pictor_query::{Engine, Reranker};
use pictor_storage::{FeatureCache, KindChoice, Store};
use pictor_web_ui::{ServeError, ServeOptions, Shutdown, serve};
use serde_json::Value;

/// The files of the index: name, content (for the hash encoder also the text that finds it), caption. Ids count from 0.
pub const FILES: [(&str, &str, &str); 5] = [
    ("dogs.bmp", "BM two dogs on grass", "Two dogs run on the grass ."),
    ("car.bmp", "BM a red car", "A red car on a street ."),
    ("snow.bmp", "BM a dog in snow", "A dog jumps in the snow ."),
    ("swing.bmp", "BM a child on a swing", "A child sits on a swing ."),
    ("rocks.bmp", "BM people climbing rocks", "People climb rocks ."),
];

/// The thumbnail of every image that is not damaged.
pub const TILE: &[u8] = include_bytes!("tile.jpg");

/// Serves [`FILES`] on a free port until it is dropped.
pub struct Server {
    pub addr: SocketAddr,
    pub folder: tempfile::TempDir,
    shutdown: Shutdown,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = index(&folder);
        let thumbnails = Arc::new(|bytes: &[u8], _side: u32| match bytes.starts_with(b"BM damaged") {
            true => Err(DecodeError::Damaged { format: "BMP", reason: "no header".into() }),
            false => Ok(TILE.to_vec()),
        });
        let shutdown = Shutdown::new();
        let (ready, wait) = mpsc::channel();
        let thread = thread::spawn({
            let shutdown = shutdown.clone();
            let options = ServeOptions {
                addr: ([127, 0, 0, 1], 0).into(),
                runtime: "nothing at all".into(),
                ..Default::default()
            };
            move || serve(engine, thumbnails, options, |addr| ready.send(addr).unwrap(), &shutdown)
        });
        let addr = wait.recv_timeout(Duration::from_secs(60)).expect("the server starts");
        Self { addr, folder, shutdown, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Where the file of [`FILES`] is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("photos").join(name)
    }

    pub fn get(&self, path: &str) -> ureq::http::Response<ureq::Body> {
        agent().get(self.url(path)).call().unwrap()
    }

    /// Status and JSON of a search.
    pub fn search(&self, body: Value) -> (u16, Value) {
        let mut response = agent().post(self.url("/api/search")).send_json(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_json().unwrap())
    }

    /// The answer to bytes that a well-behaved client would not send.
    pub fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Stops the server and says how it ended.
    pub fn stop(mut self) -> Result<(), ServeError> {
        self.shutdown.request();
        self.thread.take().expect("stops once").join().expect("the server does not panic")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.request();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An engine over an index of [`FILES`], all below `folder`, with a matcher that counts common words.
pub fn index(folder: &tempfile::TempDir) -> Arc<Engine> {
    let encoder = Arc::new(HashEncoder::new(32));
    let store = Store::create(&folder.path().join("index"), encoder.spec(), KindChoice::Auto).unwrap();
    let mut writer = store.writer().unwrap();
    let photos = folder.path().join("photos");
    fs_err::create_dir_all(&photos).unwrap();
    for (number, (name, content, caption)) in (0..).zip(FILES) {
        let path = photos.join(name);
        fs_err::write(&path, content).unwrap();
        let record = ImageRecord {
            uri: path.to_str().unwrap().into(),
            content_hash: Some(ContentHash([number; 32])),
            bytes: content.len() as u64,
            modified_ns: None,
            size: Some(RasterSize { width: 300, height: 200 }),
            captions: vec![caption.into()],
            attributes: [("stars".to_owned(), Attribute::Integer(i64::from(number)))].into(),
        };
        writer.put(record, &encoder.vector(content.as_bytes())).unwrap();
    }
    writer.commit().unwrap();
    drop(writer);
    let matcher = Arc::new(HashMatcher::new(32));
    let cache = FeatureCache::in_memory(matcher.spec().clone(), 1 << 20);
    let reranker = Reranker::new(matcher).with_cache(cache);
    Arc::new(Engine::new(encoder, Arc::new(store)).unwrap().with_reranker(reranker))
}

/// A client for which an error status is an answer.
pub fn agent() -> ureq::Agent {
    let timeout = Some(Duration::from_secs(60));
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(timeout).build().new_agent()
}
