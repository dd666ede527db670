//! The links of a graph that FAISS built, out of its serialisation.
//!
//! FAISS's C interface has no door to them, but its file format has: `write_index` of an `IndexHNSW` writes the whole graph, and
//! without the vectors when asked to (faiss/impl/index_write.cpp, `write_HNSW`; `IO_FLAG_SKIP_STORAGE` of faiss/index_io.h). The
//! layout is FAISS 1.12's, the version that is compiled in; the format has kept it since HNSW came.

use crate::graph::Links;

use super::handle::Message;

/// The entry row and the links in `bytes`, which FAISS wrote for an `IndexHNSW` over `rows` rows.
///
/// # Errors
/// What does not fit: a version of FAISS that writes another layout.
pub(super) fn parse(bytes: &[u8], rows: usize) -> Result<(u32, Links), Message> {
    let mut rest = bytes;
    // Which class; components (i32), rows (i64), two unused i64, is_trained (bool), metric (i32).
    take(&mut rest, 4 + 4 + 8 + 8 + 8 + 1 + 4)?;
    // Probability of each level, f64.
    array::<8>(&mut rest)?;
    // Where each layer's neighbours start among those of a row, i32.
    let layer_starts: Vec<usize> =
        array::<4>(&mut rest)?.iter().map(|x| i32::from_le_bytes(*x) as usize).collect();
    // Layers of each row, i32; where its neighbours start, u64; all neighbours, i32, -1 where there is none.
    let layers = array::<4>(&mut rest)?;
    let starts = array::<8>(&mut rest)?;
    let neighbours = array::<4>(&mut rest)?;
    let entry = u32::from_le_bytes(*take(&mut rest, 4)?.as_array().ok_or_else(short)?);
    if layers.len() != rows || starts.len() != rows + 1 || entry as usize >= rows {
        return Err(format!("its graph is over {} rows, not {rows}", layers.len()));
    }
    let mut links = Links::default();
    for (layers, start) in layers.iter().zip(starts) {
        let start = u64::from_le_bytes(*start) as usize;
        let lists = layer_starts.windows(2).take(i32::from_le_bytes(*layers) as usize).map(|ends| {
            let list = neighbours.get(start + ends[0]..start + ends[1]).unwrap_or_default();
            list.iter().map(|row| i32::from_le_bytes(*row)).take_while(|&row| row >= 0).map(|row| row as u32)
        });
        links.push(lists);
    }
    Ok((entry, links))
}

/// A vector as FAISS writes it: its length as u64, its elements of `SIZE` bytes.
fn array<'a, const SIZE: usize>(rest: &mut &'a [u8]) -> Result<&'a [[u8; SIZE]], Message> {
    let len = u64::from_le_bytes(*take(rest, 8)?.as_array().ok_or_else(short)?) as usize;
    let bytes = len.checked_mul(SIZE).ok_or_else(short)?;
    Ok(take(rest, bytes)?.as_chunks().0)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Message> {
    let (taken, left) = rest.split_at_checked(len).ok_or_else(short)?;
    *rest = left;
    Ok(taken)
}

fn short() -> Message {
    "its graph is written in another way than that of FAISS 1.12".into()
}
