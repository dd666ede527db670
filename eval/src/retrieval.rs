//! Ranks of the right answers in an exact search, without ever holding a score matrix.
//!
//! R@K needs of each query only *where its best positive stands*, and that is a count: 1 + the items that go before it. So
//! the positives' scores are computed first, and then small tiles of the captions × images matrix are made, compared with
//! them, counted and forgotten. Memory is one copy of the embeddings and one counter per item; 25,000 × 5,000 pairs of 512
//! components take a second or two on two cores.
//!
//! The order of results is Pictor's own ([`pictor_core::Hit::rank`]): best score first, equal scores by index. CLIP_benchmark
//! ranks by `torch.topk`, which leaves the order of equal scores open, so this is one of the orders it may give.
//! What must stay true: a pair's score depends on its two vectors alone and not on where in a tile it is computed, else
//! equal vectors would not tie; hence one kernel, the same order of additions for each pair, and padding instead of edges.

use pictor_core::EmbeddingBatch;
use rayon::prelude::*;

use crate::report::PROTOCOL;
use crate::{EvalError, Recall, RetrievalReport};

/// Captions in a tile. 4 × 16 accumulators of f32 fill half of the sixteen 256-bit registers, enough to keep two FMA units
/// busy (8 chains for 4 cycles of latency × 2).
const TEXTS: usize = 4;
/// Images in a tile: two 256-bit vectors.
const IMAGES: usize = 16;
/// Groups of [`TEXTS`] captions that one task takes through all images, so that they stay in the L2 cache.
const GROUPS_PER_TASK: usize = 16;

/// A tile of scores: caption × image.
type Tile = [[f32; IMAGES]; TEXTS];
/// Makes a tile of a group of captions and a group of images, both as [`pack`] lays them out.
type Kernel = fn(&[[f32; TEXTS]], &[[f32; IMAGES]]) -> Tile;

/// R@K of exact search between `images` and `texts`, both directions, as CLIP_benchmark defines it: a query is answered at K
/// when any of its positives is among the first K. `image_of_text[t]` is the image that text `t` describes; an image may have
/// any number of texts.
///
/// # Errors
/// [`EvalError`] when a side is empty, the dimensions differ, or `image_of_text` does not fit them.
///
/// # Example
/// ```
/// use pictor_core::EmbeddingBatch;
/// let images = EmbeddingBatch::new(2, vec![1.0, 0.0, 0.0, 1.0])?;
/// let texts = EmbeddingBatch::new(2, vec![0.8, 0.6, 0.6, 0.8, 1.0, 0.0])?;
/// let report = pictor_eval::retrieval(&images, &texts, &[0, 1, 1])?;
/// assert_eq!(report.text_to_image.r1.round(), 67.0); // the third caption is nearer to image 0 than to its own
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn retrieval(
    images: &EmbeddingBatch,
    texts: &EmbeddingBatch,
    image_of_text: &[usize],
) -> Result<RetrievalReport, EvalError> {
    if images.is_empty() || texts.is_empty() {
        return Err(EvalError::Nothing { images: images.len(), captions: texts.len() });
    }
    if images.dim() != texts.dim() {
        return Err(EvalError::Dimensions { images: images.dim(), texts: texts.dim() });
    }
    check_images(image_of_text, texts.len(), images.len())?;

    let (text_ranks, image_ranks) = ranks(images, texts, image_of_text);
    let image_ranks: Vec<Option<usize>> = image_ranks.into_iter().flatten().map(Some).collect();
    let text_ranks: Vec<Option<usize>> = text_ranks.into_iter().map(Some).collect();
    Ok(RetrievalReport {
        text_to_image: Recall::from_ranks(&text_ranks),
        image_to_text: Recall::from_ranks(&image_ranks),
        images: images.len(),
        captions: texts.len(),
        images_without_captions: images.len() - image_ranks.len(),
        protocol: PROTOCOL.into(),
    })
}

