//! Protocol Buffers' wire format, as much of it as finding one's way through an ONNX file takes (protobuf.dev, "Encoding").
//!
//! Values are skipped by seeking, not read, so a walk over a graph with gigabytes of weights touches a few kilobytes of it.
//! What must stay true: a damaged file is an error that says so; no length in it makes us allocate or seek past the end.

use std::io::{self, BufReader, Read, Seek};

/// Longest name or attribute that is read into memory; ONNX has no longer ones.
const MAX_TEXT: u64 = 1 << 16;

/// Messages inside messages: ten for a graph, seven more for each branch inside a branch. A bound on our stack.
const MAX_DEPTH: u32 = 100;

/// One field: its number, and where its value is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub number: u32,
    pub value: Value,
}

/// A field's value: a number, or a stretch of the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Number(u64),
    Bytes { start: u64, end: u64 },
}

/// A place in a file that holds messages.
pub(super) struct Wire<R> {
    file: BufReader<R>,
    at: u64,
    length: u64,
    depth: u32,
}

impl<R: Read + Seek> Wire<R> {
    pub fn new(mut file: R) -> io::Result<Self> {
        let length = file.seek(io::SeekFrom::End(0))?;
        file.seek(io::SeekFrom::Start(0))?;
        Ok(Self { file: BufReader::new(file), at: 0, length, depth: 0 })
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// The fields of the message in `start..end`, one call of `each` for each; `each` may walk deeper.
    pub fn fields(
        &mut self,
        start: u64,
        end: u64,
        mut each: impl FnMut(&mut Self, Field) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.depth == MAX_DEPTH {
            return Err(damaged());
        }
        self.depth += 1;
        let mut at = start;
        while at < end {
            self.go_to(at)?;
            let key = self.varint()?;
            let number = u32::try_from(key >> 3).map_err(|_| damaged())?;
            let value = match key & 7 {
                0 => Value::Number(self.varint()?),
                1 => Value::Number(u64::from_le_bytes(self.array()?)),
                5 => Value::Number(u32::from_le_bytes(self.array()?).into()),
                2 => {
                    let length = self.varint()?;
                    let start = self.at;
                    let end = start.checked_add(length).ok_or_else(damaged)?;
                    Value::Bytes { start, end }
                }
                _ => return Err(damaged()),
            };
            at = match value {
                Value::Number(_) => self.at,
                Value::Bytes { end, .. } => end,
            };
            if at > end || number == 0 {
                return Err(if end == self.length { ends_early() } else { damaged() });
            }
            each(self, Field { number, value })?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// A string field.
    pub fn text(&mut self, value: Value) -> io::Result<String> {
        String::from_utf8(self.bytes(value, MAX_TEXT)?).map_err(|_| damaged())
    }

    /// A bytes field of at most `most` bytes.
    pub fn bytes(&mut self, value: Value, most: u64) -> io::Result<Vec<u8>> {
        let Value::Bytes { start, end } = value else { return Err(damaged()) };
        if end - start > most {
            return Err(damaged());
        }
        self.go_to(start)?;
        let mut bytes = vec![0; (end - start) as usize];
        self.file.read_exact(&mut bytes).map_err(|_| ends_early())?;
        self.at = end;
        Ok(bytes)
    }

    fn go_to(&mut self, at: u64) -> io::Result<()> {
        if at > self.length {
            return Err(ends_early());
        }
        // Both are below the file's length, so the difference fits.
        self.file.seek_relative(at as i64 - self.at as i64)?;
        self.at = at;
        Ok(())
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(damaged())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|_| ends_early())?;
        self.at += N as u64;
        Ok(bytes)
    }
}

/// Appends a length-delimited field.
pub(super) fn write_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    write_varint(out, u64::from(number) << 3 | 2);
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a varint field.
pub(super) fn write_number(out: &mut Vec<u8>, number: u32, value: u64) {
    write_varint(out, u64::from(number) << 3);
    write_varint(out, value);
}

fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not an ONNX file")
}

fn ends_early() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the file ends before the graph does; it was only partly copied",
    )
}
