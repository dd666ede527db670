//! The exact answer, and how much of it was found.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use npyz::WriterBuilder;
use pictor_ann::{IndexKind, Rows, SearchOptions, VectorIndex};
use rayon::prelude::*;

use super::matrix::Matrix;

/// Two scores that differ by less are equal: sums of products of unit vectors, added in another order, are this close.
pub const TIE: f32 = 1e-6;

/// Queries whose stored exact scores are computed again, to notice a file made of other vectors.
const CHECKED: usize = 4;

/// Exact scores of the nearest rows of each query, best first.
pub struct Truth {
    width: usize,
    scores: Vec<f32>,
}

impl Truth {
    /// The `k` best of each query, from the file when it is there, else by exact search and into the file.
    ///
    /// # Errors
    /// When the file holds too little, or is of other vectors.
    pub fn get(
        exact: &dyn VectorIndex,
        queries: &[Vec<f32>],
        k: usize,
        file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let k = k.min(exact.len());
        match file {
            Some(path) if path.try_exists()? => Self::read(exact, queries, k, path),
            _ => {
                let truth = Self::compute(exact, queries, k)?;
                if let Some(path) = file {
                    truth.write(path).with_context(|| format!("failed to write {}", path.display()))?;
                }
                Ok(truth)
            }
        }
    }

    fn compute(exact: &dyn VectorIndex, queries: &[Vec<f32>], k: usize) -> anyhow::Result<Self> {
        let search = |query: &Vec<f32>| scores(exact, query, k, &SearchOptions::default());
        let all = queries.par_iter().map(search).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { width: k, scores: all.concat() })
    }

    fn read(exact: &dyn VectorIndex, queries: &[Vec<f32>], k: usize, path: &Path) -> anyhow::Result<Self> {
        let matrix = Matrix::read(path)?;
        let width = matrix.dim();
        let truth = Self { width, scores: matrix.into_f32() };
        let stale = || format!("{} is not of these vectors; delete it", path.display());
        ensure!(width >= k && truth.scores.len() >= queries.len() * width, stale());
        for (i, query) in queries.iter().enumerate().take(CHECKED) {
            let now = scores(exact, query, k, &SearchOptions::default())?;
            ensure!(now.iter().zip(truth.of(i)).all(|(a, b)| (a - b).abs() < TIE), stale());
        }
        Ok(truth)
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut file = BufWriter::new(fs_err::File::create(path)?);
        let shape = [self.scores.len().checked_div(self.width).unwrap_or(0) as u64, self.width as u64];
        let mut writer =
            npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut file).begin_nd()?;
        writer.extend(self.scores.iter().copied())?;
        writer.finish()?;
        file.flush()?;
        Ok(())
    }

    /// The scores of query `i`.
    pub fn of(&self, i: usize) -> &[f32] {
        &self.scores[i * self.width..(i + 1) * self.width]
    }
}

/// Exact search over the rows, the oracle.
pub fn exact(rows: &Rows) -> anyhow::Result<Box<dyn VectorIndex>> {
    Ok(pictor_ann::open(&IndexKind::Flat, rows.clone(), Path::new(""))?)
}

/// The scores of one search, best first.
pub fn scores(
    index: &dyn VectorIndex,
    query: &[f32],
    k: usize,
    options: &SearchOptions<'_>,
) -> anyhow::Result<Vec<f32>> {
    Ok(index.search(query, k, options)?.into_iter().map(|found| found.score).collect())
}

/// The share of the `k` best that was found: found rows that score no less than the k-th best row, of the `k` (or of all rows,
/// where there are fewer). Rows of equal score stand for each other.
pub fn recall(found: &[f32], truth: &[f32], k: usize) -> f64 {
    let truth = &truth[..k.min(truth.len())];
    match truth.last() {
        None => 1.0,
        Some(worst) => {
            let good = found.iter().filter(|&&score| score >= worst - TIE).count();
            good.min(truth.len()) as f64 / truth.len() as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_counts_what_is_as_good_as_the_best() {
        let truth = [0.9, 0.8, 0.7, 0.6];
        assert_eq!(recall(&[0.9, 0.8, 0.5], &truth, 3), 2.0 / 3.0);
        assert_eq!(recall(&[0.9, 0.7, 0.7], &truth, 3), 1.0, "a tie stands for the row it ties with");
        assert_eq!(recall(&[], &truth, 2), 0.0);
        assert_eq!(recall(&[], &[], 2), 1.0, "nothing to find");
        assert_eq!(recall(&[0.9, 0.8], &truth[..2], 10), 1.0, "all there are");
    }

    #[test]
    fn a_truth_of_other_vectors_is_noticed() {
        let rows = |shift: usize| {
            let unit = |i: usize| [((i + shift) as f32).cos(), ((i + shift) as f32).sin()];
            Rows::from_vec(2, (0..50).flat_map(unit).collect()).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("truth.npy");
        let queries = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
        let index = exact(&rows(0)).unwrap();
        let made = Truth::get(&*index, &queries, 5, Some(&path)).unwrap();
        let read = Truth::get(&*index, &queries, 3, Some(&path)).unwrap();
        assert_eq!((made.of(1), made.of(1).len()), (read.of(1), 5));
        let other = exact(&rows(1000)).unwrap();
        let error = Truth::get(&*other, &queries, 5, Some(&path)).err().unwrap().to_string();
        assert!(error.contains("delete it"), "{error}");
        let error = Truth::get(&*index, &queries, 6, Some(&path)).err().unwrap().to_string();
        assert!(error.contains("delete it"), "{error}");
    }
}
