//! How much one server takes on at once, and for how long.
//!
//! The engine is synchronous and busy with the CPU, so work goes to blocking threads through a [`Lane`]: a few run, others
//! wait in line without a thread. Searches and files have a lane each, so that a page full
//! of thumbnails does not stand before the next search.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::error::ApiError;

/// Largest image to search by, in bytes. A 50-megapixel JPEG of a phone stays below it.
pub(crate) const MAX_IMAGE_BYTES: usize = 16 << 20;
/// Largest request body: such an image in base64 (4 characters for 3 bytes), and room for the other fields.
pub(crate) const MAX_BODY_BYTES: usize = MAX_IMAGE_BYTES.div_ceil(3) * 4 + (64 << 10);
/// Largest image file that is read to be shown, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 512 << 20;
/// Requests being answered at once, waiting ones included. With the body limit it bounds memory: 64 × 21 MiB.
pub(crate) const MAX_REQUESTS: usize = 64;
/// Shortest and longest side that a thumbnail may be asked for, in pixels.
pub(crate) const THUMB_SIDES: std::ops::RangeInclusive<u32> = 32..=1024;
/// Thumbnail side when the request names none, in pixels.
pub(crate) const THUMB_SIDE: u32 = 320;
/// Hits when the request names no `k`.
pub(crate) const DEFAULT_K: usize = 20;
/// Candidates that the page has reranked: BLIP's `k_test` on Flickr30k.
pub(crate) const RERANK: usize = 128;
/// Longest time from request to answer. Encoding a query takes well under a second; a cold model a few.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long a stopping server waits for requests under way.
pub(crate) const MAX_GOODBYE: Duration = Duration::from_secs(5);

/// Blocking work, at most `width` at a time.
pub(crate) struct Lane(Arc<Semaphore>);

impl Lane {
    /// A lane of `width` threads, at least one.
    pub(crate) fn new(width: usize) -> Self {
        Self(Arc::new(Semaphore::new(width.max(1))))
    }

    /// Runs `work` on a blocking thread once one is free. A client that goes away, or a request whose time is up, takes its work
    /// out of the line; work that was begun runs to its end and keeps its place in the lane until then.
    ///
    /// # Errors
    /// [`ApiError::Bug`] when `work` panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(|_| ApiError::Bug)?;
        let task = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        task.await.map_err(|_| ApiError::Bug)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_lane_is_as_wide_as_it_says_and_outlives_a_panic() {
        let lane = Arc::new(Lane::new(2));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let (lane, now, most) = (Arc::clone(&lane), Arc::clone(&now), Arc::clone(&most));
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                        now.fetch_sub(1, Ordering::SeqCst);
                        number
                    };
                    lane.run(work).await.unwrap()
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), number);
        }
        assert!(most.load(Ordering::SeqCst) <= 2);

        let failed = lane.run(|| panic!("on purpose")).await;
        assert!(matches!(failed, Err::<(), _>(ApiError::Bug)));
        assert_eq!(lane.run(|| 7).await.unwrap(), 7, "its place is free again");
    }
}
