//! What the JSON looks like.
//!
//! The answer to a search is [`pictor_query::SearchResponse`] as it stands: the command line prints the same. Only what HTTP
//! adds is here.

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
}

fn default_k() -> usize {
    DEFAULT_K
}

impl SearchBody {
    /// The request that the engine takes; it checks the limits.
    ///
    /// # Errors
    /// [`ApiError::Base64`].
    pub(crate) fn into_request(self) -> Result<SearchRequest, ApiError> {
        let Self { text, image, like, filter, mode, k, effort, explain } = self;
        let image = image.map(|image| BASE64_STANDARD.decode(image)).transpose()?;
        Ok(SearchRequest { text, image, like, filter, mode, k, effort, explain })
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
    /// What runs the model, for people.
    pub(crate) runtime: String,
    /// Version of Pictor.
    pub(crate) version: &'static str,
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
