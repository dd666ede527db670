//! Matrices in NumPy files: the vectors that are searched, and the queries.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use npyz::half::f16;
use pictor_ann::{Dtype, Head, Rows, SealedFile, SealedWriter};

/// Marks the sealed file of vectors that the benchmark makes for itself.
const MAGIC: [u8; 8] = *b"PICTRbnc";

/// Numbers written at a time.
const PIECE: usize = 1 << 16;

/// A matrix of f16 or f32, row by row.
pub struct Matrix {
    dim: usize,
    numbers: Numbers,
}

enum Numbers {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

impl Matrix {
    /// Reads a NumPy file of shape (rows, dim), float16 or float32, C order.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = BufReader::with_capacity(1 << 20, fs_err::File::open(path)?);
        Self::parse(file).with_context(|| {
            format!("{} is no matrix of float16 or float32; write it with numpy.save", path.display())
        })
    }

    fn parse(file: impl Read) -> anyhow::Result<Self> {
        let npy = npyz::NpyFile::new(file)?;
        let &[_, dim] = npy.shape() else { bail!("its shape is {:?}, expected (rows, dim)", npy.shape()) };
        let dim = usize::try_from(dim)?;
        ensure!(dim > 0, "its rows have no components");
        ensure!(npy.order() == npyz::Order::C, "it is stored column by column, expected C order");
        let numbers = match npy.try_data::<f16>() {
            Ok(data) => Numbers::F16(data.collect::<Result<_, _>>()?),
            Err(npy) => Numbers::F32(npy.data::<f32>()?.collect::<Result<_, _>>()?),
        };
        Ok(Self { dim, numbers })
    }

    /// Components of a row, at least one.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All numbers, row by row.
    pub fn into_f32(self) -> Vec<f32> {
        match self.numbers {
            Numbers::F16(numbers) => numbers.into_iter().map(f16::to_f32).collect(),
            Numbers::F32(numbers) => numbers,
        }
    }

    /// To be searched from memory.
    pub fn into_rows(self) -> anyhow::Result<Rows> {
        Ok(match self.numbers {
            Numbers::F16(numbers) => Rows::from_f16(self.dim, numbers)?,
            Numbers::F32(numbers) => Rows::from_vec(self.dim, numbers)?,
        })
    }

    /// Writes the vectors as a segment of an index keeps them, to be mapped by [`mapped`].
    pub fn seal(&self, path: &Path) -> anyhow::Result<()> {
        let (dtype, len) = match &self.numbers {
            Numbers::F16(numbers) => (Dtype::F16, numbers.len()),
            Numbers::F32(numbers) => (Dtype::F32, numbers.len()),
        };
        let (dim, count) = (self.dim, len / self.dim);
        let head = Head { magic: MAGIC, dim, count, label: dtype.to_string() };
        let file = BufWriter::with_capacity(1 << 20, fs_err::File::create(path)?);
        let mut file = SealedWriter::create(file, &head)?;
        // In pieces: checksums of two bytes at a time would take longer than the disk.
        match &self.numbers {
            Numbers::F16(numbers) => {
                for piece in numbers.chunks(PIECE) {
                    file.write_all(&piece.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?;
                }
            }
            Numbers::F32(numbers) => {
                for piece in numbers.chunks(PIECE) {
                    file.write_all(&piece.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?;
                }
            }
        }
        file.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok(())
    }
}

/// Maps what [`Matrix::seal`] wrote.
pub fn mapped(path: &Path) -> anyhow::Result<Rows> {
    Ok(Rows::from_file(SealedFile::open(path, &MAGIC)?)?)
}

/// Reads the first `limit` queries of a NumPy file.
pub fn queries(path: &Path, limit: usize) -> anyhow::Result<Vec<Vec<f32>>> {
    let matrix = Matrix::read(path)?;
    let dim = matrix.dim;
    let queries: Vec<Vec<f32>> =
        matrix.into_f32().chunks_exact(dim).take(limit).map(<[f32]>::to_vec).collect();
    ensure!(!queries.is_empty(), "no queries in {}", path.display());
    Ok(queries)
}
