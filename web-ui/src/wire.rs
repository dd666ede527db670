//! What the JSON looks like.
//!
//! The answer to a search is [`pictor_query::SearchResponse`] as it stands: the command line prints the same. Only what HTTP
//! adds is here.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pictor_core::{EncoderSpec, Generation, ImageId};
use pictor_query::{Mode, SearchRequest};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::limits::{DEFAULT_K, THUMB_SIDE};

/// Body of `POST /api/search`. At least one of `text`, `image` and `like` is needed; unknown fields are refused, so that a
/// misspelt one is not ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody {
    /// Words to search by.
    text: Option<String>,
    /// An image file's bytes in base64 (standard alphabet, padded) to search by.
    image: Option<String>,
    /// Id of an indexed image to search by.
    like: Option<ImageId>,
    /// Which images may be found, such as `camera:canon AND width:>=1000`; the grammar is in the README.
    filter: Option<String>,
    /// `vector` (by meaning; the default), `text` (captions and file names) or `hybrid`.
    #[serde(default)]
    mode: Mode,
    /// Hits wanted.
    #[serde(default = "default_k")]
    k: usize,
    /// Search effort of an approximate index; `null` for its default.
    effort: Option<usize>,
    /// Whether hits say how their score came about.
    #[serde(default)]
    explain: bool,
    /// How many of the best candidates a matcher orders anew by `text`; absent or `null` for none. `GET /api/info` says whether there is
    /// a matcher.
    rerank: Option<usize>,
    /// When reranking stops, in milliseconds from the start of the search; the server's own deadline holds if it is earlier.
    deadline_ms: Option<u64>,
}

fn default_k() -> usize {
    DEFAULT_K
}

impl SearchBody {
    /// The request that the engine takes, which reranks for `longest` at most; the engine checks the limits.
    ///
    /// # Errors
    /// [`ApiError::Base64`].
    pub(crate) fn into_request(self, longest: Option<Duration>) -> Result<SearchRequest, ApiError> {
        let Self { text, image, like, filter, mode, k, effort, explain, rerank, deadline_ms } = self;
        let image = image.map(|image| BASE64_STANDARD.decode(image)).transpose()?;
        let asked = deadline_ms.map(Duration::from_millis);
        let deadline = [asked, longest.filter(|_| rerank.is_some())].into_iter().flatten().min();
        Ok(SearchRequest { text, image, like, filter, mode, k, effort, explain, rerank, deadline })
    }
}

/// Query string of `GET /api/thumb/{id}`.
#[derive(Debug, Deserialize)]
pub(crate) struct ThumbQuery {
    /// Longest side in pixels.
    #[serde(default = "default_side")]
    pub(crate) side: u32,
}

fn default_side() -> u32 {
    THUMB_SIDE
}

/// Answer of `GET /api/info`.
#[derive(Debug, Serialize)]
pub(crate) struct Info {
    /// Generation of the newest commit.
    pub(crate) generation: Generation,
    /// Images that a search ranks.
    pub(crate) images: usize,
    /// The model that the index was made with.
    pub(crate) model: EncoderSpec,
    /// What reranks; `null` when nothing does.
    pub(crate) matcher: Option<MatcherInfo>,
    /// What runs the model, for people.
    pub(crate) runtime: String,
    /// Version of Pictor.
    pub(crate) version: &'static str,
}

/// What reranks, and how far it goes.
#[derive(Debug, Serialize)]
pub(crate) struct MatcherInfo {
    /// The matcher's name.
    pub(crate) name: String,
    /// Candidates that the page asks for.
    pub(crate) rerank: usize,
    /// When every reranking stops, in milliseconds from the start of a search; `null` when nothing stops it.
    pub(crate) deadline_ms: Option<u64>,
}

/// Every answer that is an error.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Serialize)]
struct ErrorDetail {
    code: &'static str,
    message: String,
}

impl ErrorBody {
    pub(crate) fn new(code: &'static str, message: String) -> Self {
        Self { error: ErrorDetail { code, message } }
    }
}
