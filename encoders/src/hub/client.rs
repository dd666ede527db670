//! Requests over HTTP, and what a hub says of a repository.
//!
//! Redirects are followed here and not by the HTTP library, because a hub answers for a large file with the address of another
//! host: the token goes to the endpoint and nowhere else, and an https address never leads to an http one.

use std::time::Duration;

use serde::Deserialize;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, ETAG, LOCATION};
use ureq::http::{HeaderMap, Method, Request, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::digest::Checksum;
use super::error::InstallError;
use super::settings::Settings;
use super::source::{HubId, without_credentials};

/// Waits before the second, third and fourth attempt: a passing fault is over by then, and a user still watches.
const WAITS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// The hub redirects once or twice.
const MOST_REDIRECTS: usize = 10;
/// The description of a repository with 10,000 files takes about 3 MB.
const MOST_JSON_BYTES: u64 = 64 << 20;

/// A file that a repository lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Path in the repository.
    pub name: String,
    /// Bytes.
    pub size: Option<u64>,
    /// Of its content.
    pub checksum: Option<Checksum>,
}

/// A repository at one commit.
#[derive(Debug)]
pub(super) struct Listing {
    /// The commit that the revision is at.
    pub commit: String,
    /// All its files.
    pub files: Vec<RemoteFile>,
    /// Licence that the model card states.
    pub license: Option<String>,
}

/// An HTTP client with the hub's address and the user's token.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

