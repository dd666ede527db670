//! Random histories of puts, deletions, updates, commits, merges, compactions, searches and reopenings, against a `BTreeMap`
//! that is obviously right.

use std::collections::BTreeMap;

use pictor_core::{ImageId, ImageRecord};
use pictor_storage::{Snapshot, Store};
use proptest::prelude::*;

use crate::{check_consistent, naive_best, new_store, record, vector};

#[derive(Clone, Debug)]
enum Step {
    /// An image at uri `.0` with content `.1`.
    Put(u8, u8),
    Delete(u8),
    /// A new caption for the image at uri `.0`.
    Update(u8, u8),
    Commit,
    /// Commit, and wait for the merges.
    Finish,
    Compact,
    /// The best `.1` of the last commit for query `.0`.
    Search(u8, usize),
    /// Forget what is not committed.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let uri = 0_u8..12;
    prop_oneof![
        6 => (uri.clone(), any::<u8>()).prop_map(|(uri, content)| Step::Put(uri, content)),
        3 => uri.clone().prop_map(Step::Delete),
        2 => (uri, any::<u8>()).prop_map(|(uri, caption)| Step::Update(uri, caption)),
        6 => Just(Step::Commit),
        1 => Just(Step::Finish),
        1 => Just(Step::Compact),
        2 => (any::<u8>(), 0_usize..20).prop_map(|(query, k)| Step::Search(query, k)),
        1 => Just(Step::Reopen),
    ]
}

/// What an index holds: by uri, the id, the record and the content that was encoded.
type Model = BTreeMap<String, (ImageId, ImageRecord, String)>;

fn compare(snapshot: &Snapshot, model: &Model) {
    let mut expected: Vec<_> = model.values().map(|(id, record, _)| (*id, record.clone())).collect();
    expected.sort_by_key(|(id, _)| *id);
    let shown: Vec<_> = snapshot.records().map(Result::unwrap).collect();
    assert_eq!(shown, expected);
    for (id, record, content) in model.values() {
        assert_eq!(snapshot.vector(*id).unwrap().unwrap(), vector(content));
        let best = snapshot.search_vectors(&vector(content), 1, None, None).unwrap()[0];
        assert!(best.score.get() > 0.999);
        let hits = snapshot.search_text(&record.captions[0], usize::MAX, None).unwrap();
        let mut with_caption: Vec<_> = model
            .values()
            .filter(|(_, other, _)| other.captions == record.captions)
            .map(|(id, ..)| *id)
            .collect();
        with_caption.sort_unstable();
        assert_eq!(hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), with_caption);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_what_a_map_would(steps in prop::collection::vec(step(), 1..100)) {
        let (_dir, store) = new_store("auto");
        let mut writer = Some(store.writer().unwrap());
        let (mut pending, mut committed) = (Model::new(), Model::new());
        let mut highest = None;
        for step in steps {
            let open = writer.as_mut().unwrap();
            match step {
                Step::Put(uri, content) => {
                    let (uri, content) = (format!("uri{uri}"), format!("content{content}"));
                    let record = record(&uri, &format!("word{content}"));
                    let id = open.put(record.clone(), &vector(&content)).unwrap();
                    // I4 within a history; ids of puts that were never committed may come again after a reopening.
                    prop_assert!(committed.values().chain(pending.values()).all(|(other, ..)| *other < id));
                    prop_assert!(highest < Some(id));
                    pending.insert(uri, (id, record, content));
                }
                Step::Delete(uri) => {
                    let uri = format!("uri{uri}");
                    let found = open.find(&uri).unwrap();
                    prop_assert_eq!(found.as_ref().map(|(id, _)| *id), pending.get(&uri).map(|(id, ..)| *id));
                    if let Some((id, _)) = found {
                        prop_assert!(open.delete(id).unwrap());
                        pending.remove(&uri);
                    }
                }
                Step::Update(uri, caption) => {
                    if let Some((id, known, _)) = pending.get_mut(&format!("uri{uri}")) {
                        known.captions = vec![format!("caption{caption}")];
                        prop_assert!(open.update_record(*id, known.clone()).unwrap());
                    }
                }
                Step::Search(query, k) => {
                    let (snapshot, query) = (store.snapshot().unwrap(), vector(&format!("query{query}")));
                    let hits = snapshot.search_vectors(&query, k, None, None).unwrap();
                    let best = naive_best(&snapshot, &query, k);
                    prop_assert_eq!(hits.len(), best.len());
                    for (hit, (score, id)) in hits.iter().zip(best) {
                        prop_assert_eq!(hit.id, id);
                        prop_assert!((hit.score.get() - score).abs() < 1e-5);
                    }
                }
                step @ (Step::Commit | Step::Finish | Step::Compact) => {
                    match step {
                        Step::Commit => drop(open.commit().unwrap()),
                        Step::Finish => drop(open.finish().unwrap()),
                        _ => drop(open.compact().unwrap()),
                    }
                    committed = pending.clone();
                    highest = committed.values().map(|(id, ..)| *id).max().max(highest);
                    compare(&store.snapshot().unwrap(), &committed);
                }
                Step::Reopen => {
                    drop(writer.take());
                    let fresh = Store::open(store.dir()).unwrap();
                    compare(&fresh.snapshot().unwrap(), &committed);
                    pending = committed.clone();
                    writer = Some(fresh.writer().unwrap());
                }
            }
        }
        drop(writer);
        compare(&store.snapshot().unwrap(), &committed);
        check_consistent(store.dir());
    }
}