/// R@K text → image from what an index returned: `rankings[t]` holds the images found for text `t`, best first, and
/// `image_of_text[t]` the one it describes, both counted among the dataset's `images` images. An index may hold further
/// images, which compete as well: any number from `images` up stands for them. Rankings of an exact search over the same
/// images give the figures of [`retrieval`].
///
/// # Errors
/// [`EvalError`] when the lists differ in length, `image_of_text` names an image that is not there, or a ranking has fewer
/// than min(10, `images`) entries, so that R@10 would be wrong.
pub fn recall_from_rankings(
    rankings: &[Vec<usize>],
    image_of_text: &[usize],
    images: usize,
) -> Result<Recall, EvalError> {
    if images == 0 || image_of_text.is_empty() {
        return Err(EvalError::Nothing { images, captions: image_of_text.len() });
    }
    if rankings.len() != image_of_text.len() {
        let (received, expected) = (rankings.len(), image_of_text.len());
        return Err(EvalError::Length { what: "rankings", received, expected });
    }
    check_images(image_of_text, image_of_text.len(), images)?;
    let expected = images.min(10);
    let ranks = rankings.iter().zip(image_of_text).enumerate().map(|(caption, (ranking, positive))| {
        match ranking.len() {
            received if received < expected => Err(EvalError::ShortRanking { caption, received, expected }),
            _ => Ok(ranking.iter().position(|image| image == positive).map(|place| place + 1)),
        }
    });
    Ok(Recall::from_ranks(&ranks.collect::<Result<Vec<_>, _>>()?))
}

fn check_images(image_of_text: &[usize], texts: usize, images: usize) -> Result<(), EvalError> {
    if image_of_text.len() != texts {
        let received = image_of_text.len();
        return Err(EvalError::Length { what: "image indices", received, expected: texts });
    }
    match image_of_text.iter().enumerate().find(|&(_, &image)| image >= images) {
        Some((caption, &image)) => Err(EvalError::NoSuchImage { caption, image, images }),
        None => Ok(()),
    }
}

/// An item's place in the order of results: the score, then the index.
#[derive(Clone, Copy)]
struct Place {
    score: f32,
    index: usize,
}

impl Place {
    /// Whether the item with `score` and `index` goes before this one. Scores are sums of finite products, never NaN.
    fn is_behind(self, score: f32, index: usize) -> bool {
        score > self.score || (score == self.score && index < self.index)
    }
}

/// Rank from 1 of each text's image, and of each image's best text (`None` for an image without texts).
fn ranks(
    images: &EmbeddingBatch,
    texts: &EmbeddingBatch,
    image_of_text: &[usize],
) -> (Vec<usize>, Vec<Option<usize>>) {
    let (text_panels, image_panels) = (pack::<TEXTS>(texts), pack::<IMAGES>(images));
    let dim = texts.dim();
    let kernel = kernel();

    // Where each text's image stands among the images, and each image's best text among the texts.
    let image_places: Vec<Place> = image_of_text
        .par_iter()
        .enumerate()
        .map(|(text, &image)| {
            let tile =
                kernel(panel(&text_panels, dim, text / TEXTS), panel(&image_panels, dim, image / IMAGES));
            Place { score: tile[text % TEXTS][image % IMAGES], index: image }
        })
        .collect();
    let mut text_places: Vec<Option<Place>> = vec![None; images.len()];
    for (text, &Place { score, index: image }) in image_places.iter().enumerate() {
        if text_places[image].is_none_or(|best| best.is_behind(score, text)) {
            text_places[image] = Some(Place { score, index: text });
        }
    }

    // How many items go before them.
    let mut text_ranks = vec![1_usize; texts.len()];
    let before_best_text = text_ranks
        .par_chunks_mut(GROUPS_PER_TASK * TEXTS)
        .enumerate()
        .fold(
            || vec![0_usize; images.len()],
            |mut before, (task, text_ranks)| {
                let first_text = task * GROUPS_PER_TASK * TEXTS;
                for (image_group, image_panel) in image_panels.chunks(dim).enumerate() {
                    let first_image = image_group * IMAGES;
                    for (group, text_ranks) in text_ranks.chunks_mut(TEXTS).enumerate() {
                        let tile = kernel(panel(&text_panels, dim, first_text / TEXTS + group), image_panel);
                        for (t, (text_rank, scores)) in text_ranks.iter_mut().zip(tile).enumerate() {
                            let text = first_text + group * TEXTS + t;
                            // `zip` with the images that there are leaves the padding of the last panel out.
                            let real = (first_image..images.len()).zip(scores);
                            for (image, score) in real {
                                *text_rank += usize::from(image_places[text].is_behind(score, image));
                                let behind =
                                    text_places[image].is_some_and(|best| best.is_behind(score, text));
                                before[image] += usize::from(behind);
                            }
                        }
                    }
                }
                before
            },
        )
        .reduce(
            || vec![0; images.len()],
            |mut sum, part| {
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                sum
            },
        );
    let image_ranks = before_best_text
        .into_iter()
        .zip(text_places)
        .map(|(before, best)| best.map(|_| before + 1))
        .collect();
    (text_ranks, image_ranks)
}

