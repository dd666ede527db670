//! The vectors an index is built over.
//!
//! Rows stay where they are: a mapped file stays on disk until a search touches it, and no index keeps a second copy of what it
//! can read here. A query is f32; rows are f16 or f32, and one of f16 is widened as it is scored.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use half::f16;
use serde::{Deserialize, Serialize};

use crate::dot::{self, dot};
use crate::sealed::SealedFile;
use crate::topk::Neighbor;
use crate::{AnnError, Head};

/// How the components of stored rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 binary16: half the size, and a cosine of unit vectors within 0.0005 of that of f32 (each component is off by at
    /// most 2⁻¹¹ of itself). What embeddings are usually stored in (clip-retrieval's `.npy` files are f16).
    #[default]
    F16,
    /// IEEE 754 binary32: as the model gave them.
    F32,
}

impl Dtype {
    /// Bytes of one component.
    pub fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        })
    }
}

impl FromStr for Dtype {
    type Err = AnnError;

    fn from_str(text: &str) -> Result<Self, AnnError> {
        match text {
            "f16" => Ok(Self::F16),
            "f32" => Ok(Self::F32),
            _ => Err(AnnError::Dtype { text: text.into() }),
        }
    }
}

/// An immutable matrix, `n × dim`, row-major, f16 or f32, of unit vectors. Cheap to clone: clones share the numbers.
#[derive(Clone)]
pub struct Rows {
    dim: usize,
    len: usize,
    numbers: Numbers,
}

#[derive(Clone)]
enum Numbers {
    F16(Arc<[f16]>),
    F32(Arc<[f32]>),
    File(Arc<SealedFile>, Dtype),
}

impl Rows {
    /// Rows of f32 held in memory.
    ///
    /// # Errors
    /// [`AnnError::Shape`] for numbers that do not divide into rows of `dim` components, [`AnnError::TooManyRows`] beyond
    /// `u32::MAX` rows.
    pub fn from_vec(dim: usize, data: Vec<f32>) -> Result<Self, AnnError> {
        let len = count(dim, data.len())?;
        Ok(Self { dim, len, numbers: Numbers::F32(data.into()) })
    }

    /// Rows of f16 held in memory.
    ///
    /// # Errors
    /// As [`Rows::from_vec`].
    pub fn from_f16(dim: usize, data: Vec<f16>) -> Result<Self, AnnError> {
        let len = count(dim, data.len())?;
        Ok(Self { dim, len, numbers: Numbers::F16(data.into()) })
    }

    /// Rows in the payload of a mapped file, whose head says `dim` and `count` and whose label names the [`Dtype`].
    ///
    /// # Errors
    /// [`AnnError::Damaged`] when the payload is not what the head says.
    pub fn from_file(file: Arc<SealedFile>) -> Result<Self, AnnError> {
        let Head { dim, count: len, label, .. } = file.head();
        let (dim, len, dtype) = (*dim, *len, label.parse::<Dtype>()?);
        let bytes = dim.checked_mul(len).and_then(|n| n.checked_mul(dtype.size()));
        if count(dim, len.saturating_mul(dim))? != len || bytes != Some(file.payload().len()) {
            let reason = format!("{} bytes are not {len} rows of {dim} {dtype}", file.payload().len());
            return Err(AnnError::Damaged { path: file.path().into(), reason });
        }
        Ok(Self { dim, len, numbers: Numbers::File(file, dtype) })
    }

    /// Components in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How the components are written.
    pub fn dtype(&self) -> Dtype {
        match self.numbers {
            Numbers::F16(_) => Dtype::F16,
            Numbers::F32(_) => Dtype::F32,
            Numbers::File(_, dtype) => dtype,
        }
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.dim * self.dtype().size()
    }

    /// Row `i` as f32; `None` past the end.
    ///
    /// # Errors
    /// [`AnnError::Damaged`] when the file under it is.
    pub fn row(&self, i: u32) -> Result<Option<Vec<f32>>, AnnError> {
        match (i as usize) < self.len {
            true => self.range(i as usize, i as usize + 1).map(Some),
            false => Ok(None),
        }
    }

