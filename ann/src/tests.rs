//! Every kind against the oracle, and against hard inputs.

use std::path::Path;

use half::f16;
use proptest::prelude::*;

use super::*;

/// SplitMix64 (Steele, Lea & Flood 2014): small, seeded, the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Close to a standard normal: the sum of four uniforms, scaled.
    fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32).sum();
        (sum - 2.0) * 3.0_f32.sqrt()
    }

    fn unit(&mut self, dim: usize, centre: &[f32], spread: f32) -> Vec<f32> {
        let raw: Vec<f32> =
            (0..dim).map(|i| centre.get(i).unwrap_or(&0.0) + spread * self.normal()).collect();
        let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        raw.into_iter().map(|x| x / norm).collect()
    }
}

/// `n` unit vectors without structure: the hardest case for every approximate index.
pub(crate) fn random_rows(n: usize, dim: usize, seed: u64) -> Rows {
    let mut random = Random::new(seed);
    halves(dim, (0..n).flat_map(|_| random.unit(dim, &[], 1.0)))
}

/// As an index stores them.
fn halves(dim: usize, numbers: impl Iterator<Item = f32>) -> Rows {
    Rows::from_f16(dim, numbers.map(f16::from_f32).collect()).unwrap()
}

fn row(rows: &Rows, row: u32) -> Vec<f32> {
    rows.row(row).unwrap().unwrap()
}

/// `n` unit vectors around √n centres, about as far from their centre as embeddings of similar photos, and `queries` more.
fn clustered(n: usize, dim: usize, queries: usize, seed: u64) -> (Rows, Vec<Vec<f32>>) {
    let mut random = Random::new(seed);
    let centres: Vec<_> = (0..n.isqrt().max(1)).map(|_| random.unit(dim, &[], 1.0)).collect();
    let spread = 0.8 / (dim as f32).sqrt();
    let mut draw = || {
        let centre = random.next() as usize % centres.len();
        random.unit(dim, &centres[centre], spread)
    };
    let rows: Vec<f32> = (0..n).flat_map(|_| draw()).collect();
    let queries = (0..queries).map(|_| draw()).collect();
    (halves(dim, rows.into_iter()), queries)
}

fn kind(text: &str) -> IndexKind {
    text.parse().unwrap()
}

fn built(kind: &IndexKind, rows: &Rows, dir: &Path) -> Result<Box<dyn VectorIndex>, AnnError> {
    let path = dir.join(kind.to_string().replace([':', ','], "-"));
    build(kind, rows, &path)?;
    assert_eq!(path.exists(), *kind != IndexKind::Flat);
    open(kind, rows.clone(), &path)
}

/// Share of the exact `k` best that `index` finds, and the checks that hold for every kind: the right number of hits, in order,
/// allowed, scored exactly.
fn recall(
    index: &dyn VectorIndex,
    rows: &Rows,
    queries: &[Vec<f32>],
    k: usize,
    opts: &SearchOptions<'_>,
) -> f64 {
    let (mut found, mut wanted) = (0, 0);
    for query in queries {
        let hits = index.search(query, k, opts).unwrap();
        let exact =
            flat::scan(rows, query, k.min(opts.allow.map_or(rows.len(), RowSet::len)), opts.allow).unwrap();
        assert_eq!(hits.len(), exact.len());
        assert!(hits.is_sorted_by(|a, b| a.rank(b).is_lt()), "in order, no row twice");
        for hit in &hits {
            assert!(opts.allow.is_none_or(|set| set.contains(hit.row)));
            assert_eq!(*hit, rows.scorer(query).score(hit.row));
        }
        wanted += exact.len();
        found += exact.iter().filter(|e| hits.iter().any(|h| h.row == e.row)).count();
    }
    found as f64 / wanted.max(1) as f64
}

/// One of each class of index. `np`: without polysemous training, a simulated annealing that takes seconds per byte of code
/// and is of use only to a search that asks for it.
const KINDS: [&str; 8] = [
    "flat",
    "hnsw",
    "faiss:Flat",
    "faiss:HNSW32",
    "faiss:IVF64,Flat",
    "faiss:IVF64,PQ16np",
    "faiss:SQ8",
    "faiss:PCA32,IVF32,Flat",
];

