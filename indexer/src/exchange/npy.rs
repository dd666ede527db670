//! A NumPy file of vectors, read a few rows at a time.
//!
//! npyz reads the header; the numbers are read as they lie, because converting a whole block of halves at once is an order of
//! magnitude faster than one number at a time.

use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use npyz::{NpyHeader, Order};

use crate::IndexError;

/// An open file of `rows × dim` numbers.
pub(crate) struct VectorFile {
    path: PathBuf,
    reader: BufReader<fs_err::File>,
    element: Element,
    rows: u64,
    dim: usize,
    /// Rows read so far.
    at: u64,
}

/// The types of number that are read.
#[derive(Clone, Copy)]
enum Element {
    F16,
    F32,
    F64,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl VectorFile {
    /// Opens a file and checks that its header and its length agree.
    ///
    /// # Errors
    /// [`IndexError::VectorFile`] for anything but a two-dimensional, row-major array of little-endian float16, float32 or
    /// float64 that is all there.
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let wrong = |reason: String| IndexError::VectorFile { path: path.to_owned(), reason };
        let file = fs_err::File::open(path).map_err(|error| wrong(error.to_string()))?;
        let length = file.metadata().map_err(|error| wrong(error.to_string()))?.len();
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let header = NpyHeader::from_reader(&mut reader)
            .map_err(|error| wrong(format!("it is no NumPy file ({error})")))?;
        let element = match header.dtype().descr().trim_matches('\'') {
            "<f2" => Element::F16,
            "<f4" => Element::F32,
            "<f8" => Element::F64,
            other => return Err(wrong(format!("its numbers are {other}, expected <f2, <f4 or <f8"))),
        };
        let &[rows, dim] = header.shape() else {
            return Err(wrong(format!("its shape is {:?}, expected (rows, dim)", header.shape())));
        };
        if header.order() == Order::Fortran {
            return Err(wrong("it is in column order; save numpy.ascontiguousarray of it".to_owned()));
        }
        let start = reader.stream_position().map_err(|error| wrong(error.to_string()))?;
        let expected = rows
            .checked_mul(dim)
            .and_then(|numbers| numbers.checked_mul(element.bytes() as u64))
            .and_then(|bytes| bytes.checked_add(start));
        if expected != Some(length) {
            return Err(wrong(format!(
                "it has {length} bytes, and {rows} × {dim} numbers take {}; it was cut short, or is still being written",
                expected.map_or_else(|| "more than there can be".to_owned(), |bytes| bytes.to_string())
            )));
        }
        let dim = usize::try_from(dim).map_err(|_| wrong(format!("rows of {dim} numbers")))?;
        Ok(Self { path: path.to_owned(), reader, element, rows, dim, at: 0 })
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Numbers in a row.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// The next rows, `limit` at most, row-major as f32 in `into`, and how many there were; 0 at the end.
    ///
    /// # Errors
    /// [`IndexError::VectorFile`] when the file cannot be read any more.
    pub(crate) fn read(&mut self, limit: usize, into: &mut Vec<f32>) -> Result<usize, IndexError> {
        let rows = (self.rows - self.at).min(limit as u64) as usize;
        let numbers = rows * self.dim;
        into.clear();
        into.resize(numbers, 0.0);
        let mut bytes = vec![0; numbers * self.element.bytes()];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|error| IndexError::VectorFile { path: self.path.clone(), reason: error.to_string() })?;
        match self.element {
            Element::F16 => {
                let halves: Vec<f16> =
                    bytes.as_chunks().0.iter().map(|&number| f16::from_le_bytes(number)).collect();
                halves.convert_to_f32_slice(into);
            }
            Element::F32 => {
                for (number, bytes) in into.iter_mut().zip(bytes.as_chunks().0) {
                    *number = f32::from_le_bytes(*bytes);
                }
            }
            Element::F64 => {
                for (number, bytes) in into.iter_mut().zip(bytes.as_chunks().0) {
                    *number = f64::from_le_bytes(*bytes) as f32;
                }
            }
        }
        self.at += rows as u64;
        Ok(rows)
    }
}

/// The whole of a NumPy file of vectors: its rows one after the other, and the numbers in a row.
///
/// For data that is compared as a whole; [`crate::import()`] reads files of any size.
///
/// # Errors
/// [`IndexError::VectorFile`] for anything but a two-dimensional, row-major array of little-endian float16, float32 or float64
/// that is all there.
pub fn read_vectors(path: &Path) -> Result<(Vec<f32>, usize), IndexError> {
    let mut file = VectorFile::open(path)?;
    let mut data = Vec::new();
    file.read(usize::MAX, &mut data)?;
    Ok((data, file.dim()))
}

