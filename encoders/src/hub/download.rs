//! One file over HTTP, into a part file that a later run goes on from.
//!
//! What must stay true: what is in the part file is a prefix of the file (a server that ignores `Range` starts it over), and
//! what is handed on has the stated checksum.

use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;

use ureq::Body;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG};
use ureq::http::{HeaderMap, Method, Response};

use super::client::{Client, refused};
use super::digest::Checksum;
use super::error::InstallError;
use super::progress::Meter;
use super::source::without_credentials;

/// Attempts that bring no more than [`WORTHWHILE`] bytes before it is given up.
const FRUITLESS_ATTEMPTS: usize = 3;
const WORTHWHILE: u64 = 1 << 20;

/// A file to get.
pub(super) struct Download<'a> {
    pub client: &'a Client,
    pub url: String,
    /// Its name, for messages and progress.
    pub file: &'a str,
    /// Bytes, where the source tells.
    pub size: Option<u64>,
    /// Of the content, where the source tells.
    pub checksum: Option<Checksum>,
    /// Where the bytes go.
    pub part: PathBuf,
    /// Where the server's ETag is kept; only for files whose part is not named after their content.
    pub etag: Option<PathBuf>,
}

impl Download<'_> {
    /// Fills the part file and checks it. On success it is complete; on [`InstallError::Interrupted`] it holds what came; on
    /// [`InstallError::Checksum`] it is gone.
    pub fn run(&self, meter: &Meter<'_>) -> Result<(), InstallError> {
        let mut fruitless = 0;
        loop {
            let before = self.received();
            match self.attempt(meter) {
                Ok(()) => break,
                Err(Stop::Final(error)) => return Err(error),
                Err(Stop::Cut(reason)) => {
                    let received = self.received();
                    fruitless = if received >= before.saturating_add(WORTHWHILE) { 0 } else { fruitless + 1 };
                    if fruitless == FRUITLESS_ATTEMPTS {
                        return Err(self.interrupted(reason));
                    }
                }
            }
        }
        if let Some(stated) = &self.checksum {
            let received = stated.of_file(&self.part)?;
            if received != *stated {
                self.discard()?;
                return Err(InstallError::Checksum {
                    file: self.file.into(),
                    algorithm: stated.algorithm(),
                    stated: stated.digits().into(),
                    received: received.digits().into(),
                });
            }
        }
        Ok(())
    }

    fn attempt(&self, meter: &Meter<'_>) -> Result<(), Stop> {
        let mut start = self.received();
        if self.size.is_some_and(|size| start > size) {
            self.discard()?;
            start = 0;
        }
        if self.size == Some(start) && start > 0 {
            return Ok(());
        }
        let mut headers = Vec::new();
        if start > 0 {
            match self.etag.as_ref().map(fs_err::read_to_string) {
                None => headers.push(("range", format!("bytes={start}-"))),
                Some(Ok(etag)) => {
                    headers.push(("range", format!("bytes={start}-")));
                    headers.push(("if-range", etag));
                }
                // Without the ETag nothing says that the rest belongs to these bytes.
                Some(Err(_)) => start = 0,
            }
        }
        let response = self.client.open(Method::GET, &self.url, &headers);
        let mut response =
            response.map_err(|error| if start > 0 { self.cut(error) } else { Stop::Final(error) })?;
        let status = response.status().as_u16();
        let from = match status {
            200 => 0,
            206 if range_start(response.headers()) == Some(start) => start,
            206 => {
                self.discard()?;
                return Err(self.nonsense("the bytes that come are not the ones asked for"));
            }
            // What is there is not a prefix of what the server has: start over.
            416 => {
                self.discard()?;
                return Err(Stop::Cut("the server has no such range".into()));
            }
            _ => return Err(Stop::Final(refused(&self.url, status, ""))),
        };
        self.receive(&mut response, from, meter)
    }

    /// Appends the body to the first `from` bytes of the part file.
    fn receive(&self, response: &mut Response<Body>, from: u64, meter: &Meter<'_>) -> Result<(), Stop> {
        if let (Some(path), 0) = (&self.etag, from) {
            match response
                .headers()
                .get(ETAG)
                .and_then(|etag| etag.to_str().ok())
                .filter(|e| e.starts_with('"'))
            {
                Some(etag) => fs_err::write(path, etag)?,
                None => drop(fs_err::remove_file(path)),
            }
        }
        let mut part = fs_err::OpenOptions::new().create(true).append(true).open(&self.part)?;
        part.set_len(from)?;
        let body_length = header_number(response.headers(), CONTENT_LENGTH.as_str());
        let expected = self.size.or(body_length.map(|length| from + length));
        let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 16];
        let mut received = from;
        meter.file(self.file, received, expected);
        let ended = loop {
            match body.read(&mut buffer) {
                Ok(0) => break None,
                Ok(read) => {
                    part.write_all(&buffer[..read])?;
                    received += read as u64;
                    meter.file(self.file, received, expected);
                    if self.size.is_some_and(|size| received > size) {
                        self.discard()?;
                        return Err(self.nonsense("more bytes come than its size"));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Some(error.to_string()),
            }
        };
        // No sync: whatever a power cut leaves is checked before it is used.
        match ended {
            Some(reason) => Err(Stop::Cut(reason)),
            None if expected.is_some_and(|size| received < size) => {
                Err(Stop::Cut("the server closed the connection".into()))
            }
            None => Ok(()),
        }
    }

    fn received(&self) -> u64 {
        fs_err::metadata(&self.part).map_or(0, |metadata| metadata.len())
    }

    fn discard(&self) -> std::io::Result<()> {
        match fs_err::remove_file(&self.part) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A server that went away half way is an interruption; a refusal stays what it is.
    fn cut(&self, error: InstallError) -> Stop {
        match error {
            InstallError::Unreachable { .. } | InstallError::Status { status: 500.., .. } => {
                Stop::Final(self.interrupted(error.to_string()))
            }
            other => Stop::Final(other),
        }
    }

    fn nonsense(&self, what: &str) -> Stop {
        let reason =
            format!("{what}; the copy was deleted, so run the same command again, or use another endpoint");
        Stop::Final(InstallError::Protocol { url: without_credentials(&self.url), reason })
    }

    fn interrupted(&self, reason: String) -> InstallError {
        let size = self.size.map_or("?".into(), |size| size.to_string());
        InstallError::Interrupted { file: self.file.into(), received: self.received(), size, reason }
    }
}

/// Why an attempt ended.
enum Stop {
    /// The connection broke; another attempt goes on.
    Cut(String),
    Final(InstallError),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Final(error.into())
    }
}

/// `START` of `Content-Range: bytes START-END/SIZE` (RFC 9110, section 14.4).
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn header_number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}
