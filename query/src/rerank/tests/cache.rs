//! With a cache of features.

use super::*;

#[test]
fn features_in_the_cache_need_no_file_and_change_nothing() {
    for hashed in [true, false] {
        let shelf = Shelf::new(&IMAGES, hashed);
        let probe = Arc::new(Probe::new());
        let cache = || {
            let dir = shelf.dir.path().join("features");
            FeatureCache::open(&dir, probe.spec().clone(), 1 << 20).unwrap()
        };
        let engine = shelf.engine(Reranker::new(Arc::clone(&probe) as Arc<dyn Matcher>).with_cache(cache()));
        let first = engine.search(&request(8)).unwrap();
        assert_eq!((ids(&first), first.reranked.as_ref().unwrap().cache_hits), (expected(&IMAGES, 8), 0));
        let second = engine.search(&request(8)).unwrap();
        assert_eq!((&second.hits, second.reranked.unwrap().cache_hits), (&first.hits, 8));
        assert_eq!(probe.asked.lock().unwrap()[1], 1, "images are encoded once");
        let stats = engine.metrics().rerank.unwrap().cache.unwrap();
        assert_eq!((stats.hits, stats.entries), (8, 7), "two images are alike");
        drop(engine);

        // After a restart too; and with the files gone when their hashes are known.
        let engine = shelf.engine(Reranker::new(Arc::clone(&probe) as Arc<dyn Matcher>).with_cache(cache()));
        assert_eq!(engine.search(&request(8)).unwrap().hits, first.hits);
        assert_eq!(probe.asked.lock().unwrap()[1], 1);
        (0..8).for_each(|i| std::fs::remove_file(shelf.file(i)).unwrap());
        let gone = engine.search(&request(8)).unwrap().reranked.unwrap();
        assert_eq!(gone.scored, if hashed { 8 } else { 0 });
    }
}

#[test]
fn a_replaced_file_gives_no_other_image_its_features() {
    let shelf = Shelf::new(&IMAGES, true);
    let probe = Arc::new(Probe::new());
    let cache = FeatureCache::in_memory(probe.spec().clone(), 1 << 20);
    let engine = shelf.engine(Reranker::new(Arc::clone(&probe) as Arc<dyn Matcher>).with_cache(cache));
    // Both were "red car" when they were indexed.
    std::fs::write(shelf.file(0), "dog grass now").unwrap();
    for turn in 0..2 {
        let response = engine.search(&request(1)).unwrap();
        let said = response.hits[0].rerank.unwrap().score;
        assert_eq!(said, score(TEXT, "dog grass now"), "as it is now");
        assert_eq!(response.reranked.unwrap().cache_hits, turn);
    }
    let response = engine.search(&request(8)).unwrap();
    let five = response.hits.iter().find(|hit| hit.id == ImageId(5)).unwrap();
    assert_eq!(five.rerank.unwrap().score, score(TEXT, "red car"));
    // Now there are features of the bytes it was indexed with.
    let response = engine.search(&request(1)).unwrap();
    assert_eq!(response.hits[0].rerank.unwrap().score, score(TEXT, "red car"));
}

#[test]
fn many_threads_share_one_reranker() {
    let shelf = Shelf::new(&IMAGES, true);
    let spec = HashMatcher::new(DIM).spec().clone();
    // Room for three images only.
    let cache = FeatureCache::in_memory(spec, 3 * (16 + 2 * 32 + 4 * 32 + 160));
    let engine = shelf.engine(Reranker::new(Arc::new(Probe::new())).with_cache(cache));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(ids(&engine.search(&request(8)).unwrap()), expected(&IMAGES, 8));
                }
            });
        }
    });
    let stats = engine.metrics().rerank.unwrap().cache.unwrap();
    assert!(stats.bytes <= stats.budget && stats.entries == 3 && stats.evictions > 0, "{stats:?}");
}