/// Without those that take seconds to train.
const QUICK: [&str; 6] = ["flat", "hnsw", "faiss:Flat", "faiss:HNSW32", "faiss:IVF8,Flat", "faiss:SQ8"];

#[test]
fn recall_of_every_kind_filtered_and_not() {
    let dir = tempfile::tempdir().unwrap();
    let (rows, queries) = clustered(5_000, 64, 100, 1);
    for text in KINDS {
        let index = built(&kind(text), &rows, dir.path()).unwrap();
        assert_eq!(index.len(), rows.len());
        let floor = match text {
            "flat" | "faiss:Flat" => 1.0,
            "faiss:IVF64,PQ16np" | "faiss:PCA32,IVF32,Flat" => 0.9,
            _ => 0.95,
        };
        for share in [1.0, 0.5, 0.1, 0.01, 0.001] {
            let mut random = Random::new(7);
            let set = RowSet::from_fn(rows.len(), |_| (random.next() as f64) < share * u64::MAX as f64);
            let allow = (share < 1.0).then_some(&set);
            let opts = SearchOptions { allow, effort: None };
            let recall = recall(&*index, &rows, &queries, 10, &opts);
            assert!(recall >= floor, "{text} with {share} allowed: recall@10 is {recall}, expected {floor}");
        }
        let none = RowSet::empty(rows.len());
        let opts = SearchOptions { allow: Some(&none), effort: None };
        assert_eq!(index.search(&queries[0], 10, &opts).unwrap(), []);
    }
}

/// The promise of filters: whatever share of the rows a filter leaves and wherever they lie, the ten best of them are found. Queries
/// lie apart from the rows, as texts do from images.
#[test]
fn filters_near_and_far_keep_their_recall() {
    let dir = tempfile::tempdir().unwrap();
    let (n, dim) = (30_000, 32);
    let mut random = Random::new(31);
    let gap = random.unit(dim, &[], 1.0);
    let centres: Vec<Vec<f32>> = (0..150).map(|_| random.unit(dim, &[], 1.0)).collect();
    let mut around = |sign: f32, spread: f32| {
        let centre = &centres[random.next() as usize % centres.len()];
        let shifted: Vec<f32> = centre.iter().zip(&gap).map(|(x, g)| x + sign * 0.5 * g).collect();
        random.unit(dim, &shifted, spread)
    };
    let rows: Vec<f32> = (0..n).flat_map(|_| around(1.0, 0.15)).collect();
    let rows = halves(dim, rows.into_iter());
    let queries: Vec<Vec<f32>> = (0..12).map(|_| around(-1.0, 0.15)).collect();
    for text in ["faiss:HNSW16", "hnsw:12:100", "faiss:IVF256,Flat", "faiss:IVF256,PQ16np", "faiss:SQ8"] {
        let index = built(&kind(text), &rows, dir.path()).unwrap();
        for share in [0.5, 0.1, 0.01, 0.001, 0.0001] {
            let keep = (share * n as f64).ceil() as usize;
            for place in ["near", "far", "anywhere"] {
                let (mut found, mut wanted) = (0, 0);
                for query in &queries {
                    let mut ranked = flat::scan(&rows, query, n, None).unwrap();
                    match place {
                        "near" => {}
                        "far" => ranked.reverse(),
                        _ => ranked.sort_by_key(|hit| hit.row.wrapping_mul(0x9e37_79b1)),
                    }
                    let mut set = RowSet::empty(n);
                    ranked.iter().take(keep).for_each(|hit| assert!(set.insert(hit.row)));
                    let opts = SearchOptions { allow: Some(&set), effort: None };
                    let hits = index.search(query, 10, &opts).unwrap();
                    let exact = flat::scan(&rows, query, 10.min(keep), Some(&set)).unwrap();
                    assert_eq!(hits.len(), exact.len());
                    wanted += exact.len();
                    found += exact.iter().filter(|e| hits.iter().any(|h| h.row == e.row)).count();
                }
                let recall = found as f64 / wanted as f64;
                assert!(recall >= 0.95, "{text}, {share} of the rows, {place}: recall@10 is {recall}");
            }
        }
    }
}

