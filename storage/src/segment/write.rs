//! Writing a segment's files, each from its first byte to its checksum in one pass.

use std::io::{self, Write};
use std::path::Path;

use pictor_ann::RowSet;
use pictor_core::ImageId;

use super::{DELETED_KIND, Header, IDS, IDS_KIND, Kind, VECTORS, VECTORS_KIND, VERSION};
use crate::directory::{Directory, DurableFile};

/// Writes `vectors.bin` and `ids.bin` side by side, so that a merge of any size needs no memory for its rows.
pub(crate) struct RowsWriter {
    vectors: SealedFile,
    ids: SealedFile,
    last: Option<ImageId>,
}

impl RowsWriter {
    /// Starts both files in `dir`, which exists. `count` rows must follow.
    pub(crate) fn create(
        directory: &dyn Directory,
        dir: &Path,
        dim: usize,
        count: usize,
    ) -> io::Result<Self> {
        let vectors = SealedFile::create(directory, &dir.join(VECTORS), VECTORS_KIND, dim, count)?;
        let ids = SealedFile::create(directory, &dir.join(IDS), IDS_KIND, 1, count)?;
        Ok(Self { vectors, ids, last: None })
    }

    /// Appends one row; ids must ascend.
    pub(crate) fn push(&mut self, id: ImageId, vector: &[f32]) -> io::Result<()> {
        assert!(self.last < Some(id), "rows are written by ascending id; this is a bug");
        self.last = Some(id);
        self.vectors.write(bytemuck::cast_slice(vector))?;
        self.ids.write(&id.0.to_le_bytes())
    }

    /// Seals and fsyncs both files.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.vectors.finish()?;
        self.ids.finish()
    }
}

/// Writes the list of deleted rows to `path`, durable on return except for its name.
pub(crate) fn write_deleted(directory: &dyn Directory, path: &Path, deleted: &RowSet) -> io::Result<()> {
    let rows: Vec<u32> = deleted.iter().collect();
    let mut file = SealedFile::create(directory, path, DELETED_KIND, 1, rows.len())?;
    file.write(bytemuck::cast_slice(&rows))?;
    file.finish()
}

/// A file of header, payload and checksum.
struct SealedFile {
    file: Box<dyn DurableFile>,
    hasher: blake3::Hasher,
    left: u64,
}

impl SealedFile {
    fn create(
        directory: &dyn Directory,
        path: &Path,
        kind: Kind,
        dim: usize,
        count: usize,
    ) -> io::Result<Self> {
        let payload = (count * dim * kind.element) as u64;
        let header = Header {
            magic: kind.magic,
            version: VERSION,
            dim: dim as u32,
            count: count as u64,
            payload,
            reserved: [0; 32],
        };
        let mut file =
            Self { file: directory.create(path)?, hasher: blake3::Hasher::new(), left: payload + 64 };
        file.write(bytemuck::bytes_of(&header))?;
        Ok(file)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left =
            self.left.checked_sub(bytes.len() as u64).expect("more rows than promised; this is a bug");
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }

    fn finish(mut self) -> io::Result<()> {
        assert_eq!(self.left, 0, "fewer rows than promised; this is a bug");
        self.file.write_all(self.hasher.finalize().as_bytes())?;
        self.file.finish()
    }
}
