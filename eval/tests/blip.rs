//! BLIP's two-stage evaluation, beside a literal transcript of its loops and on committed score matrices.
//!
//! `golden/blip.json` holds ITC cosines and ITM logits of 20 images and their captions, as whole numbers of 1/65536 and
//! 1/4096 (all sums are exact in f32, and no two in a row or column are equal), and the percentages that the loops of
//! `BLIP/train_retrieval.py` (`evaluation`, `itm_eval`) give in torch and numpy: `[[TR@1, TR@5, TR@10], [IR@1, IR@5, IR@10]]`,
//! by `k_test`, and of the first stage alone.

use std::collections::BTreeMap;

use pictor_eval::{Clusters, EvalError, Ranked, Rankings, Relevance};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    image_of_text: Vec<usize>,
    itc_65536: Vec<Vec<f32>>,
    itm_4096: Vec<Vec<f32>>,
    first_stage: [[f64; 3]; 2],
    two_stage: BTreeMap<usize, [[f64; 3]; 2]>,
}

/// Rows × columns.
type Matrix = Vec<Vec<f32>>;

fn transposed(matrix: &Matrix) -> Matrix {
    (0..matrix[0].len()).map(|column| matrix.iter().map(|row| row[column]).collect()).collect()
}

fn golden() -> (Golden, Matrix, Matrix, Relevance) {
    let golden: Golden = serde_json::from_str(include_str!("golden/blip.json")).unwrap();
    let of = |matrix: &Matrix, unit: f32| -> Matrix {
        matrix.iter().map(|row| row.iter().map(|x| x / unit).collect()).collect()
    };
    let (itc, itm) = (of(&golden.itc_65536, 65_536.0), of(&golden.itm_4096, 4_096.0));
    let relevance = Relevance::from_captions(&golden.image_of_text, itc.len()).unwrap();
    (golden, itc, itm, relevance)
}

/// `evaluation`: -100 everywhere, and ITM + ITC in the `k_test` best of each row by ITC.
fn blip_scores(itc: &Matrix, itm: &Matrix, k_test: usize) -> Matrix {
    let mut scores = vec![vec![-100.0; itc[0].len()]; itc.len()];
    for (i, sims) in itc.iter().enumerate() {
        let mut best: Vec<usize> = (0..sims.len()).collect();
        best.sort_by(|&a, &b| sims[b].total_cmp(&sims[a]));
        for &j in &best[..k_test] {
            scores[i][j] = itm[i][j] + sims[j];
        }
    }
    scores
}

/// `itm_eval`, one direction: percent of rows with a positive below 1, 5 and 10 in `argsort(row)[::-1]`.
fn itm_eval(scores: &Matrix, positives: impl Fn(usize) -> Vec<u32>) -> [f64; 3] {
    let ranks: Vec<usize> = scores
        .iter()
        .enumerate()
        .map(|(index, score)| {
            let mut inds: Vec<usize> = (0..score.len()).collect();
            inds.sort_by(|&a, &b| score[a].total_cmp(&score[b]));
            inds.reverse();
            let place = |i: u32| inds.iter().position(|&j| j == i as usize).unwrap();
            positives(index).into_iter().map(place).min().unwrap()
        })
        .collect();
    [1, 5, 10].map(|k| 100.0 * ranks.iter().filter(|&&rank| rank < k).count() as f64 / ranks.len() as f64)
}

fn recalls(ranked: &[Ranked]) -> [f64; 3] {
    let metrics = pictor_eval::direction(ranked, &Clusters::single(ranked.len())).unwrap().metrics;
    [metrics.r1, metrics.r5, metrics.r10]
}

fn first_stage(itc: &Matrix, relevance: &Relevance) -> Rankings {
    pictor_eval::from_scores(&transposed(itc).concat(), relevance, usize::MAX).unwrap()
}

/// ITM + ITC of a query with each of the items, from the matrix of its direction.
fn matcher(itc: Matrix, itm: Matrix) -> impl FnMut(u32, &[u32]) -> Result<Vec<f32>, EvalError> {
    move |query, items| {
        let (itc, itm) = (&itc[query as usize], &itm[query as usize]);
        Ok(items.iter().map(|&item| itm[item as usize] + itc[item as usize]).collect())
    }
}

