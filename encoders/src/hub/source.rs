//! What can be added: a hub id, a folder, an address.

use std::path::{Path, PathBuf};

use ureq::http::Uri;

use super::error::InstallError;
use crate::catalogue;

/// Where a model is to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A repository of a Hugging Face hub.
    Hub(HubId),
    /// A directory on this machine.
    Folder(PathBuf),
    /// An http or https address of a `.tar`, `.tar.gz` or `.tgz`.
    Archive(String),
}

/// A repository of the hub at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubId {
    /// `organisation/name`.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl Source {
    /// Reads `organisation/name[@revision]`, a directory, the address of a hub page, or that of an archive.
    ///
    /// A directory that exists comes first; `./organisation/name` is never a hub id.
    ///
    /// # Errors
    /// [`InstallError::Source`] when it is none of these.
    pub fn parse(text: &str) -> Result<Self, InstallError> {
        let no = |expected, hint: String| InstallError::Source { source_text: text.into(), expected, hint };
        if text.starts_with("http://") || text.starts_with("https://") {
            return Self::address(text);
        }
        if Path::new(text).is_dir() {
            return Ok(Self::Folder(text.into()));
        }
        if text.starts_with(['.', '/', '~']) || Path::new(text).exists() {
            return Err(no("directory", "; check the path".into()));
        }
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        if is_repository(id) && is_revision(revision) {
            return Ok(Self::Hub(HubId { id: id.into(), revision: revision.into() }));
        }
        let meant: Vec<&str> = catalogue::models()
            .iter()
            .map(|model| model.id.as_str())
            .filter(|known| !id.is_empty() && known.rsplit('/').next() == Some(id))
            .collect();
        let hint = match meant.as_slice() {
            [] => "; `pictor model list` shows models that are known to work".into(),
            meant => format!("; did you mean {}?", meant.join(" or ")),
        };
        Err(no("directory, hub id (organisation/name[@revision]) or http(s) address", hint))
    }

    /// An archive by its ending, otherwise the page of a hub.
    fn address(text: &str) -> Result<Self, InstallError> {
        let no = |hint: &str| InstallError::Source {
            source_text: without_credentials(text),
            expected: "address of a hub page or of a .tar, .tar.gz or .tgz archive",
            hint: hint.into(),
        };
        let address = text.split('#').next().unwrap_or(text);
        let uri: Uri = address.parse().map_err(|_| no("; it is not a valid address"))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(no("; it names no host"));
        }
        if [".tar", ".tar.gz", ".tgz"].iter().any(|ending| uri.path().ends_with(ending)) {
            return Ok(Self::Archive(text.into()));
        }
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let (id, revision) = match parts.as_slice() {
            [owner, name] => (format!("{owner}/{name}"), "main".to_owned()),
            [owner, name, "tree" | "blob" | "resolve", revision, ..] => {
                (format!("{owner}/{name}"), (*revision).to_owned())
            }
            _ => return Err(no("")),
        };
        if !is_repository(&id) || !is_revision(&revision) {
            return Err(no(""));
        }
        Ok(Self::Hub(HubId { id, revision }))
    }
}

/// Whether `id` is `organisation/name` in the characters that the hub allows.
fn is_repository(id: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    id.split_once('/').is_some_and(|(owner, name)| word(owner) && word(name))
}

/// Whether `revision` can be a branch, tag or commit, and stays inside the cache's `refs/` as a path.
fn is_revision(revision: &str) -> bool {
    revision.split('/').all(|part| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c))
    })
}

/// An address without what may be secret in it: user and password, query, fragment.
pub(crate) fn without_credentials(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(id: &str, revision: &str) -> Source {
        Source::Hub(HubId { id: id.into(), revision: revision.into() })
    }

    #[test]
    fn every_spelling_of_a_source() {
        let parse = |text: &str| Source::parse(text).unwrap();
        assert_eq!(parse("Xenova/clip-vit-base-patch32"), hub("Xenova/clip-vit-base-patch32", "main"));
        assert_eq!(parse("a/b@refs/pr/1"), hub("a/b", "refs/pr/1"));
        assert_eq!(parse("https://huggingface.co/a/b"), hub("a/b", "main"));
        assert_eq!(parse("https://huggingface.co/a/b/"), hub("a/b", "main"));
        assert_eq!(parse("https://huggingface.co/a/b/tree/v1"), hub("a/b", "v1"));
        assert_eq!(parse("https://huggingface.co/a/b/tree/v1/onnx"), hub("a/b", "v1"));
        let archive = "http://127.0.0.1:1/m.tar.gz?x=1#sha256=00";
        assert_eq!(parse(archive), Source::Archive(archive.into()));
        assert_eq!(parse("."), Source::Folder(".".into()));
    }

    #[test]
    fn what_is_no_source_says_what_would_be() {
        let error = |text: &str| Source::parse(text).unwrap_err().to_string();
        assert!(error("ViT-B-32__openai").contains("did you mean immich-app/ViT-B-32__openai?"));
        assert!(error("clip").contains("pictor model list"));
        assert!(error("./nowhere").contains("no directory"));
        for wrong in [
            "",
            "a/",
            "/b",
            "a/b/c",
            "a/..",
            "../b",
            "a/b@../../x",
            "a/b@",
            "a b/c",
            "https://",
            "https://h/a",
        ] {
            assert!(Source::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(!error("https://user:secret@h/a?token=secret").contains("secret"));
    }
}
