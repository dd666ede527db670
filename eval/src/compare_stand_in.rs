//! Stands in for the paired comparison until it is merged; remove this file then.

use crate::EvalError;
use crate::report::{Comparison, Direction};

/// Run minus base with a normal interval.
///
/// # Errors
/// [`EvalError`] when the two have other queries.
pub fn compare(
    (base, before): (&str, &Direction),
    (run, now): (&str, &Direction),
    direction: &str,
) -> Result<Vec<Comparison>, EvalError> {
    if before.ranks.len() != now.ranks.len() {
        let (received, expected) = (now.ranks.len(), before.ranks.len());
        return Err(EvalError::Length { what: "ranks", received, expected });
    }
    let hit = |rank: Option<u32>, k| f64::from(u8::from(rank.is_some_and(|rank| rank <= k)));
    Ok([("R@1", 1), ("R@5", 5), ("R@10", 10)]
        .map(|(metric, k)| {
            let gains: Vec<f64> =
                before.ranks.iter().zip(&now.ranks).map(|(b, n)| 100.0 * (hit(*n, k) - hit(*b, k))).collect();
            let n = gains.len().max(1) as f64;
            let mean = gains.iter().sum::<f64>() / n;
            let error = (gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / n / n).sqrt();
            let interval = [mean - 1.96 * error, mean + 1.96 * error];
            let (base, run, direction, metric) = (base.into(), run.into(), direction.into(), metric.into());
            Comparison { base, run, direction, metric, difference: mean, interval, p: 1.0 }
        })
        .into())
}
