//! Why a model was not installed, listed or removed, by what can be done about it.

use std::path::PathBuf;

use thiserror::Error;

use crate::error::ModelError;

/// Why a model was not installed or removed. Unless a message says otherwise, what was installed before still is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The source is nothing that can be added.
    #[error("'{source_text}' is no {expected}{hint}")]
    Source {
        /// What was given.
        source_text: String,
        /// What it would have to be.
        expected: &'static str,
        /// What was probably meant; empty, or with its own separator.
        hint: String,
    },
    /// A name that is not one plain directory name.
    #[error(
        "'{name}' cannot name a model: use letters, digits, '.', '_' and '-', do not start with '.', and leave '{bundled}' \
         to the bundled one; give another with --name"
    )]
    Name {
        /// What was given.
        name: String,
        /// The bundled model's name.
        bundled: &'static str,
    },
    /// A model of that name is there.
    #[error("'{name}' is installed already ({path}); --force replaces it, --name installs beside it", path = path.display())]
    Exists {
        /// Its name.
        name: String,
        /// Its folder.
        path: PathBuf,
    },
    /// No directory of the search path can be written to.
    #[error(
        "no directory of the model search path can be written to{tried}; set PICTOR_MODELS to one that can"
    )]
    NoPlace {
        /// `: DIRECTORY: REASON; …`, or nothing when the path is empty.
        tried: String,
    },
    /// No such installed model.
    #[error("no installed model '{name}'{searched}; `pictor model list` shows what there is")]
    NotInstalled {
        /// What was asked for.
        name: String,
        /// `, looked in DIRECTORY, …`, or nothing.
        searched: String,
    },
    /// A model that is not for `remove` to delete.
    #[error("'{name}' {reason}")]
    NotOurs {
        /// Its name.
        name: String,
        /// Why not, and what to do instead.
        reason: String,
    },
    /// The source lacks what a model needs.
    #[error("{origin}: {reason}")]
    Incomplete {
        /// Where from.
        origin: String,
        /// What is missing, and what would supply it.
        reason: String,
    },
    /// Everything arrived, and it does not open as a model.
    #[error("{origin} does not open as a model, so nothing was installed: {reason}")]
    Unusable {
        /// Where from.
        origin: String,
        /// [`ModelError`]'s words, paths relative to the model's folder.
        reason: String,
    },
    /// The address, or a variable that makes it up, is malformed.
    #[error("{what} '{value}' is not usable: {reason}")]
    Setting {
        /// `HF_ENDPOINT`, `HF_TOKEN`, `the address`.
        what: &'static str,
        /// Its value; never a secret.
        value: String,
        /// What is wrong, and what it should be.
        reason: String,
    },
    /// The endpoint does not show such a repository.
    #[error(
        "{endpoint} has no model '{id}' for everyone to see (HTTP {status}); check the spelling (organisation/name, as on its \
         page), or set HF_TOKEN to a token that may read it if it is private"
    )]
    NoRepository {
        /// The hub.
        endpoint: String,
        /// The repository.
        id: String,
        /// 401 or 404: the hub gives either, so as not to tell what exists.
        status: u16,
    },
    /// The repository has no such branch, tag or commit.
    #[error(
        "{id} has no revision '{revision}'; see {endpoint}/{id}/tree/main for its branches and tags, or leave @{revision} out"
    )]
    NoRevision {
        /// The hub.
        endpoint: String,
        /// The repository.
        id: String,
        /// What was asked for.
        revision: String,
    },
    /// The repository is gated.
    #[error(
        "{id} is gated (HTTP {status}): accept its conditions on {endpoint}/{id}, and set HF_TOKEN to a token that may read it \
         ({sent})"
    )]
    Gated {
        /// The hub.
        endpoint: String,
        /// The repository.
        id: String,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent this time.
        sent: &'static str,
    },
    /// A file that the repository lists is not served, or an address leads nowhere.
    #[error(
        "{url} is not there (HTTP {status}); check the address, or try again later if the repository was just changed"
    )]
    NoFile {
        /// The address, without credentials.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// Any other refusal.
    #[error("{url} answered HTTP {status}{after}; {advice}")]
    Status {
        /// The address, without credentials.
        url: String,
        /// The status code.
        status: u16,
        /// ` after N attempts`, or nothing.
        after: String,
        /// What to do.
        advice: &'static str,
    },
    /// No answer at all.
    #[error(
        "cannot reach {url}: {reason}; check the network and, if set, HF_ENDPOINT and HTTPS_PROXY, or copy the model's folder \
         from a machine that has it and add that"
    )]
    Unreachable {
        /// The address, without credentials.
        url: String,
        /// The transport's words.
        reason: String,
    },
    /// An answer that is not what the hub's protocol says.
    #[error("{url}: {reason}")]
    Protocol {
        /// The address, without credentials.
        url: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A download stopped half way, and trying again at once did not help.
    #[error(
        "the download of {file} stopped after {received} of {size} bytes: {reason}; run the same command again, it goes on from there"
    )]
    Interrupted {
        /// The file.
        file: String,
        /// Bytes that are kept.
        received: u64,
        /// Bytes that there are, or `?`.
        size: String,
        /// Why.
        reason: String,
    },
    /// The bytes are not the ones that the source states.
    #[error(
        "{file} arrived damaged: its {algorithm} is {received} and should be {stated}; the copy was deleted, so run the same \
         command again"
    )]
    Checksum {
        /// The file.
        file: String,
        /// `SHA-256` or `git SHA-1`.
        algorithm: &'static str,
        /// What the source says.
        stated: String,
        /// What the bytes give.
        received: String,
    },
    /// Offline, and the cache does not hold it.
    #[error(
        "HF_HUB_OFFLINE is set and the cache ({cache}) does not hold {what}; unset it once to download, or copy the cache or \
         the model's folder from a machine that has it",
        cache = cache.display()
    )]
    Offline {
        /// What is not there.
        what: String,
        /// The cache directory.
        cache: PathBuf,
    },
    /// Someone else is downloading the same file.
    #[error("another process is downloading {file} (it holds {lock}); wait for it, then run the same command again", lock = lock.display())]
    Busy {
        /// The file.
        file: String,
        /// The lock file.
        lock: PathBuf,
    },
    /// It would not fit.
    #[error("{needed} are needed in {directory} and {free} are free; make room, or point {variable} at another disk", directory = directory.display())]
    NoSpace {
        /// Where.
        directory: PathBuf,
        /// Bytes needed, for people.
        needed: String,
        /// Bytes free, for people.
        free: String,
        /// The variable that moves the directory.
        variable: &'static str,
    },
    /// An archive that is not one, or that reaches outside its folder.
    #[error("{url}: {reason}")]
    Archive {
        /// Where from.
        url: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file cannot be read or written; the message names it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The model cannot be described.
    #[error(transparent)]
    Model(#[from] ModelError),
}
