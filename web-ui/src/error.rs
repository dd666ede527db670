//! The single map from what went wrong to a status code and a JSON body, and why a server does not start.
//!
//! Every error answer is `{"error": {"code", "message"}}`: `code` is for programs and does not change, `message` is for people
//! and says what to do next.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use pictor_core::{DecodeError, ImageId};
use pictor_query::QueryError;
use pictor_storage::StorageError;
use thiserror::Error;

use crate::limits::{MAX_BODY_BYTES, MAX_IMAGE_BYTES, MAX_WAIT, THUMB_SIDES};
use crate::wire::ErrorBody;

/// Why the page is not served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}; choose another address, or port 0 for any free port")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Threads or the network failed at start or under way.
    #[error("the server stopped; start it again")]
    Io(#[from] std::io::Error),
}

/// Why a request has no other answer.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{0}; the fields are text, image, like, filter, mode, k, effort, explain, rerank, deadline_ms")]
    Json(JsonRejection),
    #[error("the request is over {} MiB; the limit for an image is {} MiB", MAX_BODY_BYTES >> 20, MAX_IMAGE_BYTES >> 20)]
    TooLarge,
    #[error("the image is not base64 ({0}); encode the file's bytes in the standard alphabet with padding")]
    Base64(#[from] base64::DecodeError),
    #[error("{0}; expected the number that a hit calls id")]
    Path(#[from] PathRejection),
    #[error("{0}")]
    Parameters(#[from] QueryRejection),
    #[error("side {0} is out of range; ask for {min} to {max} pixels", min = THUMB_SIDES.start(), max = THUMB_SIDES.end())]
    Side(u32),
    #[error("the index holds no image {0}; it may have been replaced since the search, so search again")]
    NoSuchImage(ImageId),
    #[error("{uri} is gone; it was moved or deleted since it was indexed, so run `pictor index` again")]
    Gone { uri: String },
    #[error("{uri} is no image any more; it was replaced since it was indexed, so run `pictor index` again")]
    NotAnImage { uri: String },
    #[error("{source}; check the permissions of the file")]
    Unreadable { source: std::io::Error },
    #[error("no preview: {0}")]
    Preview(#[from] DecodeError),
    #[error("nothing is served at this address; the page is at /")]
    NoRoute,
    #[error("this address does not take that method")]
    Method,
    #[error("the request is for another host; open this page as http://localhost or http://127.0.0.1")]
    ForeignHost,
    #[error("too many requests at once; try again in a moment")]
    Busy,
    #[error("no answer within {} seconds; the machine is overloaded, try again later", MAX_WAIT.as_secs())]
    Timeout,
    #[error("the server failed on this request; this is a bug, and the terminal it runs in says more")]
    Bug,
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            _ => Self::Json(rejection),
        }
    }
}

impl ApiError {
    /// Status and code: the one place where they are chosen.
    fn status(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Query(error) => match error {
                QueryError::EmptyQuery
                | QueryError::NeedsText(_)
                | QueryError::ImageInTextMode
                | QueryError::KOutOfRange(_)
                | QueryError::EffortOutOfRange(_)
                | QueryError::TextTooLong(_)
                | QueryError::UnknownMode(_)
                | QueryError::RerankNeedsText
                | QueryError::RerankOutOfRange(_)
                | QueryError::DeadlineWithoutRerank
                | QueryError::NoMatcher
                | QueryError::NoDirection(_) => (S::BAD_REQUEST, "bad_query"),
                QueryError::Filter(_) => (S::BAD_REQUEST, "bad_filter"),
                QueryError::UnknownImage(_) => (S::NOT_FOUND, "no_such_image"),
                QueryError::Decode(_) => (S::UNPROCESSABLE_ENTITY, "bad_image"),
                QueryError::Encode(_) => (S::INTERNAL_SERVER_ERROR, "model"),
                QueryError::Storage(_) | QueryError::MissingRecord(_) => (S::INTERNAL_SERVER_ERROR, "index"),
                _ => (S::INTERNAL_SERVER_ERROR, "bug"),
            },
            Self::Storage(_) => (S::INTERNAL_SERVER_ERROR, "index"),
            Self::Json(rejection) => match rejection.status() {
                S::UNSUPPORTED_MEDIA_TYPE => (S::UNSUPPORTED_MEDIA_TYPE, "not_json"),
                _ => (S::BAD_REQUEST, "bad_json"),
            },
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Base64(_) => (S::BAD_REQUEST, "bad_base64"),
            Self::Path(_) => (S::BAD_REQUEST, "bad_id"),
            Self::Parameters(_) | Self::Side(_) => (S::BAD_REQUEST, "bad_parameter"),
            Self::NoSuchImage(_) => (S::NOT_FOUND, "no_such_image"),
            Self::Gone { .. } => (S::NOT_FOUND, "file_gone"),
            Self::NotAnImage { .. } => (S::NOT_FOUND, "not_an_image"),
            Self::Unreadable { .. } => (S::INTERNAL_SERVER_ERROR, "file_unreadable"),
            Self::Preview(_) => (S::UNPROCESSABLE_ENTITY, "no_preview"),
            Self::NoRoute => (S::NOT_FOUND, "no_route"),
            Self::Method => (S::METHOD_NOT_ALLOWED, "method"),
            Self::ForeignHost => (S::FORBIDDEN, "foreign_host"),
            Self::Busy => (S::SERVICE_UNAVAILABLE, "busy"),
            Self::Timeout => (S::GATEWAY_TIMEOUT, "timeout"),
            Self::Bug => (S::INTERNAL_SERVER_ERROR, "bug"),
        }
    }

    /// The whole story in one line: an error and what caused it.
    fn message(&self) -> String {
        let mut message = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            let cause = error.to_string();
            // Transparent wrappers and messages that quote their source would say it twice.
            if !message.contains(&cause) {
                message = format!("{message}: {cause}");
            }
            source = error.source();
        }
        message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status();
        let mut response = (status, Json(ErrorBody::new(code, self.message()))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
