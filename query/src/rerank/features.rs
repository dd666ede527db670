//! The features of candidates' images: from the cache, or from the files.
//!
//! An entry is looked for by the hash that the record has, so a hit reads no file. What is made from a file is kept under the hash of the
//! bytes that were read: a file that was replaced since it was indexed is scored as it is now, or, while features of its old bytes are
//! in the cache, as it was when its vector was made; and never gives its features to another image.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use pictor_core::{ContentHash, EncodeError, ImageFeatures, ImageRecord, PreparedImage};
use pictor_storage::{content_hash, round_features};

use super::Reranker;

/// Longest image file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// What came of looking for the features of some images.
pub(super) struct Looked {
    /// In the order of the records; why there are none where there are none.
    pub features: Vec<Result<ImageFeatures, String>>,
    /// How many came from the cache.
    pub cache_hits: usize,
    /// Why the first that could not be kept in the cache was not.
    pub unkept: Option<String>,
}

/// What a file came to.
enum Opened {
    Kept(ImageFeatures),
    Prepared(ContentHash, PreparedImage),
    Unreadable(String),
}

impl Reranker {
    /// Whether the features of a record's image can be had without reading its file.
    pub(super) fn is_cached(&self, record: &ImageRecord) -> bool {
        self.cache.as_ref().zip(record.content_hash).is_some_and(|(cache, hash)| cache.holds(hash))
    }

    /// The features of the images of `records`, at most a batch of them.
    ///
    /// # Errors
    /// [`EncodeError`] when the matcher fails; a file that cannot be read is no error.
    pub(super) fn look(&self, records: &[ImageRecord]) -> Result<Looked, EncodeError> {
        let kept = |record: &ImageRecord| self.cache.as_ref()?.get(record.content_hash?);
        let mut features: Vec<Option<Result<ImageFeatures, String>>> =
            records.iter().map(|record| kept(record).map(Ok)).collect();
        let absent: Vec<usize> = (0..records.len()).filter(|&i| features[i].is_none()).collect();
        let mut cache_hits = records.len() - absent.len();

        let (mut made, mut images) = (Vec::new(), Vec::new());
        for (&i, opened) in
            absent.iter().zip(side_by_side(absent.len(), |at| self.open(&records[absent[at]])))
        {
            match opened {
                Opened::Kept(kept) => {
                    features[i] = Some(Ok(kept));
                    cache_hits += 1;
                }
                Opened::Unreadable(reason) => features[i] = Some(Err(reason)),
                Opened::Prepared(hash, image) => {
                    made.push((i, hash));
                    images.push(image);
                }
            }
        }
        let encoded = if images.is_empty() { Vec::new() } else { self.matcher.encode_images(&images)? };
        if encoded.len() != images.len() {
            return Err(super::miscounted(images.len(), encoded.len()));
        }
        let mut unkept = None;
        for ((i, hash), mut image) in made.into_iter().zip(encoded) {
            round_features(&mut image);
            if let Some(Err(error)) = self.cache.as_ref().map(|cache| cache.put(hash, &image)) {
                unkept.get_or_insert(error.to_string());
            }
            features[i] = Some(Ok(image));
        }
        let features = features.into_iter().flatten().collect();
        Ok(Looked { features, cache_hits, unkept })
    }

    /// Reads the file of a record and prepares its image, unless what is in the file now has features already.
    fn open(&self, record: &ImageRecord) -> Opened {
        let opened = || {
            let bytes = read(&record.uri).map_err(|error| error.to_string())?;
            let hash = content_hash(&bytes);
            if record.content_hash != Some(hash)
                && let Some(kept) = self.cache.as_ref().and_then(|cache| cache.get(hash))
            {
                return Ok(Opened::Kept(kept));
            }
            let image = self.matcher.prepare_image(&bytes).map_err(|error| error.to_string())?;
            Ok(Opened::Prepared(hash, image))
        };
        opened().unwrap_or_else(|reason: String| Opened::Unreadable(format!("{}: {reason}", record.uri)))
    }
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    // A pipe or a device in place of the file would be read for ever.
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(MAX_FILE_BYTES) as usize);
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is longer than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    Ok(bytes)
}

/// `work` of each number below `count`, in order, on as many threads as there are cores.
fn side_by_side<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = available_parallelism().map_or(1, usize::from).min(count);
    if threads < 2 {
        return (0..count).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let own = || {
        let numbers =
            std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&n| n < count));
        numbers.map(|number| (number, work(number))).collect::<Vec<_>>()
    };
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(own)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Vec<_>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().flat_map(join).collect()
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, value)| value).collect()
}
