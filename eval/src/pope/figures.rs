//! Figures of yes and no.

use serde::{Deserialize, Serialize};

use crate::EvalError;

/// Answers held against labels. Percentages are 0..=100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Questions asked.
    pub questions: usize,
    /// The probability from which on the answer is yes.
    pub threshold: f32,
    /// Percent of answers that are right.
    pub accuracy: f64,
    /// Percent of yes answers that are right; absent when the answer is never yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// Percent of yes labels that are answered yes; absent when no label is yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN); absent when neither answer nor label is ever yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// Percent of answers that are yes.
    pub yes_ratio: f64,
    /// Area under the ROC curve, 0..=1: the chance that a yes question scores above a no question, ties half; absent when all labels
    /// are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc: Option<f64>,
    /// The highest accuracy that any threshold gives, percent. It is chosen on these very labels: an upper bound, no result.
    pub best_accuracy: f64,
    /// The highest threshold that gives it; absent when that is to answer no to everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_threshold: Option<f32>,
}

/// Figures from the probability of each question's caption and whether the answer is yes.
///
/// # Errors
/// [`EvalError::Rows`] when lengths differ, there is no question, or a number is NaN.
pub fn figures(probabilities: &[f32], labels: &[bool], threshold: f32) -> Result<Figures, EvalError> {
    let wrong = |reason: String| Err(EvalError::Rows { reason });
    let questions = labels.len();
    if questions == 0 || probabilities.len() != questions {
        return wrong(format!(
            "{} probabilities for {questions} questions; both are needed, one for one",
            probabilities.len()
        ));
    }
    if threshold.is_nan() || probabilities.iter().any(|probability| probability.is_nan()) {
        return wrong("a probability is no number; the model is broken".into());
    }
    let percent = |part: usize, of: usize| (of > 0).then(|| 100.0 * part as f64 / of as f64);
    let count = |yes: bool, label: bool| {
        probabilities.iter().zip(labels).filter(|&(&p, &l)| (p >= threshold) == yes && l == label).count()
    };
    let (hit, false_yes, miss) = (count(true, true), count(true, false), count(false, true));
    let right = hit + count(false, false);
    let (best_right, best_threshold, auc) = over_thresholds(probabilities, labels);
    Ok(Figures {
        questions,
        threshold,
        accuracy: 100.0 * right as f64 / questions as f64,
        precision: percent(hit, hit + false_yes),
        recall: percent(hit, hit + miss),
        f1: percent(2 * hit, 2 * hit + false_yes + miss),
        yes_ratio: 100.0 * (hit + false_yes) as f64 / questions as f64,
        auc,
        best_accuracy: 100.0 * best_right as f64 / questions as f64,
        best_threshold,
    })
}

/// Right answers at the best threshold, that threshold, and the area under the curve, in one pass from the highest score down.
fn over_thresholds(scores: &[f32], labels: &[bool]) -> (usize, Option<f32>, Option<f64>) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let all_yes = labels.iter().filter(|&&label| label).count();
    let all_no = labels.len() - all_yes;
    // Above every score: no to everything.
    let mut best = (all_no, None);
    let (mut yes, mut no) = (0, 0);
    let mut area = 0.0;
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let hits = tied.iter().filter(|&&at| labels[at]).count();
        let alarms = tied.len() - hits;
        area += alarms as f64 * (yes as f64 + hits as f64 / 2.0);
        yes += hits;
        no += alarms;
        let right = yes + all_no - no;
        if right > best.0 {
            best = (right, Some(scores[tied[0]]));
        }
    }
    let pairs = all_yes as f64 * all_no as f64;
    (best.0, best.1, (pairs > 0.0).then(|| area / pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_out_by_hand() {
        // TP 2, FP 1, FN 1, TN 1.
        let f = figures(&[0.9, 0.5, 0.7, 0.4, 0.1], &[true, true, false, true, false], 0.5).unwrap();
        assert_eq!((f.accuracy, f.yes_ratio), (60.0, 60.0));
        assert_eq!((f.precision, f.recall, f.f1), (Some(200.0 / 3.0), Some(200.0 / 3.0), Some(400.0 / 6.0)));
        // Pairs (yes, no): 0.9 beats both, 0.5 and 0.4 beat 0.1 alone: 4 of 6. Best: yes from 0.4 on, 4 of 5 right.
        assert_eq!((f.auc, f.best_accuracy, f.best_threshold), (Some(4.0 / 6.0), 80.0, Some(0.4)));
    }

    #[test]
    fn never_yes_and_one_kind_of_label() {
        let f = figures(&[0.1, 0.2], &[false, false], 0.5).unwrap();
        assert_eq!((f.accuracy, f.precision, f.recall, f.f1, f.auc), (100.0, None, None, None, None));
        assert_eq!((f.best_accuracy, f.best_threshold), (100.0, None));
        let f = figures(&[0.5, 0.5], &[true, false], 0.5).unwrap();
        assert_eq!((f.auc, f.best_accuracy, f.best_threshold), (Some(0.5), 50.0, None));
        for (scores, labels) in [(vec![], vec![]), (vec![0.1], vec![]), (vec![f32::NAN], vec![true])] {
            assert!(figures(&scores, &labels, 0.5).is_err());
        }
    }

    #[test]
    fn one_pass_equals_trying_everything() {
        let mut state = 7u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for round in 0..200 {
            let n = 1 + round % 17;
            let scores: Vec<f32> = (0..n).map(|_| next(6) as f32 / 5.0).collect();
            let labels: Vec<bool> = (0..n).map(|_| next(2) == 1).collect();
            let f = figures(&scores, &labels, 0.5).unwrap();
            let right = |t: f32| scores.iter().zip(&labels).filter(|&(&s, &l)| (s >= t) == l).count();
            let best = scores.iter().copied().chain([f32::INFINITY]).map(right).max().unwrap();
            assert_eq!(f.best_accuracy, 100.0 * best as f64 / n as f64);
            assert_eq!(right(f.best_threshold.unwrap_or(f32::INFINITY)), best);
            let (mut won, mut pairs) = (0.0, 0.0);
            for (a, _) in scores.iter().zip(&labels).filter(|(_, l)| **l) {
                for (b, _) in scores.iter().zip(&labels).filter(|(_, l)| !**l) {
                    pairs += 1.0;
                    won += if a > b {
                        1.0
                    } else if a == b {
                        0.5
                    } else {
                        0.0
                    };
                }
            }
            assert_eq!(f.auc, (pairs > 0.0).then(|| won / pairs));
        }
    }
}