/// A NumPy file of whole numbers, of one dimension or of one column: such as the image row of each caption.
///
/// # Errors
/// [`IndexError::VectorFile`] for any other array, or one that is not all there.
pub fn read_integers(path: &Path) -> Result<Vec<i64>, IndexError> {
    let wrong = |reason: String| IndexError::VectorFile { path: path.to_owned(), reason };
    let bytes = fs_err::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut reader = bytes.as_slice();
    let header = NpyHeader::from_reader(&mut reader)
        .map_err(|error| wrong(format!("it is no NumPy file ({error})")))?;
    let rows = match header.shape() {
        &[rows] | &[rows, 1] => rows,
        other => return Err(wrong(format!("its shape is {other:?}, expected (rows,)"))),
    };
    let descr = header.dtype().descr();
    let descr = descr.trim_matches('\'');
    let (signed, width) = match descr {
        "|i1" | "<i1" => (true, 1),
        "<i2" => (true, 2),
        "<i4" => (true, 4),
        "<i8" => (true, 8),
        "|u1" | "<u1" => (false, 1),
        "<u2" => (false, 2),
        "<u4" => (false, 4),
        "<u8" => (false, 8),
        other => return Err(wrong(format!("its numbers are {other}, expected whole numbers such as <i8"))),
    };
    if Some(reader.len() as u64) != rows.checked_mul(width as u64) {
        return Err(wrong(format!(
            "it has {} bytes for {rows} numbers of {width}; it was cut short",
            reader.len()
        )));
    }
    reader
        .chunks_exact(width)
        .map(|number| {
            let negative = signed && number[width - 1] >= 0x80;
            let mut whole = [if negative { 0xff } else { 0 }; 8];
            whole[..width].copy_from_slice(number);
            let whole = i64::from_le_bytes(whole);
            match !signed && whole < 0 {
                true => Err(wrong("it holds a number above 9223372036854775807".to_owned())),
                false => Ok(whole),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as NumPy writes it: magic, version 1.0, header of a multiple of 64, data.
    fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    fn open(bytes: &[u8]) -> Result<VectorFile, IndexError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        fs_err::write(&path, bytes).unwrap();
        VectorFile::open(&path)
    }

    #[test]
    fn reads_three_types_in_blocks() {
        let values = [1.0, -0.5, 0.25, 2.0, 3.0, -4.0];
        let halves: Vec<u8> = values.iter().flat_map(|&v| f16::from_f64(v).to_le_bytes()).collect();
        let singles: Vec<u8> = values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect();
        let doubles: Vec<u8> = values.iter().flat_map(|&v: &f64| v.to_le_bytes()).collect();
        for (descr, data) in [("<f2", halves), ("<f4", singles), ("<f8", doubles)] {
            let mut file = open(&npy(descr, false, "(3, 2)", &data)).unwrap();
            assert_eq!((file.rows(), file.dim()), (3, 2));
            let mut block = vec![];
            assert_eq!(file.read(2, &mut block).unwrap(), 2);
            assert_eq!(block, [1.0, -0.5, 0.25, 2.0]);
            assert_eq!(file.read(2, &mut block).unwrap(), 1);
            assert_eq!(block, [3.0, -4.0]);
            assert_eq!(file.read(2, &mut block).unwrap(), 0);
        }
        assert_eq!(open(&npy("<f4", false, "(0, 512)", &[])).unwrap().rows(), 0);
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let data = [0; 24];
        for (bytes, words) in [
            (vec![], "no NumPy file"),
            (b"PAR1".to_vec(), "no NumPy file"),
            (npy("<i4", false, "(3, 2)", &data), "<i4"),
            (npy(">f4", false, "(3, 2)", &data), ">f4"),
            (npy("<f4", true, "(3, 2)", &data), "ascontiguousarray"),
            (npy("<f4", false, "(6,)", &data), "[6]"),
            (npy("<f4", false, "(3, 2)", &data[..23]), "cut short"),
            (npy("<f4", false, "(3, 2)", &[0; 25]), "cut short"),
            (npy("<f4", false, "(9223372036854775807, 2)", &data), "more than there can be"),
        ] {
            let error = open(&bytes).err().expect("refused").to_string();
            assert!(error.contains(words) && error.contains("x.npy"), "{error}");
        }
    }

    fn integers(bytes: &[u8]) -> Result<Vec<i64>, IndexError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        fs_err::write(&path, bytes).unwrap();
        read_integers(&path)
    }

    #[test]
    fn reads_whole_files_and_whole_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        let singles: Vec<u8> = [1f32, -0.5, 0.25, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        fs_err::write(&path, npy("<f4", false, "(2, 2)", &singles)).unwrap();
        assert_eq!(read_vectors(&path).unwrap(), (vec![1.0, -0.5, 0.25, 2.0], 2));

        assert_eq!(
            integers(&npy("<i4", false, "(2,)", &[7, 1, 0, 0, 255, 255, 255, 255])).unwrap(),
            [263, -1]
        );
        assert_eq!(integers(&npy("<i8", false, "(1, 1)", &[255; 8])).unwrap(), [-1]);
        assert_eq!(integers(&npy("|u1", false, "(3,)", &[0, 128, 255])).unwrap(), [0, 128, 255]);
        assert_eq!(integers(&npy("|i1", false, "(1,)", &[128])).unwrap(), [-128]);
        assert_eq!(integers(&npy("<u2", false, "(0,)", &[])).unwrap(), [0; 0]);
        for (bytes, words) in [
            (npy("<u8", false, "(1,)", &[255; 8]), "above"),
            (npy("<f4", false, "(1,)", &[0; 4]), "<f4"),
            (npy(">i4", false, "(1,)", &[0; 4]), ">i4"),
            (npy("<i4", false, "(1, 2)", &[0; 8]), "shape"),
            (npy("<i4", false, "(2,)", &[0; 7]), "cut short"),
            (npy("<i4", false, "(18446744073709551615,)", &[0; 8]), "cut short"),
            (b"x".to_vec(), "no NumPy file"),
        ] {
            let error = integers(&bytes).expect_err(words).to_string();
            assert!(error.contains(words) && error.contains("x.npy"), "{error}");
        }
    }

    #[test]
    fn every_cut_and_flip_of_a_header_is_an_error_or_a_file() {
        let whole = npy("<f4", false, "(3, 2)", &[0; 24]);
        for at in 0..whole.len() {
            assert!(open(&whole[..at]).is_err(), "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            let _ = open(&flipped);
        }
    }
}