/// Large enough that a filtered search asks the index instead of scanning.
#[test]
fn an_index_is_searched_through_rows_that_are_not_allowed() {
    let (rows, queries) = clustered(12_000, 16, 50, 2);
    let set = RowSet::from_fn(rows.len(), |row| row % 2 == 1);
    assert!(!refine::scan_is_cheaper(set.len(), rows.len(), 64));
    let dir = tempfile::tempdir().unwrap();
    for text in ["hnsw", "faiss:HNSW32", "faiss:IVF256,Flat", "faiss:SQ8"] {
        let index = built(&kind(text), &rows, dir.path()).unwrap();
        let recall = recall(&*index, &rows, &queries, 10, &SearchOptions { allow: Some(&set), effort: None });
        assert!(recall >= 0.95, "{text}: recall@10 is {recall}");
    }
}

#[test]
fn more_effort_finds_more() {
    let dir = tempfile::tempdir().unwrap();
    let rows = random_rows(4_000, 32, 3);
    let queries: Vec<_> = (0..50).map(|seed| Random::new(900 + seed).unit(32, &[], 1.0)).collect();
    for text in ["hnsw", "faiss:HNSW32", "faiss:IVF64,Flat"] {
        let index = built(&kind(text), &rows, dir.path()).unwrap();
        let at = |effort| {
            recall(&*index, &rows, &queries, 10, &SearchOptions { allow: None, effort: Some(effort) })
        };
        let (low, high) = (at(1), at(usize::MAX));
        assert!(low < high && high > 0.99, "{text}: {low} {high}");
        // Whatever was asked before, the same effort gives the same answer.
        assert_eq!(at(1), low);
    }
}

#[test]
fn small_and_odd_shapes() {
    let dir = tempfile::tempdir().unwrap();
    for text in ["flat", "hnsw", "hnsw:4:8", "faiss:Flat", "faiss:HNSW32", "faiss:IVF1,Flat", "faiss:SQ8"] {
        for (n, dim) in [(0, 8), (1, 8), (2, 1), (3, 7), (70, 33)] {
            let rows = random_rows(n, dim, 4);
            let index = built(&kind(text), &rows, dir.path()).unwrap();
            assert_eq!((index.len(), index.is_empty()), (n, n == 0));
            let query = Random::new(8).unit(dim, &[], 1.0);
            for k in [0, 1, n, n + 1, 1_000_000, usize::MAX] {
                for effort in [None, Some(0), Some(1), Some(usize::MAX)] {
                    let hits = index.search(&query, k, &SearchOptions { allow: None, effort }).unwrap();
                    assert_eq!(
                        hits,
                        flat::scan(&rows, &query, k.min(n), None).unwrap(),
                        "{text} {n}x{dim} k {k}"
                    );
                }
            }
        }
    }
}

#[test]
fn duplicates_come_back_in_row_order() {
    let dir = tempfile::tempdir().unwrap();
    // 6,000 rows, 20 of each of 300 vectors: enough rows for graphs to be walked.
    let base = random_rows(300, 32, 5);
    let rows = halves(32, (0..6_000).flat_map(|i| row(&base, i % 300)));
    for text in QUICK {
        let index = built(&kind(text), &rows, dir.path()).unwrap();
        let mut complete = 0;
        for vector in 0..300 {
            let hits = index.search(&row(&base, vector), 20, &SearchOptions::default()).unwrap();
            assert!(hits.is_sorted_by(|a, b| a.rank(b).is_lt()));
            complete += usize::from(hits.iter().map(|hit| hit.row).eq((0..20).map(|i| i * 300 + vector)));
        }
        assert!(complete >= 285, "{text}: {complete} of 300");
    }
    // All rows equal: any graph over them is as good as none.
    let rows = halves(32, row(&base, 0).repeat(4_000).into_iter());
    for text in QUICK {
        let index = built(&kind(text), &rows, dir.path()).unwrap();
        let hits = index.search(&row(&base, 0), 50, &SearchOptions::default()).unwrap();
        assert_eq!(hits.len(), 50, "{text}");
    }
}

