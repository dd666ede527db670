//! The page and the JSON routes of `pictor serve`: the only home of HTTP, wire types and tokio.
//!
//! What lives here: [`serve`], which blocks until it is told to stop; the routes (`routes.rs`), what their JSON looks like
//! (`wire.rs`), the single map from errors to status codes (`error.rs`), how much is taken on at once (`limits.rs`), which
//! files may leave the disk (`files.rs`), and the page itself (`app/`: three files of plain HTML, CSS and JavaScript,
//! embedded in the binary, without a build step and without anything loaded from elsewhere).
//!
//! What must stay true: the engine is synchronous and knows nothing of this crate; only files that the index records leave
//! the disk; every error is JSON; nothing grows without a bound, neither bodies nor queues nor waiting times.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use pictor_core::DecodeError;
use pictor_query::Engine;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

mod error;
mod files;
mod limits;
mod routes;
mod wire;

pub use error::ServeError;

use limits::{Lane, MAX_GOODBYE, MAX_REQUESTS};
use routes::App;

/// Makes a JPEG whose longer side is at most so many pixels from an image file's bytes, upright.
pub type Thumbnailer = Arc<dyn Fn(&[u8], u32) -> Result<Vec<u8>, DecodeError> + Send + Sync>;

/// When reranking stops unless said otherwise: as long as people wait for a better order.
pub const RERANK_DEADLINE: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes any free port. On a loopback address only requests for `localhost` or a loopback
    /// address are answered. There is no password: on any other address, whoever can reach it can see the photographs.
    pub addr: SocketAddr,
    /// What runs the model, shown on the page: name and version, such as `tract 0.23`.
    pub runtime: String,
    /// When every reranking stops, from the start of a search; a request may ask for less. Well below the 30 seconds that a
    /// request may take in all.
    pub deadline: Option<Duration>,
}

impl Default for ServeOptions {
    /// Port 7878 of this machine alone, and [`RERANK_DEADLINE`].
    fn default() -> Self {
        Self {
            addr: (Ipv4Addr::LOCALHOST, 7878).into(),
            runtime: String::new(),
            deadline: Some(RERANK_DEADLINE),
        }
    }
}

/// Tells a server to stop, from any thread or a signal handler's thread. Clones stop the same server.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// A server that was given this goes on until [`Shutdown::request`].
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Asks the server to stop; asking again, or before it started, is fine.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    async fn requested(&self) {
        // The sender is `self`, so the channel does not close while this waits.
        let _ = self.0.subscribe().wait_for(|&stop| stop).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// Serves the page and the routes until `shutdown`, then lets requests under way finish (5 seconds at most).
///
/// `on_ready` is called once with the address that is listened on, which tells the port when port 0 was asked for.
///
/// # Errors
/// [`ServeError`] when the address cannot be listened on or the system fails.
pub fn serve(
    engine: Arc<Engine>,
    thumbnails: Thumbnailer,
    options: ServeOptions,
    on_ready: impl FnOnce(SocketAddr),
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    let cores = available_parallelism().map_or(1, usize::from);
    let app = Arc::new(App {
        engine,
        thumbnails,
        runtime: options.runtime,
        deadline: options.deadline,
        local_only: options.addr.ip().is_loopback(),
        searches: Lane::new(cores),
        files: Lane::new(cores),
        requests: Semaphore::new(MAX_REQUESTS),
    });
    // Two threads shovel bytes; the work is done on blocking threads, as many as the lanes are wide.
    let runtime =
        Builder::new_multi_thread().worker_threads(2).thread_name("pictor-http").enable_all().build()?;
    let result = runtime.block_on(async {
        let listener = TcpListener::bind(options.addr)
            .await
            .map_err(|source| ServeError::Bind { addr: options.addr, source })?;
        on_ready(listener.local_addr()?);
        let stop = shutdown.clone();
        let server = axum::serve(listener, routes::router(app))
            .with_graceful_shutdown(async move { stop.requested().await });
        tokio::select! {
            result = server => Ok(result?),
            () = async { shutdown.requested().await; sleep(MAX_GOODBYE).await } => Ok(()),
        }
    });
    // Work that nobody waits for any more is not waited for here either.
    runtime.shutdown_background();
    result
}
