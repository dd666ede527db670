//! What is at which address.
//!
//! | route | answer |
//! |---|---|
//! | `GET /`, `/app.js`, `/style.css`, `/icon.svg` | the page, embedded in the binary |
//! | `POST /api/search` | ranked hits for words, an image, or an indexed image's id |
//! | `GET /api/thumb/{id}?side=320` | a JPEG of an indexed image, upright, its longer side at most `side` pixels |
//! | `GET /api/image/{id}` | an indexed image's file as it is |
//! | `GET /api/info` | generation, number of images, model, matcher, runtime |
//! | `GET /api/metrics` | searches, rerankings and the cache of features since the start |
//!
//! Every handler is the same three steps: read the request, run the engine or the disk in a [`Lane`], answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use pictor_core::ImageId;
use pictor_query::{Engine, Metrics, SearchResponse};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Thumbnailer;
use crate::error::ApiError;
use crate::files::{self, ImageFile};
use crate::limits::{Lane, MAX_BODY_BYTES, MAX_WAIT, RERANK, THUMB_SIDES};
use crate::wire::{Info, MatcherInfo, SearchBody, ThumbQuery};

/// What the handlers share.
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) thumbnails: Thumbnailer,
    /// What runs the model, for people.
    pub(crate) runtime: String,
    /// When reranking stops.
    pub(crate) deadline: Option<Duration>,
    /// Whether requests for other hosts than this machine are refused.
    pub(crate) local_only: bool,
    pub(crate) searches: Lane,
    pub(crate) files: Lane,
    pub(crate) requests: Semaphore,
}

/// The page loads nothing from elsewhere and sends nothing elsewhere. `blob:` shows an image that was dropped in.
const PAGE_POLICY: &str = "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; \
form-action 'self'; frame-ancestors 'none'";

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(asset("text/html; charset=utf-8", include_str!("../app/index.html"))))
        .route("/app.js", get(asset("text/javascript; charset=utf-8", include_str!("../app/app.js"))))
        .route("/style.css", get(asset("text/css; charset=utf-8", include_str!("../app/style.css"))))
        .route("/icon.svg", get(asset("image/svg+xml", include_str!("../app/icon.svg"))))
        .route("/api/search", post(search))
        .route("/api/thumb/{id}", get(thumb))
        .route("/api/image/{id}", get(image))
        .route("/api/info", get(info))
        .route("/api/metrics", get(metrics))
        .fallback(async || ApiError::NoRoute)
        .method_not_allowed_fallback(async || ApiError::Method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&app), admit))
        .layer(from_fn(protect))
        .with_state(app)
}

async fn search(
    State(app): State<Arc<App>>,
    body: Result<Json<SearchBody>, JsonRejection>,
) -> Result<Json<SearchResponse>, ApiError> {
    let Json(body) = body?;
    let (engine, longest) = (Arc::clone(&app.engine), app.deadline);
    app.searches.run(move || Ok(Json(engine.search(&body.into_request(longest)?)?))).await?
}

async fn thumb(
    State(app): State<Arc<App>>,
    id: Result<Path<u64>, PathRejection>,
    query: Result<Query<ThumbQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (Path(id), Query(ThumbQuery { side })) = (id?, query?);
    if !THUMB_SIDES.contains(&side) {
        return Err(ApiError::Side(side));
    }
    let thumbnails = Arc::clone(&app.thumbnails);
    picture(app, id, headers, side.to_string(), move |bytes, _| Ok((thumbnails(&bytes, side)?, "image/jpeg")))
        .await
}

async fn image(
    State(app): State<Arc<App>>,
    id: Result<Path<u64>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(id) = id?;
    picture(app, id, headers, "file".into(), |bytes, media_type| Ok((bytes, media_type))).await
}

/// Bytes and their media type.
type Picture = (Vec<u8>, &'static str);

/// What `make` makes of an indexed image's file, unless the browser has it already. `what` tells it from other pictures of
/// the same file.
///
/// `no-cache` lets the browser keep the picture and ask each time whether it is still the one: the same id in another index
/// behind the same address is another picture.
async fn picture(
    app: Arc<App>,
    id: u64,
    headers: HeaderMap,
    what: String,
    make: impl FnOnce(Vec<u8>, &'static str) -> Result<Picture, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let shared = Arc::clone(&app);
    let answer = app.files.run(move || {
        let record = shared.engine.store().snapshot()?.record(ImageId(id))?;
        let record = record.ok_or(ApiError::NoSuchImage(ImageId(id)))?;
        let file = ImageFile::find(&record)?;
        let etag = file.etag(&what);
        let keep = [(CACHE_CONTROL, "private, no-cache"), (ETAG, &etag)];
        if files::is_fresh(&headers, &etag) {
            return Ok((StatusCode::NOT_MODIFIED, keep).into_response());
        }
        let (bytes, media_type) = file.read()?;
        let (bytes, media_type) = make(bytes, media_type)?;
        Ok((keep, [(CONTENT_TYPE, media_type)], bytes).into_response())
    });
    answer.await?
}

async fn info(State(app): State<Arc<App>>) -> Result<Json<Info>, ApiError> {
    let shared = Arc::clone(&app);
    let answer = app.files.run(move || {
        let snapshot = shared.engine.store().snapshot()?;
        Ok(Json(Info {
            generation: snapshot.generation(),
            images: snapshot.len(),
            model: snapshot.spec().clone(),
            matcher: shared.engine.reranker().map(|reranker| MatcherInfo {
                name: reranker.matcher().spec().name.clone(),
                rerank: RERANK,
                deadline_ms: shared.deadline.map(|deadline| deadline.as_millis() as u64),
            }),
            runtime: shared.runtime.clone(),
            version: env!("CARGO_PKG_VERSION"),
        }))
    });
    answer.await?
}

async fn metrics(State(app): State<Arc<App>>) -> Json<Metrics> {
    Json(app.engine.metrics())
}

/// One embedded file.
fn asset(media_type: &'static str, text: &'static str) -> impl IntoResponse + Clone + Send + Sync + 'static {
    ([(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-cache")], text)
}

/// Turns away what need not be looked at: on a loopback address requests for a foreign host name, bodies that announce
/// themselves as too large, and requests beyond `limits::MAX_REQUESTS`. What is admitted has [`MAX_WAIT`] from here to the
/// answer, a slow upload included.
///
/// The first is against DNS rebinding: a web site that points its own name at 127.0.0.1 may let its scripts read this
/// server's answers, but the browser still sends that name as the host.
async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.local_only && !names_this_machine(request.headers()) {
        return ApiError::ForeignHost.into_response();
    }
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > MAX_BODY_BYTES as u64) {
        return ApiError::TooLarge.into_response();
    }
    let Ok(_permit) = app.requests.try_acquire() else { return ApiError::Busy.into_response() };
    timeout(MAX_WAIT, next.run(request)).await.unwrap_or_else(|_| ApiError::Timeout.into_response())
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    host.is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// Headers that every answer carries.
async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers: [(HeaderName, &'static str); 4] = [
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // No other site may show these photographs in its pages.
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_this_machine_from_others() {
        let named = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            names_this_machine(&headers)
        };
        for host in ["localhost:7878", "LOCALHOST", "127.0.0.1:80", "127.1.2.3", "[::1]:7878"] {
            assert!(named(host), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example:7878", "192.168.1.2:7878", "127.0.0.1.evil.example", ""]
        {
            assert!(!named(host), "{host}");
        }
        assert!(!names_this_machine(&HeaderMap::new()));
    }
}
