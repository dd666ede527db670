//! Tests that need a disk that fails at a chosen operation. Everything that can be shown from outside is in `tests/storage/`.

use std::path::Path;
use std::sync::Arc;

use pictor_core::testing::HashEncoder;
use pictor_core::{Attributes, ContentHash, Encoder, ImageRecord, RasterSize};

use crate::directory::fault::FaultDirectory;
use crate::layout::Layout;
use crate::{KindChoice, StorageError, Store, Writer};

/// A record of an image at `uri` without captions.
pub(crate) fn record(uri: &str) -> ImageRecord {
    ImageRecord {
        uri: uri.into(),
        content_hash: Some(ContentHash([7; 32])),
        bytes: 1,
        modified_ns: Some(-1),
        size: Some(RasterSize { width: 4, height: 3 }),
        captions: vec![],
        attributes: Attributes::new(),
    }
}

fn put(writer: &mut Writer, uri: &str) -> Result<(), StorageError> {
    writer.put(record(uri), &HashEncoder::new(4).vector(uri.as_bytes())).map(|_| ())
}

fn uris(dir: &Path) -> Vec<String> {
    let snapshot = Store::open(dir).unwrap().snapshot().unwrap();
    snapshot.verify().unwrap();
    snapshot.records().map(|entry| entry.unwrap().1.uri).collect()
}

type Round = fn(&mut Writer) -> Result<(), StorageError>;

/// Three commits, and what the index shows after each: a new segment; a list of deleted rows; more of them, so that a merge
/// is due.
const ROUNDS: [(Round, &[&str]); 3] = [
    (|writer| ["a", "b", "c", "d"].iter().try_for_each(|uri| put(writer, uri)), &["a", "b", "c", "d"]),
    (|writer| put(writer, "a"), &["b", "c", "d", "a"]),
    (|writer| put(writer, "b"), &["c", "d", "a", "b"]),
];

/// Whether the writer accepts more after `outcome`, which an injected failure has made what it is: it does after a merge that
/// failed, whose work is then done again, and says why when it does not.
fn goes_on<T>(writer: &mut Writer, outcome: Result<T, StorageError>, failed_merges: &mut usize) -> bool {
    match outcome {
        Ok(_) => true,
        Err(StorageError::Merge { .. }) => {
            *failed_merges += 1;
            writer.finish().unwrap();
            true
        }
        Err(_) => {
            assert!(matches!(put(writer, "z"), Err(StorageError::Poisoned { .. })));
            let said = writer.commit().unwrap_err().to_string();
            assert!(said.contains("injected failure of"), "{said}");
            false
        }
    }
}

/// What a run of the rounds showed.
#[derive(Debug, Default)]
struct Seen {
    /// Whether the operation was ever come to.
    failed: bool,
    committed: usize,
    /// Whether the commit that failed is there all the same: renamed, and only the name's fsync failed.
    half_done: bool,
    failed_merges: usize,
}

/// The rounds and a compaction, with a failure of operation `n`; what is true afterwards.
fn run_failing_at(n: usize) -> Seen {
    let dir = tempfile::tempdir().unwrap();
    Store::create(dir.path(), HashEncoder::new(4).spec(), KindChoice::Auto).unwrap();
    let fault = FaultDirectory::failing_at(n);
    let store = Store::open_in(Layout::with(dir.path(), Arc::new(fault.clone()))).unwrap();

    let mut seen = Seen::default();
    let mut writer = store.writer().unwrap();
    let well = ROUNDS.iter().all(|(round, _)| {
        round(&mut writer).unwrap();
        let outcome = writer.commit();
        goes_on(&mut writer, outcome, &mut seen.failed_merges) && {
            seen.committed += 1;
            // Waits for the merge, so that operations come in the same order each time.
            let outcome = writer.finish();
            goes_on(&mut writer, outcome, &mut seen.failed_merges)
        }
    });
    if well {
        let outcome = writer.compact();
        goes_on(&mut writer, outcome, &mut seen.failed_merges);
    }
    drop(writer);
    let shown = |commits: usize| commits.checked_sub(1).map_or(&[][..], |last| ROUNDS[last].1);
    let now = uris(dir.path());
    seen.half_done = seen.committed < ROUNDS.len() && now == shown(seen.committed + 1);
    assert!(now == shown(seen.committed) || seen.half_done, "after a failure at operation {n}: {now:?}");

    // A new writer recovers and goes on, on the same disk, which works again.
    let mut writer = Store::open(dir.path()).unwrap().writer().unwrap();
    put(&mut writer, "later").unwrap();
    writer.commit().unwrap();
    assert_eq!(uris(dir.path()), [now, vec!["later".into()]].concat());
    seen.failed = fault.has_failed();
    seen
}

/// I7, at every operation on our own files that these commits, the merge and a compaction make: the call says no, the writer
/// accepts nothing more unless it was the merge alone that failed, and the index is what the last commit made it.
#[test]
fn a_failure_at_any_operation_costs_nothing() {
    /// Threads that share the work: it waits for the disk most of the time.
    const PARTS: usize = 4;
    let part = |first: usize| {
        let runs = (first..).step_by(PARTS).map(run_failing_at);
        let mut failed = vec![];
        for seen in runs {
            if !seen.failed {
                assert_eq!(seen.committed, ROUNDS.len());
                break;
            }
            failed.push(seen);
        }
        failed
    };
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..PARTS).map(|first| scope.spawn(move || part(first))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(seen.len() > 60, "only {} operations were seen to fail", seen.len());
    assert_eq!(seen.iter().filter(|seen| seen.half_done).count(), ROUNDS.len());
    let failed_merges: usize = seen.iter().map(|seen| seen.failed_merges).sum();
    assert!(failed_merges > 10, "only {failed_merges} merges were seen to fail");
}