impl Client {
    pub fn new(settings: &Settings) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(Duration::from_secs(30)))
            .timeout_connect(Some(Duration::from_secs(30)))
            // A server that falls silent is an interruption, and an interruption is resumed.
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(concat!("pictor/", env!("CARGO_PKG_VERSION")))
            // What arrives must be the bytes that the checksum is of.
            .accept_encoding("identity")
            // The system's certificates: an endpoint inside an organisation is often signed by its own authority.
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        Self {
            agent: config.build().into(),
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
        }
    }

    /// `{endpoint}/{id}/resolve/{commit}/{file}`.
    pub fn file_url(&self, id: &str, commit: &str, file: &str) -> String {
        format!("{}/{id}/resolve/{}/{}", self.endpoint, escape(commit, ""), escape(file, "/"))
    }

    /// Files, sizes, checksums and licence of a repository, in one request.
    pub fn listing(&self, HubId { id, revision }: &HubId) -> Result<Listing, InstallError> {
        let url = format!("{}/api/models/{id}/revision/{}?blobs=true", self.endpoint, escape(revision, ""));
        let mut response = self.open(Method::GET, &url, &[])?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(self.refusal(id, revision, status, response.headers()));
        }
        let wrong = |reason: String| InstallError::Protocol {
            url: without_credentials(&url),
            reason: format!("{reason}; check that HF_ENDPOINT is a Hugging Face hub or a mirror of it"),
        };
        let text = response.body_mut().with_config().limit(MOST_JSON_BYTES).read_to_string();
        let text = text.map_err(|error| wrong(error.to_string()))?;
        let info: Info = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let commit = info.sha.ok_or_else(|| wrong("the answer has no field 'sha'".into()))?;
        if commit.is_empty() || !commit.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(wrong(format!("'{commit}' is no commit")));
        }
        let files: Vec<RemoteFile> = info.siblings.into_iter().map(Sibling::file).collect();
        match files.iter().find(|file| !crate::manifest::is_inside(&file.name)) {
            Some(file) => Err(wrong(format!("'{}' is not a path inside the repository", file.name))),
            None => Ok(Listing { commit, files, license: info.card_data.and_then(|card| card.license) }),
        }
    }

    /// Adds what the listing left out (a mirror may know no sizes or checksums), from the headers that the hub sends with a file.
    pub fn complete(&self, url: &str, file: &mut RemoteFile) -> Result<(), InstallError> {
        if file.size.is_some() && file.checksum.is_some() {
            return Ok(());
        }
        let response = self.once(&Method::HEAD, url, &[]).map_err(|error| unreachable_host(url, &error))?;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(refused(url, status.as_u16(), ""));
        }
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        // The length of a redirection is that of its own body.
        let length = if status.is_success() { header(CONTENT_LENGTH.as_str()) } else { None };
        file.size = file.size.or(header("x-linked-size").or(length).and_then(|text| text.parse().ok()));
        let etag = header("x-linked-etag").or(header(ETAG.as_str()));
        file.checksum = file.checksum.take().or(etag.and_then(Checksum::read));
        match file.checksum {
            Some(_) => Ok(()),
            None => Err(InstallError::Protocol {
                url: without_credentials(url),
                reason:
                    "it comes without a checksum, so it cannot be trusted; use an endpoint that states one"
                        .into(),
            }),
        }
    }

    /// Asks until there is an answer that trying again would not change, following redirects.
    pub fn open(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Response<Body>, InstallError> {
        let mut waits = WAITS.iter();
        loop {
            let outcome = self.follow(&method, url, headers);
            let passing = match &outcome {
                Ok(response) => matches!(response.status().as_u16(), 429 | 500 | 502 | 503 | 504),
                Err(Failure::Transport(error)) => is_passing(error),
                Err(Failure::Final(_)) => false,
            };
            if let (true, Some(wait)) = (passing, waits.next()) {
                std::thread::sleep(*wait);
                continue;
            }
            return match outcome {
                Ok(response) if passing => Err(refused(url, response.status().as_u16(), " after 4 attempts")),
                Ok(response) => Ok(response),
                Err(Failure::Transport(error)) => Err(unreachable_host(url, &error)),
                Err(Failure::Final(error)) => Err(error),
            };
        }
    }

    fn follow(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Response<Body>, Failure> {
        let mut url = url.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.once(method, &url, headers).map_err(Failure::Transport)?;
            let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
            let Some(location) = location else { return Ok(response) };
            url = location.to_str().ok().and_then(|to| resolve(&url, to)).ok_or_else(|| {
                let reason =
                    "it leads to an address that cannot be followed; check HF_ENDPOINT or the address".into();
                Failure::Final(InstallError::Protocol { url: without_credentials(&url), reason })
            })?;
        }
        let reason = format!("it led on more than {MOST_REDIRECTS} times; check HF_ENDPOINT or the address");
        Err(Failure::Final(InstallError::Protocol { url: without_credentials(&url), reason }))
    }

    /// One request, whatever the answer.
    fn once(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(token) = self.token.as_ref().filter(|_| same_origin(url, &self.endpoint)) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        self.agent.run(request.body(())?)
    }

    /// What a refused listing means. The hub names the reason in a header, since it answers 401 for what does not exist.
    fn refusal(&self, id: &str, revision: &str, status: u16, headers: &HeaderMap) -> InstallError {
        let (endpoint, id) = (self.endpoint.clone(), id.to_owned());
        let reason = headers.get("x-error-code").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let sent = if self.token.is_some() { "one was sent" } else { "none was sent" };
        match (status, reason) {
            (404, "RevisionNotFound") => InstallError::NoRevision { endpoint, id, revision: revision.into() },
            (404, _) | (401, "RepoNotFound") => InstallError::NoRepository { endpoint, id, status },
            (401 | 403, _) => InstallError::Gated { endpoint, id, status, sent },
            _ => refused(&format!("{endpoint}/{id}"), status, ""),
        }
    }
}

enum Failure {
    Transport(ureq::Error),
    Final(InstallError),
}

/// The error that a status code is.
pub(super) fn refused(url: &str, status: u16, after: &str) -> InstallError {
    let url = without_credentials(url);
    let advice = match status {
        401 | 403 => "set HF_TOKEN to a token that may read it",
        404 | 410 => return InstallError::NoFile { url, status },
        429 => "it asks for fewer requests: wait some minutes, then run the same command again",
        500.. => "the server is in trouble: run the same command again later",
        _ => "check the address",
    };
    InstallError::Status { url, status, after: after.into(), advice }
}

fn unreachable_host(url: &str, error: &ureq::Error) -> InstallError {
    InstallError::Unreachable { url: without_credentials(url), reason: error.to_string() }
}

