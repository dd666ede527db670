//! The same figures as CLIP_benchmark, to the last digit: its package is run on the same embeddings.
//!
//! `PICTOR_CLIP_BENCHMARK_PYTHON` is a Python that has the package; `make test` makes one (`scripts/fetch-clip-benchmark`).
//! `ask_clip_benchmark.py` calls the package's `evaluate` and `recall_at_k` and prints what they return.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use pictor_core::EmbeddingBatch;
use pictor_eval::{Clusters, Metrics, Ranked, Relevance};
use serde::Deserialize;

#[derive(Deserialize)]
struct Theirs {
    evaluate: Option<BTreeMap<String, f64>>,
    plain: Hits,
    by_index: Hits,
}

/// Of each query whether it is answered at K.
#[derive(Deserialize)]
struct Hits {
    text_to_image: BTreeMap<u32, Vec<bool>>,
    image_to_text: BTreeMap<u32, Vec<bool>>,
}

/// What makes the order of equal scores known.
#[derive(Clone, Copy, PartialEq)]
enum Ties {
    /// There are none.
    None,
    /// CLIP_benchmark is given scores in which the index decides.
    ByIndex,
}

/// A test set.
struct Set {
    dim: usize,
    images: Vec<f32>,
    texts: Vec<f32>,
    image_of_text: Vec<usize>,
}

/// Runs both, and compares every query and every figure.
fn check(set: Set, ties: Ties) {
    let Some(python) = std::env::var_os("PICTOR_CLIP_BENCHMARK_PYTHON").filter(|python| !python.is_empty())
    else {
        eprintln!(
            "NOT RUN: PICTOR_CLIP_BENCHMARK_PYTHON names no Python with clip_benchmark; `make test` makes one"
        );
        return;
    };
    let images = EmbeddingBatch::normalise(set.dim, set.images).unwrap();
    let texts = EmbeddingBatch::normalise(set.dim, set.texts).unwrap();
    let theirs = theirs(&python, &images, &texts, &set.image_of_text);

    let relevance = Relevance::from_captions(&set.image_of_text, images.len()).unwrap();
    let ours = pictor_eval::exact(&images, &texts, &relevance, 0, &|_| ()).unwrap();
    let hits = if ties == Ties::None { &theirs.plain } else { &theirs.by_index };
    for (ranked, hits) in
        [(&ours.text_to_image, &hits.text_to_image), (&ours.image_to_text, &hits.image_to_text)]
    {
        assert_eq!(hits.len(), 3);
        for (&k, hits) in hits {
            for Ranked { query, outcome, .. } in ranked {
                let hit = outcome.rank.is_some_and(|rank| rank <= k);
                assert_eq!(hit, hits[*query as usize], "query {query} at {k}: rank {:?}", outcome.rank);
            }
        }
    }
    if ties == Ties::None {
        let figures = theirs.evaluate.expect("captions in the order of their images, one at least for each");
        assert_eq!(figures.len(), 6);
        for (name, ranked) in [("image", &ours.text_to_image), ("text", &ours.image_to_text)] {
            let Metrics { r1, r5, r10, .. } = metrics(ranked);
            for (k, ours) in [(1, r1), (5, r5), (10, r10)] {
                // It averages in float32, as a share.
                let theirs = figures[&format!("{name}_retrieval_recall@{k}")];
                assert_eq!((ours / 100.0) as f32, theirs as f32, "{name} {k}");
            }
        }
    }
}

fn metrics(ranked: &[Ranked]) -> Metrics {
    pictor_eval::direction(ranked, &Clusters::single(ranked.len())).unwrap().metrics
}