#[test]
fn queries_that_do_not_fit_are_typed_errors() {
    let dir = tempfile::tempdir().unwrap();
    let rows = random_rows(300, 16, 6);
    for text in ["flat", "hnsw", "faiss:Flat", "faiss:IVF4,Flat"] {
        let index = built(&kind(text), &rows, dir.path()).unwrap();
        let search = |query: &[f32], allow| index.search(query, 5, &SearchOptions { allow, effort: None });
        assert!(matches!(search(&[0.1; 15], None), Err(AnnError::Dimension { expected: 16, received: 15 })));
        assert!(matches!(search(&[], None), Err(AnnError::Dimension { .. })));
        let mut query = [0.25; 16];
        query[3] = f32::NAN;
        assert!(matches!(search(&query, None), Err(AnnError::QueryNotFinite { at: 3, .. })));
        let other = RowSet::empty(299);
        assert!(matches!(
            search(&[0.25; 16], Some(&other)),
            Err(AnnError::RowSet { expected: 300, received: 299 })
        ));
        // Finite, though no unit vectors: odd, but they have an order.
        assert_eq!(search(&[0.0; 16], None).unwrap().len(), 5);
        assert_eq!(search(&[f32::MAX; 16], None).unwrap().len(), 5);
    }
}

#[test]
fn what_cannot_be_built_is_a_typed_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let rows = random_rows(100, 16, 7);
    let fails = |factory: &str, rows: &Rows| {
        let kind = IndexKind::Faiss { factory: factory.into() };
        build(&kind, rows, &path).expect_err(factory)
    };
    for factory in ["nonsense", "IVF", "IVF64", "PQ5", "Flat,Flat,Flat", "IDMap,Flat", ","] {
        let error = fails(factory, &rows);
        assert!(matches!(error, AnnError::Faiss { .. }), "{factory}: {error:?}");
        assert!(!error.to_string().contains(".cpp"), "{error}");
    }
    // A factory string is checked before there are rows.
    assert!(matches!(fails("nonsense", &random_rows(0, 16, 0)), AnnError::Faiss { action: "make", .. }));

    let error = fails("IVF128,Flat", &rows);
    assert!(matches!(error, AnnError::TooFewRows { needed: 128, rows: 100, .. }));
    assert!(error.to_string().contains("choose hnsw or flat"), "{error}");
    let error = fails("IVF1024,Flat", &random_rows(1_000, 16, 7));
    assert!(error.to_string().contains("choose IVF25 or fewer"), "{error}");
    // A codebook has 256 entries, and its k-means says so.
    for factory in ["PQ4", "IVF16,PQ4", "OPQ4,PQ4", "HNSW16_PQ4"] {
        let error = fails(factory, &rows);
        assert!(matches!(error, AnnError::TooFewRows { needed: 256, rows: 100, .. }), "{factory}: {error:?}");
    }
    // Eight components cannot be learnt from five rows, nor 32 from 16.
    assert!(matches!(
        fails("PCA8,Flat", &random_rows(5, 16, 7)),
        AnnError::TooFewRows { needed: 8, rows: 5, .. }
    ));
    assert!(matches!(fails("PCA32,Flat", &random_rows(5, 16, 7)), AnnError::Faiss { action: "train", .. }));
    assert!(!path.exists(), "a failed build leaves no file");

    let bad = Rows::from_vec(2, vec![1.0, 0.0, f32::INFINITY, 0.0]).unwrap();
    for text in QUICK {
        assert!(matches!(build(&kind(text), &bad, &path), Err(AnnError::RowNotFinite { row: 1 })), "{text}");
    }
    let kind = IndexKind::Hnsw { m: 1, ef_construction: 10 };
    assert!(matches!(build(&kind, &rows, &path), Err(AnnError::Kind { .. })));
    let nowhere = dir.path().join("no/such/dir");
    let error = build(&IndexKind::HNSW, &rows, &nowhere).unwrap_err();
    assert!(matches!(error, AnnError::Io(_)) && error.to_string().contains("no/such/dir"), "{error}");
}