#[test]
fn two_stages_give_blips_percentages() {
    let (golden, itc, itm, relevance) = golden();
    let (itc_t, itm_t) = (transposed(&itc), transposed(&itm));
    let texts = |image: u32| relevance.texts_of_image(image);
    let images = |text: u32| relevance.images_of_text(text);
    let first = first_stage(&itc, &relevance);
    assert_eq!([recalls(&first.image_to_text), recalls(&first.text_to_image)], golden.first_stage);

    assert!(!golden.two_stage.is_empty());
    for (k_test, expected) in golden.two_stage {
        let i2t = pictor_eval::rerank(&first.image_to_text, k_test, texts, matcher(itc.clone(), itm.clone()));
        let t2i =
            pictor_eval::rerank(&first.text_to_image, k_test, images, matcher(itc_t.clone(), itm_t.clone()));
        let (i2t, t2i) = (i2t.unwrap(), t2i.unwrap());
        assert_eq!([recalls(&i2t), recalls(&t2i)], expected, "k_test {k_test}");

        // The loops themselves, and their matrices read as they are.
        let (scores_i2t, scores_t2i) = (blip_scores(&itc, &itm, k_test), blip_scores(&itc_t, &itm_t, k_test));
        let loops = [
            itm_eval(&scores_i2t, |image| texts(image as u32).to_vec()),
            itm_eval(&scores_t2i, |text| images(text as u32).to_vec()),
        ];
        assert_eq!(loops, expected, "k_test {k_test}");
        for (scores, reranked, positives) in
            [(&scores_i2t, &i2t, &texts as &(dyn Fn(u32) -> _ + Sync)), (&scores_t2i, &t2i, &images)]
        {
            let read =
                pictor_eval::from_score_rows(&scores.concat(), scores[0].len(), positives, k_test).unwrap();
            for (read, reranked) in read.iter().zip(reranked) {
                assert_eq!(read.top, reranked.top[..k_test], "the same candidates with the same scores");
                let within = |ranked: &Ranked| ranked.outcome.rank.filter(|&rank| rank as usize <= k_test);
                assert_eq!(within(read), within(reranked));
            }
        }
    }
}

#[test]
fn what_is_not_reranked_stays_where_it_was() {
    let (_, itc, itm, relevance) = golden();
    let first = first_stage(&itc, &relevance).image_to_text;
    let texts = |image: u32| relevance.texts_of_image(image);
    let reranked = pictor_eval::rerank(&first, 7, texts, matcher(itc.clone(), itm)).unwrap();
    for (first, reranked) in first.iter().zip(&reranked) {
        assert_eq!(first.top[7..], reranked.top[7..]);
        let items = |ranked: &Ranked| {
            let mut items: Vec<u32> = ranked.top[..7].iter().map(|c| c.item).collect();
            items.sort_unstable();
            items
        };
        assert_eq!(items(first), items(reranked));
        let [before, after] = [first, reranked].map(|ranked| ranked.outcome.rank.unwrap());
        assert!(if before <= 7 { after <= 7 } else { after == before });
    }

    // A ranking of which only a head was kept knows the rank of what was not.
    let kept = pictor_eval::from_scores(&transposed(&itc).concat(), &relevance, 7).unwrap().image_to_text;
    let same = |_: u32, items: &[u32]| Ok::<_, EvalError>(vec![0.0; items.len()]);
    let unmoved = pictor_eval::rerank(&kept, 7, texts, same).unwrap();
    for (before, after) in first.iter().zip(&unmoved) {
        assert_eq!(before.outcome.rank, after.outcome.rank, "equal scores keep the order");
    }
}

#[test]
fn a_stage_that_does_not_fit_is_an_error() {
    let (_, itc, _, relevance) = golden();
    let kept = pictor_eval::from_scores(&transposed(&itc).concat(), &relevance, 7).unwrap().image_to_text;
    let texts = |image: u32| relevance.texts_of_image(image);
    let scores = |n: usize| move |_: u32, _: &[u32]| Ok::<_, EvalError>(vec![0.0; n]);
    let error = pictor_eval::rerank(&kept, 8, texts, scores(8)).unwrap_err().to_string();
    assert_eq!(error, "the ranking of query 0 has 7 items, 8 are needed; keep more of it");
    let error = pictor_eval::rerank(&kept, 5, texts, scores(4)).unwrap_err().to_string();
    assert_eq!(error, "4 scores for the 5 candidates of query 0; a matcher gives one for each pair");
    let failing = |_: u32, _: &[u32]| Err(EvalError::Nothing { images: 0, captions: 0 });
    assert!(matches!(pictor_eval::rerank(&kept, 5, texts, failing), Err(EvalError::Nothing { .. })));
    let none = |_: u32, items: &[u32]| {
        assert!(items.is_empty());
        Ok::<_, EvalError>(Vec::new())
    };
    assert_eq!(pictor_eval::rerank(&kept, 0, texts, none).unwrap()[0].top, kept[0].top);
}