/// Whether trying again in a second may help.
fn is_passing(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

/// `location` as seen from `url`; none when it is no http address, or a step down from https.
fn resolve(url: &str, location: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let to = if location.contains("://") {
        location.to_owned()
    } else if let Some(other) = location.strip_prefix("//") {
        format!("{scheme}://{other}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let path = rest[authority.len()..].split(['?', '#']).next().unwrap_or_default();
        let folder = &path[..path.rfind('/').map_or(0, |at| at + 1)];
        format!("{scheme}://{authority}/{}{location}", folder.trim_start_matches('/'))
    };
    let allowed = to.starts_with("https://") || (scheme == "http" && to.starts_with("http://"));
    allowed.then_some(to)
}

/// Whether two addresses have the same scheme, host and port.
fn same_origin(a: &str, b: &str) -> bool {
    let origin = |url: &str| {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((scheme, uri.host()?.to_ascii_lowercase(), port))
    };
    origin(a).is_some_and(|a| Some(a) == origin(b))
}

/// RFC 3986, section 2.1: all but unreserved characters, and those of `keep`, become `%XX`.
fn escape(text: &str, keep: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.as_bytes().contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// `GET /api/models/{id}/revision/{revision}?blobs=true`, as far as it matters here
/// (<https://huggingface.co/docs/hub/api>).
#[derive(Deserialize)]
struct Info {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(rename = "cardData")]
    card_data: Option<Card>,
}

#[derive(Deserialize)]
struct Card {
    #[serde(default, deserialize_with = "text_or_nothing")]
    license: Option<String>,
}

/// Model cards are written by hand, and some give a list.
fn text_or_nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().map(str::to_owned))
}

#[derive(Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    name: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: Option<String>,
    size: Option<u64>,
}

impl Sibling {
    fn file(self) -> RemoteFile {
        let (size, checksum) = match &self.lfs {
            // The git object of a large file is the pointer to it.
            Some(lfs) => (lfs.size, lfs.sha256.as_deref()),
            None => (self.size, self.blob_id.as_deref()),
        };
        RemoteFile { size, checksum: checksum.and_then(Checksum::read), name: self.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_resolve_as_a_browser_resolves_them() {
        let from = "https://h:8/a/b?c";
        let resolve = |to| resolve(from, to);
        assert_eq!(resolve("https://cdn/x?y#z").as_deref(), Some("https://cdn/x?y#z"));
        assert_eq!(resolve("/x").as_deref(), Some("https://h:8/x"));
        assert_eq!(resolve("x").as_deref(), Some("https://h:8/a/x"));
        assert_eq!(resolve("//o/x").as_deref(), Some("https://o/x"));
        assert_eq!(resolve("http://cdn/x"), None, "a step down from https");
        assert_eq!(resolve("file:///etc/passwd"), None);
        assert_eq!(super::resolve("http://h", "x").as_deref(), Some("http://h/x"));
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        assert!(same_origin("https://hub/a?b", "https://HUB:443"));
        for other in ["http://hub", "https://hub:444", "https://hub.evil", "https://hub@evil/", "nonsense"] {
            assert!(!same_origin(other, "https://hub"), "{other}");
        }
    }

    #[test]
    fn file_names_are_escaped() {
        assert_eq!(escape("onnx/a b#?%é.onnx", "/"), "onnx/a%20b%23%3F%25%C3%A9.onnx");
        assert_eq!(escape("refs/pr/1", ""), "refs%2Fpr%2F1");
    }

    #[test]
    fn listings_give_the_checksum_of_the_content() {
        let info = r#"{"sha":"c0ffee","cardData":{"license":"mit"},"siblings":[
            {"rfilename":"a.json","size":3,"blobId":"ce013625030ba8dba906f756967f9e9ca394464a"},
            {"rfilename":"m.onnx","size":9,"blobId":"ce013625030ba8dba906f756967f9e9ca394464a",
             "lfs":{"sha256":"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03","size":9,"pointerSize":130}},
            {"rfilename":"bare"}]}"#;
        let info: Info = serde_json::from_str(info).unwrap();
        let files: Vec<RemoteFile> = info.siblings.into_iter().map(Sibling::file).collect();
        assert!(matches!(files[0].checksum, Some(Checksum::Git(_))));
        assert!(matches!(files[1].checksum, Some(Checksum::Sha256(_))));
        assert_eq!((files[2].size, &files[2].checksum), (None, &None));
        let odd: Info = serde_json::from_str(r#"{"sha":"x","cardData":{"license":["a","b"]}}"#).unwrap();
        assert_eq!(odd.card_data.unwrap().license, None);
    }
}
