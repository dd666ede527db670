//! Vectors that are known to be comparable.

use thiserror::Error;

/// How far a row's L2 norm may be from 1. Wide enough for f16 storage (relative error 2⁻¹¹ per component), narrow enough to
/// catch a vector that nobody normalised.
pub const UNIT_TOLERANCE: f32 = 2e-3;

/// `n` embeddings of `dim` components, row-major f32, **every row finite and of L2 norm 1** (within [`UNIT_TOLERANCE`]).
///
/// The constructor is the one place where this is checked, so everywhere else cosine similarity is the inner product and
/// nothing ever normalises again.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingBatch {
    dim: usize,
    data: Vec<f32>,
}

/// Why numbers are not embeddings.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum EmbeddingError {
    /// The data does not divide into rows.
    #[error("{len} numbers do not divide into rows of {dim}")]
    Shape {
        /// Numbers received.
        len: usize,
        /// Components in a row.
        dim: usize,
    },
    /// A row holds NaN or an infinity.
    #[error("embedding {row} holds {value}; the model produced a number that is not finite")]
    NotFinite {
        /// Row index from 0.
        row: usize,
        /// The first such value.
        value: f32,
    },
    /// A row's norm is not 1 (or is 0, which no direction has).
    #[error("embedding {row} has L2 norm {norm}, expected 1; normalise the vectors first")]
    NotUnit {
        /// Row index from 0.
        row: usize,
        /// The norm received.
        norm: f32,
    },
}

impl EmbeddingBatch {
    /// Checks `data` (row-major, `n × dim`) and takes it.
    ///
    /// # Errors
    /// [`EmbeddingError`] when the length is no multiple of `dim`, or a row is not finite or not of unit norm.
    pub fn new(dim: usize, data: Vec<f32>) -> Result<Self, EmbeddingError> {
        check_shape(dim, data.len())?;
        for (row, vector) in data.chunks_exact(dim.max(1)).enumerate() {
            let norm = finite_norm(row, vector)?;
            if (norm - 1.0).abs() > UNIT_TOLERANCE {
                return Err(EmbeddingError::NotUnit { row, norm });
            }
        }
        Ok(Self { dim, data })
    }

    /// Divides each row of `data` by its L2 norm, then takes it: for vectors that come from outside, and for models whose
    /// graph does not normalise.
    ///
    /// # Errors
    /// As [`EmbeddingBatch::new`]; a zero row is [`EmbeddingError::NotUnit`].
    pub fn normalise(dim: usize, mut data: Vec<f32>) -> Result<Self, EmbeddingError> {
        check_shape(dim, data.len())?;
        for (row, vector) in data.chunks_exact_mut(dim.max(1)).enumerate() {
            let norm = finite_norm(row, vector)?;
            // torch.nn.functional.normalize divides by max(norm, 1e-12); a vector that small has no direction to keep.
            if norm < 1e-12 {
                return Err(EmbeddingError::NotUnit { row, norm });
            }
            vector.iter_mut().for_each(|x| *x /= norm);
        }
        Ok(Self { dim, data })
    }

    /// Components in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim.max(1)
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Row `i`, or `None` past the end.
    pub fn row(&self, i: usize) -> Option<&[f32]> {
        self.data.get(i * self.dim..(i + 1) * self.dim)
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.dim.max(1))
    }

    /// The numbers, row-major.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// Appends the rows of `other`.
    ///
    /// # Errors
    /// [`EmbeddingError::Shape`] when the dimensions differ.
    pub fn extend(&mut self, other: &Self) -> Result<(), EmbeddingError> {
        if other.dim != self.dim {
            return Err(EmbeddingError::Shape { len: other.dim, dim: self.dim });
        }
        self.data.extend_from_slice(&other.data);
        Ok(())
    }
}

fn check_shape(dim: usize, len: usize) -> Result<(), EmbeddingError> {
    if dim == 0 || !len.is_multiple_of(dim) {
        return Err(EmbeddingError::Shape { len, dim });
    }
    Ok(())
}

fn finite_norm(row: usize, vector: &[f32]) -> Result<f32, EmbeddingError> {
    if let Some(&value) = vector.iter().find(|x| !x.is_finite()) {
        return Err(EmbeddingError::NotFinite { row, value });
    }
    // f64: 1,000 squares in f32 may overflow for wild input, and lose digits for tame input.
    Ok(vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt() as f32)
}

/// Inner product of two vectors of equal length; of two unit vectors it is their cosine similarity.
///
/// The plain loop: exact search has a faster one of its own, and its tests compare against this.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_unit_rows_only() {
        let batch = EmbeddingBatch::new(2, vec![0.6, 0.8, 1.0, 0.0]).unwrap();
        assert_eq!((batch.len(), batch.dim()), (2, 2));
        assert_eq!(batch.row(1), Some(&[1.0, 0.0][..]));
        assert_eq!(batch.row(2), None);

        assert_eq!(
            EmbeddingBatch::new(2, vec![1.0, 0.0, 3.0, 4.0]),
            Err(EmbeddingError::NotUnit { row: 1, norm: 5.0 })
        );
        assert!(matches!(
            EmbeddingBatch::new(2, vec![f32::INFINITY, 0.0]),
            Err(EmbeddingError::NotFinite { row: 0, .. })
        ));
        assert_eq!(EmbeddingBatch::new(2, vec![1.0]), Err(EmbeddingError::Shape { len: 1, dim: 2 }));
        assert_eq!(EmbeddingBatch::new(0, vec![]), Err(EmbeddingError::Shape { len: 0, dim: 0 }));
    }

    #[test]
    fn normalises_what_has_a_direction() {
        let batch = EmbeddingBatch::normalise(2, vec![3.0, 4.0, 1e30, 0.0]).unwrap();
        assert_eq!(batch.as_slice(), [0.6, 0.8, 1.0, 0.0]);
        assert!(matches!(
            EmbeddingBatch::normalise(2, vec![0.0, 0.0]),
            Err(EmbeddingError::NotUnit { row: 0, norm: 0.0 })
        ));
    }
}