/// Rows in groups of `W`, component-major within a group, so that a kernel reads `W` rows' component `d` side by side:
/// group `g` is `packed[g * dim..][..dim]`. The last group is padded with zeros.
fn pack<const W: usize>(rows: &EmbeddingBatch) -> Vec<[f32; W]> {
    let dim = rows.dim();
    let mut packed = vec![[0.0; W]; rows.len().div_ceil(W) * dim];
    for (i, row) in rows.rows().enumerate() {
        let group = &mut packed[i / W * dim..][..dim];
        for (components, &x) in group.iter_mut().zip(row) {
            components[i % W] = x;
        }
    }
    packed
}

/// Group `group` of packed rows.
fn panel<const W: usize>(packed: &[[f32; W]], dim: usize, group: usize) -> &[[f32; W]] {
    &packed[group * dim..][..dim]
}

/// Inner products of a group of texts with a group of images, each summed component by component from the first.
#[inline(always)]
fn tile<const FMA: bool>(texts: &[[f32; TEXTS]], images: &[[f32; IMAGES]]) -> Tile {
    let mut sums = [[0.0; IMAGES]; TEXTS];
    for (text, image) in texts.iter().zip(images) {
        for (sums, &x) in sums.iter_mut().zip(text) {
            for (sum, &y) in sums.iter_mut().zip(image) {
                // Without FMA hardware `mul_add` is a library call, a hundred times slower.
                *sum = if FMA { x.mul_add(y, *sum) } else { *sum + x * y };
            }
        }
    }
    sums
}