/// Whatever is changed in a file, nobody gets another answer: it is an error when the file is opened or when it is searched.
#[test]
fn damaged_files_are_typed_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let rows = random_rows(3_000, 16, 8);
    let queries: Vec<_> = (0..20).map(|seed| Random::new(50 + seed).unit(16, &[], 1.0)).collect();
    for text in ["hnsw:4:40", "faiss:HNSW4", "faiss:Flat", "faiss:IVF4,Flat", "faiss:SQ8"] {
        let kind = kind(text);
        build(&kind, &rows, &path).unwrap();
        let intact = fs_err::read(&path).unwrap();
        let answers = |index: &dyn VectorIndex| -> Result<Vec<_>, AnnError> {
            let search = |query: &Vec<f32>| index.search(query, 5, &SearchOptions::default());
            queries.iter().map(search).collect()
        };
        let right = answers(&*open(&kind, rows.clone(), &path).unwrap()).unwrap();
        let mut seen = [0, 0, 0];
        for i in 0..60 {
            fs_err::write(&path, &intact[..intact.len() * i / 60]).unwrap();
            let error = open(&kind, rows.clone(), &path).err();
            assert!(matches!(error, Some(AnnError::Damaged { .. })), "{text}: truncated: {error:?}");

            let mut flipped = intact.clone();
            // Byte 8 to 11 is the version, which has an error of its own.
            flipped[12 + (intact.len() - 13) * i / 60] ^= 1 << (i % 8);
            fs_err::write(&path, &flipped).unwrap();
            match open(&kind, rows.clone(), &path).and_then(|index| answers(&*index)) {
                Ok(found) => {
                    assert_eq!(found, right, "{text}: another answer");
                    seen[0] += 1;
                }
                Err(AnnError::Damaged { .. }) => seen[1] += 1,
                Err(error) => panic!("{text}: {error}"),
            }
            let verified = SealedFile::open(&path, b"PICTRANN").and_then(|file| file.verify());
            assert!(matches!(verified, Err(AnnError::Damaged { .. })), "{text}: {verified:?}");
            seen[2] += 1;
        }
        assert!(seen[1] > 50, "{text}: {seen:?}");
        fs_err::write(&path, [&intact[..], b"\0"].concat()).unwrap();
        assert!(
            matches!(open(&kind, rows.clone(), &path), Err(AnnError::Damaged { .. })),
            "{text}: extended"
        );
        fs_err::remove_file(&path).unwrap();
        assert!(matches!(open(&kind, rows.clone(), &path), Err(AnnError::Io(_))));
    }
}

/// A file that was made to deceive: sealed, and full of numbers that lead nowhere. Wrong answers are all it gets; no panic.
#[test]
fn a_graph_of_nonsense_is_walked_within_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let rows = random_rows(6_000, 8, 12);
    let mut random = Random::new(13);
    for case in 0..200 {
        let path = dir.path().join("graph");
        let mut words: Vec<u32> = vec![random.next() as u32 % 6_000, 1 + case % 5, 0, 3, 4, 5];
        words.resize(16, 0);
        let body = 6_001 + 3 + 4 + 5 + 5;
        words.extend((0..body).map(|_| random.next() as u32 % if case % 2 == 0 { 20 } else { u32::MAX }));
        let mut writer = file::create(&path, &IndexKind::HNSW, &rows).unwrap();
        std::io::Write::write_all(&mut writer, bytemuck::cast_slice(&words)).unwrap();
        file::finish(writer).unwrap();
        let index = open(&IndexKind::HNSW, rows.clone(), &path).unwrap();
        assert_eq!(index.search(&row(&rows, 0), 10, &SearchOptions::default()).unwrap().len(), 10);
    }
}

