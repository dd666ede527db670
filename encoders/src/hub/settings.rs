//! What the environment says about hubs: the variables of Hugging Face's own tools, with their meanings.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hf_hub::Cache;
use ureq::http::Uri;

use super::error::InstallError;
use super::source::without_credentials;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE`, read once.
pub(super) struct Settings {
    /// Scheme, host and perhaps a path; no trailing slash.
    pub endpoint: String,
    /// Sent to the endpoint's host and to no other.
    pub token: Option<String>,
    /// Where repositories are cached, in the layout that Hugging Face's tools share.
    pub cache: Cache,
    /// Whether the network is forbidden.
    pub offline: bool,
}

impl Settings {
    /// # Errors
    /// [`InstallError::Setting`] when a variable holds what it cannot.
    pub fn from_env() -> Result<Self, InstallError> {
        let home = hub_home()?;
        let cache = set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        let token = token(&home)?;
        Ok(Self {
            endpoint: endpoint()?,
            token,
            cache: Cache::new(cache),
            offline: is_true("HF_HUB_OFFLINE"),
        })
    }
}

/// `$XDG_CACHE_HOME/pictor/downloads`, which is `~/.cache/pictor/downloads` unless set: parts of archives.
pub(super) fn downloads() -> Result<PathBuf, InstallError> {
    Ok(user_cache()?.join("pictor/downloads"))
}

fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn is_true(name: &str) -> bool {
    let value = set(name).unwrap_or_default().to_string_lossy().to_ascii_uppercase();
    ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
}

fn user_cache() -> Result<PathBuf, InstallError> {
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    cache.or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache"))).ok_or_else(|| {
        let reason = "it is not set, so there is no place for downloads; set it, or HF_HOME".into();
        InstallError::Setting { what: "HOME", value: String::new(), reason }
    })
}

fn hub_home() -> Result<PathBuf, InstallError> {
    match set("HF_HOME") {
        Some(home) => Ok(home.into()),
        None => Ok(user_cache()?.join("huggingface")),
    }
}

fn endpoint() -> Result<String, InstallError> {
    let Some(value) = set("HF_ENDPOINT") else { return Ok(DEFAULT_ENDPOINT.into()) };
    let value = value.to_string_lossy();
    let wrong = |reason: &str| InstallError::Setting {
        what: "HF_ENDPOINT",
        value: without_credentials(&value),
        reason: format!("{reason}; expected an address such as {DEFAULT_ENDPOINT}"),
    };
    let uri: Uri = value.parse().map_err(|_| wrong("it is not a valid address"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(wrong("it names no http or https host"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || uri.query().is_some() {
        return Err(wrong("it holds credentials or a query"));
    }
    Ok(value.trim_end_matches('/').into())
}

/// `HF_TOKEN`, the file that `HF_TOKEN_PATH` names, or what `hf auth login` left in `HF_HOME`.
fn token(home: &Path) -> Result<Option<String>, InstallError> {
    let found = match (set("HF_TOKEN"), set("HF_TOKEN_PATH")) {
        (Some(token), _) => Some(token.to_string_lossy().trim().to_owned()),
        (None, Some(path)) => Some(fs_err::read_to_string(PathBuf::from(path))?.trim().to_owned()),
        // The crate finds the file beside a cache directory called `hub`.
        (None, None) => Cache::new(home.join("hub")).token(),
    };
    match found.filter(|token| !token.is_empty()) {
        Some(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(token)),
        Some(_) => {
            let reason =
                "it holds characters that no token has; copy it again from the hub's settings".into();
            Err(InstallError::Setting { what: "HF_TOKEN", value: "(not shown)".into(), reason })
        }
        None => Ok(None),
    }
}
