//! First half of the way: a file's bytes become a tensor, on many threads at once.

use std::any::Any;
use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender};
use pictor_core::{Attributes, ContentHash, Encoder, ImageId, ImageRecord, PreparedImage};
use pictor_storage::Skipped;

use super::encode::Outcome;
use crate::progress::Counters;
use crate::source::Asset;

/// A file that has to be read.
pub(super) struct Job {
    /// Place in the order of the source, from 0 without gaps.
    pub number: u64,
    pub asset: Asset,
    /// What the index has under this uri.
    pub known: Option<(ImageId, ImageRecord)>,
    /// What its record is to say.
    pub captions: Vec<String>,
    pub attributes: Attributes,
}

/// An image on its way to the model.
pub(super) struct Ready {
    pub record: ImageRecord,
    pub image: PreparedImage,
}

/// What a prepare thread works with.
#[derive(Clone, Copy)]
pub(super) struct Prepare<'a> {
    pub encoder: &'a dyn Encoder,
    /// Longest file that is read.
    pub max_file_bytes: u64,
    pub counters: &'a Counters,
    pub stop: &'a AtomicBool,
}

impl Prepare<'_> {
    /// Works until no job is left. Sends fail only when the other side has given up, which ends this thread too.
    pub fn run(
        &self,
        jobs: &Receiver<Job>,
        prepared: &Sender<(u64, Option<Ready>)>,
        outcomes: &Sender<Outcome>,
    ) {
        for job in jobs {
            let number = job.number;
            let result = if self.stop.load(Relaxed) {
                Err(Box::new(Outcome::Abandoned(1)))
            } else {
                self.prepare(job)
            };
            let (ready, outcome) = match result {
                Ok(ready) => (Some(ready), None),
                Err(outcome) => (None, Some(outcome)),
            };
            // An outcome that needs no model must not wait for a batch to fill: the window counts it until it is in.
            if outcome.is_some_and(|outcome| outcomes.send(*outcome).is_err())
                || prepared.send((number, ready)).is_err()
            {
                return;
            }
        }
    }

    /// An image for the model, or the outcome of a job that ends here.
    fn prepare(&self, job: Job) -> Result<Ready, Box<Outcome>> {
        let Job { asset, known, captions, attributes, .. } = job;
        let skipped = |reason: String| {
            let Asset { ref uri, bytes, modified_ns, .. } = asset;
            Box::new(Outcome::Skipped(Skipped { uri: uri.clone(), reason, bytes, modified_ns }))
        };

        let read = self.counters.read.time(|| {
            let bytes = read(&asset, self.max_file_bytes)?;
            let hash = ContentHash(*blake3::hash(&bytes).as_bytes());
            Ok::<_, io::Error>((bytes, hash))
        });
        let (bytes, content_hash) = read.map_err(|error| skipped(error.to_string()))?;
        self.counters.bytes.fetch_add(bytes.len() as u64, Relaxed);

        if let Some((id, record)) = known
            && record.content_hash == Some(content_hash)
        {
            let is_updated = (&record.captions, &record.attributes) != (&captions, &attributes);
            let (bytes, modified_ns) = (bytes.len() as u64, asset.modified_ns);
            let record = ImageRecord { bytes, modified_ns, captions, attributes, ..record };
            return Err(Box::new(Outcome::SameBytes { id, record, is_updated }));
        }

        let image = catch(|| self.encoder.prepare_image(&bytes))
            .map_err(|panic| skipped(format!("the decoder failed on it: {panic}")))?
            .map_err(|error| skipped(error.to_string()))?;
        let [decode, resize] = image.spent;
        self.counters.decode.add(decode);
        self.counters.resize.add(resize);
        let record = ImageRecord {
            uri: asset.uri,
            content_hash: Some(content_hash),
            bytes: bytes.len() as u64,
            modified_ns: asset.modified_ns,
            size: Some(image.original),
            captions,
            attributes,
        };
        Ok(Ready { record, image })
    }
}

/// The whole file, as long as it is not longer than it may be; it may have grown since it was found.
fn read(asset: &Asset, limit: u64) -> io::Result<Vec<u8>> {
    let too_long =
        |bytes: u64| Err(io::Error::other(format!("{bytes} bytes is over the limit of {limit} bytes")));
    if asset.bytes > limit {
        return too_long(asset.bytes);
    }
    let mut bytes = Vec::new();
    // std, not fs_err: the reason stands beside the path wherever it is shown.
    File::open(&asset.path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return too_long(bytes.len() as u64);
    }
    Ok(bytes)
}

/// Runs `work`; a panic becomes its message.
///
/// Decoders and runtimes are other people's code fed with anybody's bytes: a panic there concerns one image and must not cost the
/// job. Unwind safety: what the closure borrows are inputs that are dropped afterwards, and an encoder, which takes `&self` and
/// guards its own state.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic: Box<dyn Any + Send>| {
        let message = panic.downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        message.unwrap_or("panic without a message").to_owned()
    })
}
