//! A loopback server that speaks the hub's URL scheme, with the faults that a test asks for.
//!
//! `GET /api/models/{id}/revision/{revision}` lists; `HEAD` and `GET /{id}/resolve/{revision}/{file}` serve, with `Range`, `ETag`,
//! `X-Linked-Etag`, `X-Linked-Size` and `X-Repo-Commit`; large files are redirected to a second server, as the hub redirects to
//! its storage. `GET /files/{name}` serves anything, for archives.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use serde_json::{Value, json};

/// Commit of every revision.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Larger files are in large file storage.
const LARGE: usize = 100_000;

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// Whether it reached the storage server and not the endpoint.
    pub storage: bool,
}

/// What is served, and how badly.
#[derive(Default)]
pub struct State {
    pub id: String,
    pub files: BTreeMap<String, Vec<u8>>,
    pub asked: Vec<Asked>,
    /// Token without which nothing is served.
    pub token: Option<String>,
    /// The file is cut off after so many bytes, once.
    pub cut: Option<(String, usize)>,
    /// After a cut the server closes every connection without a word.
    pub down_after_cut: bool,
    pub down: bool,
    /// The file is not finished, and its connection kept open.
    pub stall: Option<(String, usize)>,
    /// The file arrives with a wrong byte.
    pub corrupt: Option<String>,
    /// The file is listed and not there.
    pub gone: Option<String>,
    pub ignores_range: bool,
    /// The listing has names alone, as some mirrors have it.
    pub bare_listing: bool,
    /// `Range` requests that start here or later are answered with 503, so many times.
    pub busy: usize,
    storage: String,
}

/// A running hub. It ends with the process.
pub struct Hub {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    /// Serves `files` as the repository `id`.
    pub fn serve(id: &str, files: BTreeMap<String, Vec<u8>>) -> Self {
        let state = Arc::new(Mutex::new(State { id: id.into(), files, ..State::default() }));
        let endpoint = listen(&state, false);
        let storage = listen(&state, true);
        state.lock().expect("no test panics while it holds the state").storage = storage;
        Self { endpoint, state }
    }

    /// What is served, to be changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    /// The requests for files so far, forgetting them.
    pub fn take_file_requests(&self) -> Vec<Asked> {
        let asked = std::mem::take(&mut self.state().asked);
        asked.into_iter().filter(|asked| asked.path.contains("/resolve/") || asked.storage).collect()
    }
}

fn listen(state: &Arc<Mutex<State>>, storage: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let state = state.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = state.clone();
            // A client that went away is no concern of the server's.
            std::thread::spawn(move || drop(answer(&state, stream, storage)));
        }
    });
    format!("http://{address}")
}

fn answer(state: &Mutex<State>, mut stream: TcpStream, storage: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let mut state = state.lock().expect("no test panics while it holds the state");
    let asked = Asked { method, path, headers, storage };
    state.asked.push(asked.clone());
    if state.down {
        return Ok(());
    }
    let authorized = asked.headers.get("authorization");
    if let (false, Some(token)) = (storage, &state.token)
        && authorized != Some(&format!("Bearer {token}"))
    {
        return reply(&mut stream, 401, &[("X-Error-Code", "GatedRepo".into())], b"");
    }
    let path = asked.path.split('?').next().unwrap_or_default().to_owned();
    if let Some(file) = path.strip_prefix("/storage/").filter(|_| storage) {
        return serve_file(state, &asked, stream, file, Vec::new());
    }
    if let Some(file) = path.strip_prefix("/files/") {
        let etag =
            format!("\"{}\"", state.files.get(file).map_or(String::new(), |content| hex_sha256(content)));
        return serve_file(state, &asked, stream, file, vec![("ETag", etag)]);
    }
    let (api, resolve) = (format!("/api/models/{}/revision/", state.id), format!("/{}/resolve/", state.id));
    if let Some(revision) = path.strip_prefix(&api) {
        if !["main", COMMIT].contains(&revision) {
            return reply(&mut stream, 404, &[("X-Error-Code", "RevisionNotFound".into())], b"");
        }
        let body = listing(&state).to_string();
        return reply(&mut stream, 200, &[("Content-Type", "application/json".into())], body.as_bytes());
    }
    let file =
        path.strip_prefix(&resolve).and_then(|rest| rest.split_once('/')).map(|(_, file)| file.to_owned());
    match file {
        Some(file) if state.files.contains_key(&file) && state.gone.as_ref() != Some(&file) => {
            let content = &state.files[&file];
            let mut headers = vec![("X-Repo-Commit", COMMIT.to_owned())];
            if content.len() > LARGE {
                headers.push(("X-Linked-Etag", format!("\"{}\"", hex_sha256(content))));
                headers.push(("X-Linked-Size", content.len().to_string()));
                headers.push(("Location", format!("{}/storage/{file}", state.storage)));
                return reply(&mut stream, 302, &headers, b"");
            }
            headers.push(("ETag", format!("\"{}\"", git_id(content))));
            serve_file(state, &asked, stream, &file, headers)
        }
        Some(_) => reply(&mut stream, 404, &[("X-Error-Code", "EntryNotFound".into())], b""),
        None => reply(&mut stream, 401, &[("X-Error-Code", "RepoNotFound".into())], b""),
    }
}