    /// The rows `start..end`, which must exist, as f32.
    ///
    /// # Errors
    /// As [`Rows::row`].
    pub fn range(&self, start: usize, end: usize) -> Result<Vec<f32>, AnnError> {
        let (from, to) = (start * self.row_bytes(), end * self.row_bytes());
        if let Numbers::File(file, _) = &self.numbers
            && !file.is_sound(from..to)
        {
            file.check()?;
        }
        let bytes = &self.bytes()[from..to];
        Ok(match self.dtype() {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|&two| f16::from_le_bytes(two).to_f32()).collect(),
        })
    }

    /// What was found of the file under the rows so far.
    ///
    /// # Errors
    /// [`AnnError::Damaged`] when a part of it that was touched is not as it was written.
    pub fn check(&self) -> Result<(), AnnError> {
        match &self.numbers {
            Numbers::File(file, _) => file.check(),
            _ => Ok(()),
        }
    }

    /// Indexing code relies on an order among distances, which NaN would break.
    pub(crate) fn check_finite(&self) -> Result<(), AnnError> {
        // In pieces, so that a mapped matrix of any size is not copied whole.
        const PIECE: usize = 1024;
        for start in (0..self.len).step_by(PIECE) {
            let rows = self.range(start, self.len.min(start + PIECE))?;
            if let Some(at) = rows.iter().position(|x| !x.is_finite()) {
                return Err(AnnError::RowNotFinite { row: start + at / self.dim });
            }
        }
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        match &self.numbers {
            Numbers::F16(numbers) => {
                // SAFETY: f16 is a transparent u16, whose bytes may be read as bytes; the length is that of the slice.
                unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(&**numbers)) }
            }
            Numbers::F32(numbers) => bytemuck::cast_slice(numbers),
            Numbers::File(file, _) => file.payload(),
        }
    }

    /// Scores rows against `query`, which has `dim` components.
    pub(crate) fn scorer<'a>(&'a self, query: &'a [f32]) -> Scorer<'a> {
        let file = match &self.numbers {
            Numbers::File(file, _) => Some(&**file),
            _ => None,
        };
        Scorer { bytes: self.bytes(), row_bytes: self.row_bytes(), dtype: self.dtype(), file, query }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dim, len, dtype) = (self.dim, self.len, self.dtype());
        f.debug_struct("Rows")
            .field("dim", &dim)
            .field("len", &len)
            .field("dtype", &dtype)
            .finish_non_exhaustive()
    }
}

/// How many rows of `dim` components `numbers` numbers are.
fn count(dim: usize, numbers: usize) -> Result<usize, AnnError> {
    if dim == 0 || dim > i32::MAX as usize {
        return Err(AnnError::Shape { numbers, dim, reason: "a row has between 1 and 2³¹ - 1 components" });
    }
    if !numbers.is_multiple_of(dim) {
        return Err(AnnError::Shape { numbers, dim, reason: "they do not divide into rows" });
    }
    match numbers / dim {
        rows if rows > u32::MAX as usize => Err(AnnError::TooManyRows { rows, limit: u32::MAX as usize }),
        rows => Ok(rows),
    }
}

/// One query against rows. The first touch of a part of a mapped file verifies it; a row on a damaged part scores −∞, and whoever
/// searched asks [`Rows::check`] before the answer leaves.
#[derive(Clone, Copy)]
pub(crate) struct Scorer<'a> {
    bytes: &'a [u8],
    row_bytes: usize,
    dtype: Dtype,
    file: Option<&'a SealedFile>,
    query: &'a [f32],
}