fn theirs(
    python: &std::ffi::OsStr,
    images: &EmbeddingBatch,
    texts: &EmbeddingBatch,
    image_of_text: &[usize],
) -> Theirs {
    let folder = tempfile::tempdir().unwrap();
    let bytes =
        |batch: &EmbeddingBatch| batch.as_slice().iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let indices: Vec<u8> = image_of_text.iter().flat_map(|&image| (image as u32).to_le_bytes()).collect();
    for (name, bytes) in
        [("images.f32", bytes(images)), ("texts.f32", bytes(texts)), ("image_of_text.u32", indices)]
    {
        fs_err::write(folder.path().join(name), bytes).unwrap();
    }
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ask_clip_benchmark.py"))
        .arg(folder.path())
        .args([texts.len(), images.len(), images.dim()].map(|n| n.to_string()))
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} has no working clip_benchmark: {said}", python.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Numbers in -1..1: a 32-bit hash of the position.
fn noise(numbers: usize, seed: u32) -> impl Iterator<Item = f32> {
    (0..numbers as u32).map(move |i| {
        let hash = (i ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(2_654_435_761);
        let hash = (hash ^ (hash >> 15)).wrapping_mul(0x85eb_ca6b);
        (hash >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// One to seven captions for each of 200 images, each a quarter of its image and noise.
#[test]
fn random_embeddings() {
    let (n_images, dim) = (200, 64);
    let image_of_text: Vec<usize> = (0..n_images).flat_map(|i| vec![i; 1 + i * 5 % 7]).collect();
    let images: Vec<f32> = noise(n_images * dim, 1).collect();
    let of_text = image_of_text.iter().flat_map(|&i| &images[i * dim..][..dim]);
    let texts =
        of_text.zip(noise(image_of_text.len() * dim, 2)).map(|(image, noise)| 0.25 * image + noise).collect();
    check(Set { dim, images, texts, image_of_text }, Ties::None);
}

/// Vectors of four halves, so that every score is a multiple of 1/4 and most tie; whole rows repeat, captions are in no order,
/// and some images have none.
#[test]
fn repeated_rows_and_ties() {
    let (n_images, n_texts, dim) = (90, 333, 8);
    let halves = |rows: usize, seed: u32| -> Vec<f32> {
        let random: Vec<f32> = noise(rows * dim, seed).collect();
        let row = |row: &[f32]| {
            let mut places: Vec<usize> = (0..dim).collect();
            places.sort_by(|&a, &b| row[a].abs().total_cmp(&row[b].abs()));
            let mut halves = vec![0.0; dim];
            places[..4].iter().for_each(|&place| halves[place] = 0.5_f32.copysign(row[place]));
            halves
        };
        let mut all: Vec<f32> = random.chunks_exact(dim).flat_map(row).collect();
        for copy in (3..rows).step_by(10) {
            all.copy_within(0..dim, copy * dim);
        }
        all
    };
    let image_of_text = (0..n_texts).map(|t| t * t % n_images).collect();
    check(Set { dim, images: halves(n_images, 3), texts: halves(n_texts, 4), image_of_text }, Ties::ByIndex);
}

/// OpenAI CLIP ViT-B/32 on 100 Flickr8k images with 5 captions each. The embeddings are not part of the repository: the
/// folder whose `data/` holds `clip-vit-b32-flickr8k-100/` is `$PICTOR_SHARED`, or `shared` beside the checkout.
#[test]
fn real_clip_embeddings() {
    let shared = std::env::var_os("PICTOR_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = shared.join("data/clip-vit-b32-flickr8k-100");
    if !folder.exists() {
        eprintln!("NOT RUN: {} is absent (set PICTOR_SHARED)", folder.display());
        return;
    }
    let (rows, dim, images) = read_npy(&folder.join("image_embeddings.npy"));
    let (_, _, texts) = read_npy(&folder.join("text_embeddings.npy"));
    assert_eq!((rows, dim), (500, 512));
    // Image rows repeat, one for each of five captions.
    let images: Vec<f32> = images.chunks_exact(5 * dim).flat_map(|five| &five[..dim]).copied().collect();
    let image_of_text: Vec<usize> = (0..500).map(|t| t / 5).collect();

    // What CLIP_benchmark said once (torch 2, CPU), for where it is not installed; median and mean rank are numpy's.
    let batch = |data: &[f32]| EmbeddingBatch::normalise(dim, data.to_vec()).unwrap();
    let relevance = Relevance::from_captions(&image_of_text, 100).unwrap();
    let ours = pictor_eval::exact(&batch(&images), &batch(&texts), &relevance, 0, &|_| ()).unwrap();
    for (ranked, expected) in [
        (&ours.text_to_image, [83.2, 99.0, 99.8, 1.0, 1.326]),
        (&ours.image_to_text, [93.0, 100.0, 100.0, 1.0, 1.14]),
    ] {
        let Metrics { r1, r5, r10, median_rank, mean_rank, .. } = metrics(ranked);
        assert_eq!([r1, r5, r10, median_rank.unwrap(), mean_rank.unwrap()], expected);
    }
    check(Set { dim, images, texts, image_of_text }, Ties::None);
}

/// Rows, columns and numbers of a two-dimensional float32 .npy file of format 1.0, little-endian, C order.
fn read_npy(path: &Path) -> (usize, usize, Vec<f32>) {
    let bytes = fs_err::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "format 1.0");
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..header_end]).unwrap();
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split(['(', ')']).nth(1).unwrap();
    let shape: Vec<usize> = shape.split(',').map(|n| n.trim().parse().unwrap()).collect();
    let numbers = bytes[header_end..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    (shape[0], shape[1], numbers.collect())
}