/// The fastest kernel of this CPU. One is chosen per evaluation, so all its scores are rounded alike.
fn kernel() -> Kernel {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(texts: &[[f32; TEXTS]], images: &[[f32; IMAGES]]) -> Tile {
            tile::<true>(texts, images)
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features that `avx2` is compiled for were detected on the line above, and do not go away.
            return |texts, images| unsafe { avx2(texts, images) };
        }
    }
    tile::<false>
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors made of a hash, spread around nothing in particular.
    fn noise(rows: usize, dim: usize, seed: u32) -> Vec<f32> {
        (0..rows * dim)
            .map(|i| {
                let hash = (i as u32 ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(2_654_435_761);
                let hash = (hash ^ (hash >> 15)).wrapping_mul(0x85eb_ca6b);
                (hash >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn batch(dim: usize, data: Vec<f32>) -> EmbeddingBatch {
        EmbeddingBatch::normalise(dim, data).unwrap()
    }

    /// The slow obvious twin: every score, every list sorted.
    fn by_sorting(images: &EmbeddingBatch, texts: &EmbeddingBatch, of: &[usize]) -> (Recall, Recall) {
        let kernel = kernel();
        let (text_panels, image_panels) = (pack::<TEXTS>(texts), pack::<IMAGES>(images));
        let dim = texts.dim();
        let score = |t: usize, i: usize| {
            kernel(panel(&text_panels, dim, t / TEXTS), panel(&image_panels, dim, i / IMAGES))[t % TEXTS]
                [i % IMAGES]
        };
        let sorted = |n: usize, score: &dyn Fn(usize) -> f32| {
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
            order
        };
        let texts_first = (0..texts.len()).map(|t| {
            let order = sorted(images.len(), &|i| score(t, i));
            order.iter().position(|&i| i == of[t]).map(|place| place + 1)
        });
        let images_first = (0..images.len()).filter(|image| of.contains(image)).map(|i| {
            let order = sorted(texts.len(), &|t| score(t, i));
            order.iter().position(|&t| of[t] == i).map(|place| place + 1)
        });
        (
            Recall::from_ranks(&texts_first.collect::<Vec<_>>()),
            Recall::from_ranks(&images_first.collect::<Vec<_>>()),
        )
    }

    #[test]
    fn a_matrix_made_by_hand() {
        // The axes are the images, so a text's components are its scores (times its norm).
        let images = batch(3, vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let texts = batch(
            3,
            vec![
                3.0, 2.0, 1.0, // of image 0, rank 1
                2.0, 3.0, 1.0, // of image 0, rank 2
                3.0, 2.0, 1.0, // of image 2, rank 3
                1.0, 3.0, 2.0, // of image 2, rank 2
            ],
        );
        let report = retrieval(&images, &texts, &[0, 0, 2, 2]).unwrap();
        let t2i = report.text_to_image;
        assert_eq!((t2i.r1, t2i.r5, t2i.median_rank, t2i.mean_rank), (25.0, 100.0, Some(2.0), Some(2.0)));
        // Image 0 finds text 0 first (a tie with text 2, which comes later); image 2 finds text 3 first.
        let i2t = report.image_to_text;
        assert_eq!((i2t.r1, i2t.mean_rank), (100.0, Some(1.0)));
        assert_eq!((report.images, report.captions, report.images_without_captions), (3, 4, 1));
    }

    #[test]
    fn ties_rank_by_index() {
        // 20 equal images (more than one tile) and one caption of each: text t's image is behind the t before it.
        let images = batch(2, [0.6, 0.8].repeat(20));
        let texts = batch(2, [1.0, 0.0].repeat(20));
        let of: Vec<usize> = (0..20).collect();
        let report = retrieval(&images, &texts, &of).unwrap();
        for recall in [report.text_to_image, report.image_to_text] {
            assert_eq!((recall.r1, recall.r5, recall.r10), (5.0, 25.0, 50.0));
            assert_eq!((recall.median_rank, recall.mean_rank), (Some(10.5), Some(10.5)));
        }
    }

    #[test]
    fn equals_sorting_for_all_shapes() {
        for (seed, (images, texts, dim)) in
            [(1, 1, 1), (1, 9, 3), (16, 4, 8), (17, 5, 7), (33, 90, 16), (40, 131, 5), (70, 300, 2)]
                .into_iter()
                .enumerate()
        {
            let seed = seed as u32;
            // Repeated vectors on both sides make ties; hashing spreads captions unevenly, so some images get none.
            let mut image_data = noise(images, dim, seed);
            let mut text_data = noise(texts, dim, seed + 100);
            if images > 2 {
                image_data.copy_within(0..dim, (images - 1) * dim);
                text_data.copy_within(0..dim, (texts - 1) * dim);
            }
            let of: Vec<usize> = (0..texts).map(|t| (t * t + 7 * t) % images).collect();
            let (images, texts) = (batch(dim, image_data), batch(dim, text_data));
            let report = retrieval(&images, &texts, &of).unwrap();
            assert_eq!((report.text_to_image, report.image_to_text), by_sorting(&images, &texts, &of));
        }
    }

    #[test]
    fn rankings_of_an_exact_search_give_the_same_figures() {
        let (images, texts) = (batch(8, noise(30, 8, 1)), batch(8, noise(90, 8, 2)));
        let of: Vec<usize> = (0..90).map(|t| t / 3).collect();
        let rankings: Vec<Vec<usize>> = texts
            .rows()
            .map(|text| {
                let mut order: Vec<usize> = (0..30).collect();
                let score = |i: usize| pictor_core::dot(text, images.row(i).unwrap());
                order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
                order.truncate(12);
                order
            })
            .collect();
        let exact = retrieval(&images, &texts, &of).unwrap().text_to_image;
        let listed = recall_from_rankings(&rankings, &of, 30).unwrap();
        assert_eq!((listed.r1, listed.r5, listed.r10), (exact.r1, exact.r5, exact.r10));
        assert_eq!(listed.mean_rank, None, "12 of 30 images do not hold every positive");

        assert!(matches!(
            recall_from_rankings(&vec![vec![0; 9]; 90], &of, 30),
            Err(EvalError::ShortRanking { caption: 0, received: 9, expected: 10 })
        ));
        assert!(matches!(recall_from_rankings(&[], &of, 30), Err(EvalError::Length { .. })));
        assert!(recall_from_rankings(&[vec![1, 0]], &[0], 2).is_ok(), "two images rank in a list of two");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let two = batch(2, vec![1.0, 0.0, 0.0, 1.0]);
        let three = batch(3, vec![1.0, 0.0, 0.0]);
        let none = EmbeddingBatch::new(2, vec![]).unwrap();
        assert!(matches!(retrieval(&two, &three, &[0]), Err(EvalError::Dimensions { images: 2, texts: 3 })));
        assert!(matches!(retrieval(&two, &none, &[]), Err(EvalError::Nothing { images: 2, captions: 0 })));
        assert!(matches!(
            retrieval(&two, &two, &[0]),
            Err(EvalError::Length { received: 1, expected: 2, .. })
        ));
        assert!(matches!(
            retrieval(&two, &two, &[0, 2]),
            Err(EvalError::NoSuchImage { caption: 1, image: 2, images: 2 })
        ));
    }
}