impl Scorer<'_> {
    /// The row's inner product with the query; −∞ for a row that does not exist.
    #[inline]
    pub fn score(&self, row: u32) -> Neighbor {
        let range = row as usize * self.row_bytes..(row as usize + 1) * self.row_bytes;
        let sound = self.file.is_none_or(|file| file.is_sound(range.clone()));
        let score = match self.bytes.get(range).filter(|_| sound) {
            None => f32::NEG_INFINITY,
            Some(bytes) => match self.dtype {
                Dtype::F32 => dot(self.query, bytemuck::cast_slice(bytes)),
                Dtype::F16 => dot::dot_f16(self.query, bytemuck::cast_slice(bytes)),
            },
        };
        Neighbor::new(row, score)
    }

    /// The same, with the check of these rows' part of the file done at once; each row checks itself when that fails.
    pub fn checked(self, rows: Range<usize>) -> Self {
        let bytes = rows.start * self.row_bytes..rows.end * self.row_bytes;
        Self { file: self.file.filter(|file| !file.is_sound(bytes)), ..self }
    }

    /// Asks the processor for a row that will be scored soon.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        #[cfg(target_arch = "x86_64")]
        if let Some(bytes) =
            self.bytes.get(row as usize * self.row_bytes..(row as usize + 1) * self.row_bytes)
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            for line in bytes.chunks(64) {
                // SAFETY: a hint; it reads nothing and faults on nothing.
                unsafe { _mm_prefetch(line.as_ptr().cast(), _MM_HINT_T0) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::SealedWriter;

    #[test]
    fn rows_of_every_dtype_read_alike() {
        let numbers: Vec<f32> = (0..8).map(|i| i as f32 / 8.0).collect();
        let halves: Vec<f16> = numbers.iter().map(|&x| f16::from_f32(x)).collect();
        let wide = Rows::from_vec(2, numbers).unwrap();
        let narrow = Rows::from_f16(2, halves).unwrap();
        assert_eq!((wide.len(), wide.dim(), narrow.len(), narrow.row_bytes()), (4, 2, 4, 4));
        for rows in [&wide, &narrow] {
            assert_eq!(rows.row(3).unwrap(), Some(vec![0.75, 0.875]));
            assert_eq!(rows.row(4).unwrap(), None);
            assert_eq!(rows.scorer(&[1.0, 2.0]).score(1).score, 0.25 + 2.0 * 0.375);
            assert_eq!(rows.scorer(&[1.0, 2.0]).score(4).score, f32::NEG_INFINITY);
        }
        for (dim, len) in [(2, 3), (0, 2)] {
            assert!(matches!(Rows::from_vec(dim, vec![0.0; len]), Err(AnnError::Shape { .. })));
        }
        assert!(Rows::from_vec(2, vec![]).unwrap().is_empty());
        assert!(matches!(
            Rows::from_vec(2, vec![0.0, 1.0, f32::NAN, 0.0]).unwrap().check_finite(),
            Err(AnnError::RowNotFinite { row: 1 })
        ));
    }

    #[test]
    fn a_damaged_row_is_an_error_and_not_a_score() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        let head = Head { magic: *b"PICTRvec", dim: 4, count: 5_000, label: "f16".into() };
        let mut writer = SealedWriter::create(Vec::new(), &head).unwrap();
        let one = f16::from_f32(0.5).to_le_bytes();
        writer.write_all(&one.repeat(4 * 5_000)).unwrap();
        let mut bytes = writer.finish().unwrap();
        bytes[128 + 4_999 * 8] ^= 1;
        fs_err::write(&path, &bytes).unwrap();
        let rows = Rows::from_file(SealedFile::open(&path, &head.magic).unwrap()).unwrap();
        let query = [0.5; 4];
        assert_eq!(rows.scorer(&query).score(0).score, 1.0);
        rows.check().unwrap();
        assert_eq!(rows.scorer(&query).score(4_999).score, f32::NEG_INFINITY);
        assert!(matches!(rows.check(), Err(AnnError::Damaged { .. })));
        assert!(matches!(rows.row(4_999), Err(AnnError::Damaged { .. })));
        assert_eq!(rows.row(0).unwrap().unwrap(), query, "the rest can still be read");
    }

    #[test]
    fn dtypes_read_what_they_print() {
        for dtype in [Dtype::F16, Dtype::F32] {
            assert_eq!(dtype.to_string().parse::<Dtype>().unwrap(), dtype);
            assert_eq!(serde_json::to_string(&dtype).unwrap(), format!("\"{dtype}\""));
        }
        assert!("f64".parse::<Dtype>().is_err());
    }
}
