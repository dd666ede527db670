//! Writing a segment's files, each from its first byte to its checksums in one pass.

use std::io::{self, Write};
use std::path::Path;

use half::f16;
use pictor_ann::{Dtype, Head, RowSet, SealedWriter};
use pictor_core::ImageId;

use super::{DELETED, IDS, VECTORS};
use crate::directory::{Directory, DurableFile};

type Writer = SealedWriter<Box<dyn DurableFile>>;

/// Writes `vectors.bin` and `ids.bin` side by side, so that a merge of any size needs no memory for its rows.
pub(crate) struct RowsWriter {
    vectors: Writer,
    ids: Writer,
    dtype: Dtype,
    last: Option<ImageId>,
    left: usize,
}

impl RowsWriter {
    /// Starts both files in `dir`, which exists. `count` rows must follow.
    pub(crate) fn create(
        directory: &dyn Directory,
        dir: &Path,
        dim: usize,
        dtype: Dtype,
        count: usize,
    ) -> io::Result<Self> {
        let create = |(file, magic): (&str, [u8; 8]), dim, label: String| {
            SealedWriter::create(directory.create(&dir.join(file))?, &Head { magic, dim, count, label })
        };
        let vectors = create(VECTORS, dim, dtype.to_string())?;
        let ids = create(IDS, 1, "u64".into())?;
        Ok(Self { vectors, ids, dtype, last: None, left: count })
    }

    /// Appends one row; ids must ascend. With [`Dtype::F16`] each component is rounded to the nearest.
    pub(crate) fn push(&mut self, id: ImageId, vector: &[f32]) -> io::Result<()> {
        assert!(self.last < Some(id), "rows are written by ascending id; this is a bug");
        self.left = self.left.checked_sub(1).expect("more rows than promised; this is a bug");
        self.last = Some(id);
        match self.dtype {
            Dtype::F32 => self.vectors.write_all(bytemuck::cast_slice(vector))?,
            Dtype::F16 => {
                let halves: Vec<u16> = vector.iter().map(|&x| f16::from_f32(x).to_bits()).collect();
                self.vectors.write_all(bytemuck::cast_slice(&halves))?;
            }
        }
        self.ids.write_all(&id.0.to_le_bytes())
    }

    /// Seals and fsyncs both files.
    pub(crate) fn finish(self) -> io::Result<()> {
        assert_eq!(self.left, 0, "fewer rows than promised; this is a bug");
        self.vectors.finish()?.finish()?;
        self.ids.finish()?.finish()
    }
}

/// Writes the list of deleted rows to `path`, durable on return except for its name.
pub(crate) fn write_deleted(directory: &dyn Directory, path: &Path, deleted: &RowSet) -> io::Result<()> {
    let rows: Vec<u32> = deleted.iter().collect();
    let head = Head { magic: DELETED, dim: 1, count: rows.len(), label: "u32".into() };
    let mut file = SealedWriter::create(directory.create(path)?, &head)?;
    file.write_all(bytemuck::cast_slice(&rows))?;
    file.finish()?.finish()
}
