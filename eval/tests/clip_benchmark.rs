//! The same figures as CLIP_benchmark, to the last query.
//!
//! Expected values come from `recall_at_k` of `clip_benchmark/metrics/zeroshot_retrieval.py` (torch 2, CPU, float32) with
//! `scores = texts @ images.T`, `(recall > 0).mean()`, K = 1, 5, 10; median and mean rank from a stable sort in numpy.

use std::path::{Path, PathBuf};

use pictor_core::EmbeddingBatch;
use pictor_eval::{Recall, retrieval};

fn assert_recall(received: Recall, expected: [f64; 5]) {
    let Recall { r1, r5, r10, median_rank, mean_rank } = received;
    let received = [r1, r5, r10, median_rank.unwrap(), mean_rank.unwrap()];
    for (received, expected) in received.into_iter().zip(expected) {
        assert!((received - expected).abs() < 1e-9, "{received} is not {expected}");
    }
}

/// The numbers that the reference run used: a 32-bit hash of the position, in -1..1.
fn noise(rows: usize, dim: usize, seed: u32) -> Vec<f32> {
    (0..rows * dim)
        .map(|i| {
            let hash = (i as u32 ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(2_654_435_761);
            let hash = (hash ^ (hash >> 15)).wrapping_mul(0x85eb_ca6b);
            (hash >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// 200 images; 1,000 captions, each a quarter of its image and noise.
#[test]
fn made_embeddings() {
    let (images, dim) = (200, 64);
    let image_of_text: Vec<usize> = (0..1000).map(|t| t * 7 % images).collect();
    let image_data = noise(images, dim, 1);
    let mut text_data = noise(1000, dim, 2);
    for (text, &image) in text_data.chunks_exact_mut(dim).zip(&image_of_text) {
        text.iter_mut().zip(&image_data[image * dim..]).for_each(|(t, i)| *t += 0.25 * i);
    }
    let images = EmbeddingBatch::normalise(dim, image_data).unwrap();
    let texts = EmbeddingBatch::normalise(dim, text_data).unwrap();
    let report = retrieval(&images, &texts, &image_of_text).unwrap();
    assert_recall(report.text_to_image, [24.6, 51.0, 62.1, 5.0, 17.495]);
    assert_recall(report.image_to_text, [41.0, 79.0, 86.0, 2.0, 5.73]);
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
    let (rows, dim, image_data) = read_npy(&folder.join("image_embeddings.npy"));
    let (_, _, text_data) = read_npy(&folder.join("text_embeddings.npy"));
    assert_eq!((rows, dim), (500, 512));
    // Image rows repeat, one for each of five captions.
    let each_image_once = image_data.chunks_exact(5 * dim).flat_map(|five| &five[..dim]).copied().collect();
    let images = EmbeddingBatch::new(dim, each_image_once).unwrap();
    let texts = EmbeddingBatch::new(dim, text_data).unwrap();
    let image_of_text: Vec<usize> = (0..500).map(|t| t / 5).collect();

    let report = retrieval(&images, &texts, &image_of_text).unwrap();
    assert_recall(report.text_to_image, [83.2, 99.0, 99.8, 1.0, 1.326]);
    assert_recall(report.image_to_text, [93.0, 100.0, 100.0, 1.0, 1.14]);
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
