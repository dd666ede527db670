//! A merge at work: a thread that copies the live rows of some segments into a new one and builds its nearest-neighbour index.
//!
//! It reads only what never changes (I2) and writes only into a directory that nothing names yet, so the writer goes on
//! meanwhile and a merge that fails or is cut short costs nothing but its work. `commit::swap` puts its result in place.
//!
//! What must stay true: the thread is gone before the writer's lock is, so nobody writes below an index they do not hold. Its
//! memory does not grow with the rows (they go from one mapped file to another), except for what building the index takes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use pictor_ann::Dtype;
use pictor_core::ImageId;

use crate::StorageError;
use crate::commit::write_rows;
use crate::failpoint::{self, Point};
use crate::kind_choice::KindChoice;
use crate::layout::Layout;
use crate::segment::{self, Segment};

/// A merge that has been started. Dropping it stops the thread at its next step, waits for it, and deletes what it wrote.
pub(crate) struct Merging {
    layout: Layout,
    /// The new segment's name.
    name: String,
    /// As they were when the merge began.
    sources: Vec<Segment>,
    cancel: Arc<AtomicBool>,
    /// A thread that could not be started is a merge that failed. `None` once joined.
    thread: Option<io::Result<JoinHandle<Outcome>>>,
}

/// The new segment; none when no row of the sources was live.
type Outcome = Result<Option<Segment>, StorageError>;

/// A merge that is done and not yet in place.
pub(crate) struct Merged {
    /// What it replaces, with the deleted rows it left out.
    pub(crate) sources: Vec<Segment>,
    /// The live rows of the sources, by ascending id; none when there were none.
    pub(crate) segment: Option<Segment>,
}

impl Merging {
    /// Starts to merge `sources`, whose vectors are of `shape` (components, and how they are written), into a segment called `name`.
    pub(crate) fn start(
        layout: &Layout,
        kind: &KindChoice,
        shape: (usize, Dtype),
        name: String,
        sources: Vec<Segment>,
    ) -> Self {
        let cancel = Arc::new(AtomicBool::new(false));
        let work = {
            let (layout, kind, name) = (layout.clone(), kind.clone(), name.clone());
            let (sources, cancel) = (sources.clone(), cancel.clone());
            move || merge(&layout, &kind, shape, name, &sources, &cancel)
        };
        let thread = Some(std::thread::Builder::new().name("pictor-merge".into()).spawn(work));
        Self { layout: layout.clone(), name, sources, cancel, thread }
    }

    /// The name of the directory it writes, which no manifest names yet.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether [`finish`](Self::finish) would return at once.
    pub(crate) fn is_finished(&self) -> bool {
        match &self.thread {
            Some(Ok(thread)) => thread.is_finished(),
            _ => true,
        }
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// What made the merge fail. Nothing of it is left on disk then, unless that cannot be deleted either.
    pub(crate) fn finish(mut self) -> Result<Merged, StorageError> {
        match self.join() {
            Ok(segment) => Ok(Merged { sources: std::mem::take(&mut self.sources), segment }),
            Err(error) => {
                self.delete();
                Err(error)
            }
        }
    }

    fn join(&mut self) -> Outcome {
        match self.thread.take() {
            Some(Ok(thread)) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Some(Err(error)) => Err(error.into()),
            None => Ok(None),
        }
    }

    /// What is left goes when the next writer opens, which reports a failure.
    fn delete(&self) {
        let _ = self.layout.directory().delete(&self.layout.segment(&self.name));
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
        if let Some(Ok(thread)) = self.thread.take() {
            // Its failure, or its panic, has no one left to be told to: the merge is given up.
            let _ = thread.join();
            self.delete();
        }
    }
}

fn merge(
    layout: &Layout,
    kind: &KindChoice,
    shape: (usize, Dtype),
    name: String,
    sources: &[Segment],
    cancel: &AtomicBool,
) -> Outcome {
    let count = sources.iter().map(Segment::live).sum();
    if count == 0 {
        return Ok(None);
    }
    let rows = write_rows(layout, &name, shape, count, live_rows(sources))?;
    failpoint::reach(Point::MergeRows);
    // Copying is as fast as the disk; what follows can take minutes.
    if cancel.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let kind = segment::build_neighbors(layout.directory(), &layout.segment(&name), kind, &rows)?;
    failpoint::reach(Point::MergeAnn);
    Ok(Some(Segment::fresh(name, kind, rows)))
}

/// The live rows of all `sources`, by ascending id.
fn live_rows(sources: &[Segment]) -> impl Iterator<Item = Result<(ImageId, Vec<f32>), StorageError>> {
    let mut heads: Vec<_> = sources.iter().map(|segment| (segment, segment.live_rows().peekable())).collect();
    std::iter::from_fn(move || {
        // There are at most a few dozen segments, so looking at each is as good as a heap.
        let next = heads.iter_mut().filter_map(|(segment, rows)| Some((*rows.peek()?, segment, rows)));
        let ((id, row), segment, rows) = next.min_by_key(|((id, _), ..)| *id)?;
        rows.next();
        Some(segment.rows.vector(row).map(|vector| (id, vector)))
    })
}