fn serve_file(
    mut state: MutexGuard<'_, State>,
    asked: &Asked,
    mut stream: TcpStream,
    file: &str,
    mut headers: Vec<(&str, String)>,
) -> std::io::Result<()> {
    let Some(mut content) = state.files.get(file).cloned() else { return reply(&mut stream, 404, &[], b"") };
    if state.corrupt.as_deref() == Some(file) {
        let middle = content.len() / 2;
        content[middle] ^= 1;
    }
    let whole = content.len();
    let range = asked.headers.get("range").filter(|_| !state.ignores_range);
    let start =
        range.and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse::<usize>().ok());
    if let (Some(_), true) = (start, state.busy > 0) {
        state.busy -= 1;
        return reply(&mut stream, 503, &[], b"");
    }
    let status = if start.is_some() { 206 } else { 200 };
    let start = start.unwrap_or(0);
    if start >= whole && whole > 0 {
        return reply(&mut stream, 416, &[], b"");
    }
    headers.push(("Accept-Ranges", "bytes".into()));
    if status == 206 {
        headers.push(("Content-Range", format!("bytes {start}-{}/{whole}", whole - 1)));
    }
    let mut end = whole;
    let mut stall = false;
    if state.cut.as_ref().is_some_and(|(cut, _)| cut == file) {
        end = state.cut.take().map_or(end, |(_, at)| at);
        state.down = state.down_after_cut;
    }
    if let Some((_, at)) = state.stall.as_ref().filter(|(stalled, _)| stalled == file) {
        (end, stall) = (*at, true);
    }
    drop(state);
    head(&mut stream, status, &headers, whole - start)?;
    if asked.method != "HEAD" {
        stream.write_all(&content[start..end.max(start)])?;
        stream.flush()?;
        if stall {
            std::thread::sleep(std::time::Duration::from_secs(600));
        }
    }
    Ok(())
}

fn listing(state: &State) -> Value {
    let file = |(name, content): (&String, &Vec<u8>)| {
        let mut file = json!({ "rfilename": name });
        if !state.bare_listing {
            file["size"] = content.len().into();
            file["blobId"] = git_id(content).into();
            if content.len() > LARGE {
                file["lfs"] =
                    json!({ "sha256": hex_sha256(content), "size": content.len(), "pointerSize": 134 });
            }
        }
        file
    };
    let siblings: Vec<Value> = state.files.iter().map(file).collect();
    json!({ "id": state.id, "sha": COMMIT, "cardData": { "license": "mit" }, "siblings": siblings })
}

fn reply(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(&str, String)],
    body: &[u8],
) -> std::io::Result<()> {
    head(stream, status, headers, body.len())?;
    stream.write_all(body)
}

fn head(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(&str, String)],
    length: usize,
) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{text}\r\n").as_bytes())
}

/// SHA-256 in hexadecimal.
pub fn hex_sha256(content: &[u8]) -> String {
    hex(ring::digest::digest(&SHA256, content).as_ref())
}

fn git_id(content: &[u8]) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("blob {}\0", content.len()).as_bytes());
    context.update(content);
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