#[test]
fn other_rows_or_another_kind_are_a_mismatch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let rows = random_rows(300, 16, 9);
    build(&IndexKind::HNSW, &rows, &path).unwrap();
    let what = |kind: &str, rows: Rows| match open(&kind.parse().unwrap(), rows, &path).err() {
        Some(AnnError::Mismatch { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(what("hnsw", random_rows(299, 16, 9)), "row count");
    assert_eq!(what("hnsw", random_rows(150, 32, 9)), "dimension");
    assert_eq!(what("hnsw:8:100", rows.clone()), "kind");
    assert_eq!(what("faiss:Flat", rows), "kind");
}

/// Rows of f32 and rows of f16 give one ranking where their scores differ by more than rounding.
#[test]
fn halves_rank_as_floats_do() {
    let mut random = Random::new(14);
    let floats: Vec<f32> = (0..5_000).flat_map(|_| random.unit(64, &[], 1.0)).collect();
    let wide = Rows::from_vec(64, floats.clone()).unwrap();
    let narrow = halves(64, floats.into_iter());
    for _ in 0..50 {
        let query = random.unit(64, &[], 1.0);
        let [wide, narrow] = [&wide, &narrow].map(|rows| flat::scan(rows, &query, 10, None).unwrap());
        for (a, b) in wide.iter().zip(&narrow) {
            assert!((a.score - b.score).abs() < 5e-4, "{a:?} {b:?}");
        }
        let common = wide.iter().filter(|a| narrow.iter().any(|b| a.row == b.row)).count();
        assert!(common >= 9);
    }
}

#[test]
fn the_same_rows_give_the_same_hnsw_file() {
    let dir = tempfile::tempdir().unwrap();
    let rows = random_rows(2_000, 16, 10);
    let bytes = ["a", "b"].map(|name| {
        build(&IndexKind::HNSW, &rows, &dir.path().join(name)).unwrap();
        fs_err::read(dir.path().join(name)).unwrap()
    });
    assert!(bytes[0] == bytes[1]);
}

#[test]
fn concurrent_searches_equal_serial_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (rows, queries) = clustered(6_000, 32, 60, 11);
    let set = RowSet::from_fn(rows.len(), |row| row % 4 != 0);
    for text in QUICK {
        let index = built(&kind(text), &rows, dir.path()).unwrap();
        // Mixed efforts and filters, so that threads also compete for FAISS's parameters.
        let all = |_| -> Vec<_> {
            (queries.iter().enumerate())
                .map(|(i, query)| {
                    let allow = (i % 3 == 0).then_some(&set);
                    let opts = SearchOptions { allow, effort: [None, Some(2), Some(100)][i % 3] };
                    index.search(query, 5 + i % 7, &opts).unwrap()
                })
                .collect()
        };
        let serial = all(0);
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|i| scope.spawn(move || (0..5).map(|_| all(i)).collect::<Vec<_>>())).collect();
            for thread in threads {
                for concurrent in thread.join().unwrap() {
                    assert!(concurrent == serial, "{text}");
                }
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the shape, the filter and the effort: no panic, the right number, in order, exactly scored.
    #[test]
    fn every_kind_keeps_its_promises(
        which in 0_usize..QUICK.len(),
        n in 300_usize..900,
        k in 0_usize..60,
        keep in 1_u32..40,
        effort in prop::option::of(0_usize..200),
        seed in any::<u64>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let rows = random_rows(n, 32, seed);
        let index = built(&kind(QUICK[which]), &rows, dir.path()).unwrap();
        let set = RowSet::from_fn(n, |row| row.wrapping_mul(seed as u32 | 1) % keep == 0);
        let queries: Vec<_> = (0..3).map(|i| Random::new(seed ^ i).unit(32, &[], 1.0)).collect();
        recall(&*index, &rows, &queries, k, &SearchOptions { allow: Some(&set), effort });
        recall(&*index, &rows, &queries, k, &SearchOptions { allow: None, effort });
    }
}

#[test]
fn kinds_are_what_the_manifest_says() {
    for (kind, json) in [
        (IndexKind::Flat, r#"{"kind":"flat"}"#),
        (IndexKind::HNSW, r#"{"kind":"hnsw","m":16,"ef_construction":200}"#),
        (kind("faiss:IVF64,Flat"), r#"{"kind":"faiss","factory":"IVF64,Flat"}"#),
    ] {
        assert_eq!(serde_json::to_string(&kind).unwrap(), json);
        assert_eq!(serde_json::from_str::<IndexKind>(json).unwrap(), kind);
    }
    assert!(serde_json::from_str::<IndexKind>(r#"{"kind":"annoy"}"#).is_err());
    assert!(faiss_version().starts_with("1."), "{}", faiss_version());
}
