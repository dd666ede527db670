//! The unsafe half of FAISS: owning its objects, translating its errors, moving its bytes.
//!
//! Everything here is a thin, safe face of one C call of `faiss_sys`; no decision is taken here. FAISS reports a failure by a
//! nonzero code and keeps the message of the exception in a variable of the calling thread.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int, c_void};
use std::io::{self, Write};
use std::sync::Arc;
use std::{ptr, slice};

use faiss_sys as sys;

use crate::file::Writer;
use crate::{RowSet, SealedFile};

/// FAISS's own words.
pub(crate) type Message = String;

fn check(code: c_int) -> Result<(), Message> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the pointer is null or a string that stays valid until this thread's next FAISS call.
    let message = unsafe {
        let text = sys::faiss_get_last_error();
        if text.is_null() { None } else { Some(CStr::from_ptr(text).to_string_lossy().into_owned()) }
    };
    match message.as_deref().map(without_place) {
        None | Some("") => Err(format!("unknown exception, code {code}")),
        Some(words) => Err(words.into()),
    }
}

/// FAISS's messages begin `Error in <C++ signature> at <source file>:<line>: `, which says nothing to whom it is shown.
fn without_place(message: &str) -> &str {
    let place = [".cpp:", ".h:"].iter().filter_map(|end| Some((message.find(end)?, end.len()))).min();
    match place.and_then(|(at, len)| message[at + len..].split_once(": ")) {
        Some((line, words)) if message.starts_with("Error in") && line.parse::<u32>().is_ok() => words,
        _ => message,
    }
}

fn c_string(text: &str) -> Result<CString, Message> {
    CString::new(text).map_err(|_| "the text holds a NUL byte".into())
}

/// FAISS's version.
pub(super) fn version() -> String {
    // SAFETY: FAISS returns a static string.
    unsafe { CStr::from_ptr(sys::faiss_get_version()) }.to_string_lossy().into_owned()
}

/// An owned FAISS index.
pub(super) struct Handle(*mut sys::FaissIndex);

// SAFETY: a CPU index holds no thread-local state, so it may move between threads.
unsafe impl Send for Handle {}
// SAFETY: all `&self` methods but none of the `&mut self` ones may run at once: searches of a const CPU index are thread-safe
// (https://github.com/facebookresearch/faiss/wiki/Threads-and-asynchronous-calls, "Thread safety"), the getters only read.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the pointer came from FAISS, is not null, and nobody else owns it.
        unsafe { sys::faiss_Index_free(self.0) }
    }
}

impl Handle {
    /// An empty index with the inner product as metric.
    pub fn from_factory(dim: usize, factory: &str) -> Result<Self, Message> {
        let factory = c_string(factory)?;
        let dim = c_int::try_from(dim).map_err(|e| e.to_string())?;
        let mut index = ptr::null_mut();
        // SAFETY: `index` receives an owned pointer when the call succeeds; the string outlives the call.
        check(unsafe {
            sys::faiss_index_factory(
                &mut index,
                dim,
                factory.as_ptr(),
                sys::FaissMetricType_METRIC_INNER_PRODUCT,
            )
        })?;
        Self::owned(index)
    }

    fn owned(index: *mut sys::FaissIndex) -> Result<Self, Message> {
        if index.is_null() { Err("FAISS returned no index".into()) } else { Ok(Self(index)) }
    }

    /// Learns centroids and codebooks from `rows`, row-major, whole rows of the index's dimension; most kinds do nothing here.
    pub fn train(&mut self, rows: &[f32]) -> Result<(), Message> {
        let count = self.count(rows)?;
        // SAFETY: the slice holds count × dim floats, and dim is the index's.
        check(unsafe { sys::faiss_Index_train(self.0, count, rows.as_ptr()) })
    }

    /// Adds `rows`, as `train` takes them; their ids go on from the last.
    pub fn add(&mut self, rows: &[f32]) -> Result<(), Message> {
        let count = self.count(rows)?;
        // SAFETY: as in `train`.
        check(unsafe { sys::faiss_Index_add(self.0, count, rows.as_ptr()) })
    }

    fn count(&self, rows: &[f32]) -> Result<i64, Message> {
        match rows.len() % self.dim() {
            0 => Ok((rows.len() / self.dim()) as i64),
            _ => Err(format!("index has dimension {}", self.dim())),
        }
    }

    pub fn dim(&self) -> usize {
        // SAFETY: the index is valid; a getter.
        unsafe { sys::faiss_Index_d(self.0) as usize }
    }

    pub fn len(&self) -> usize {
        // SAFETY: the index is valid; a getter.
        unsafe { sys::faiss_Index_ntotal(self.0) as usize }
    }

    /// Number of inverted lists, when this is an IVF index or one behind a transform such as OPQ or PCA.
    pub fn nlist(&self) -> Option<usize> {
        // SAFETY: the casts are C++ `dynamic_cast`s: null for an index of another class; what they return is borrowed from the
        // index and only read.
        unsafe {
            let transform = sys::faiss_IndexPreTransform_cast(self.0);
            let inner =
                if transform.is_null() { self.0 } else { sys::faiss_IndexPreTransform_index(transform) };
            let ivf = if inner.is_null() { ptr::null_mut() } else { sys::faiss_IndexIVF_cast(inner) };
            if ivf.is_null() { None } else { Some(sys::faiss_IndexIVF_nlist(ivf)) }
        }
    }

    /// Sets a parameter of the index by its name in FAISS's `ParameterSpace`, which finds it behind transforms too.
    pub fn set(&mut self, name: &CStr, value: usize) -> Result<(), Message> {
        let mut space = ptr::null_mut();
        // SAFETY: `space` is created, used and freed here; `&mut self` keeps searches away meanwhile.
        unsafe {
            check(sys::faiss_ParameterSpace_new(&mut space))?;
            let set = check(sys::faiss_ParameterSpace_set_index_parameter(
                space,
                self.0,
                name.as_ptr(),
                value as f64,
            ));
            sys::faiss_ParameterSpace_free(space);
            set
        }
    }

    /// Up to `k` (> 0) row numbers, best first by FAISS's own score; fewer when FAISS finds fewer.
    pub fn search(&self, query: &[f32], k: usize, filter: Option<&Filter<'_>>) -> Result<Vec<i64>, Message> {
        if query.len() != self.dim() {
            return Err(format!("query has {} components, index {}", query.len(), self.dim()));
        }
        let mut scores = vec![0.0_f32; k];
        let mut labels = vec![-1_i64; k];
        let (scores_out, labels_out) = (scores.as_mut_ptr(), labels.as_mut_ptr());
        // SAFETY: one query of dim floats in; k scores and k labels out, as allocated. The filter and the bitmap that it borrows
        // outlive the call. FAISS does not change an index that it searches.
        check(unsafe {
            match filter {
                None => sys::faiss_Index_search(self.0, 1, query.as_ptr(), k as i64, scores_out, labels_out),
                Some(filter) => sys::faiss_Index_search_with_params(
                    self.0,
                    1,
                    query.as_ptr(),
                    k as i64,
                    filter.params,
                    scores_out,
                    labels_out,
                ),
            }
        })?;
        // FAISS pads what it did not find with -1.
        labels.retain(|&label| label >= 0);
        Ok(labels)
    }

    /// Serialises into the file, which comes back.
    pub fn write(&self, to: Writer) -> Result<Writer, io::Error> {
        match self.serialise(Target::File(Box::new(to)), 0)? {
            Target::File(to) => Ok(*to),
            Target::Memory(_) => Err(io::Error::other("the writer was lost")),
        }
    }

    /// Serialises everything but the vectors: of an HNSW graph, its links.
    pub fn without_vectors(&self) -> Result<Vec<u8>, Message> {
        /// faiss/index_io.h
        const IO_FLAG_SKIP_STORAGE: c_int = 1;
        match self.serialise(Target::Memory(Vec::new()), IO_FLAG_SKIP_STORAGE) {
            Ok(Target::Memory(bytes)) => Ok(bytes),
            Ok(Target::File(_)) => Err("the writer was lost".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn serialise(&self, target: Target, flags: c_int) -> Result<Target, io::Error> {
        let mut io = ptr::null_mut();
        SINK.set(Some(Sink { target, failed: None }));
        // SAFETY: `io` is created, used and freed here; the callback reads what FAISS hands it and does not panic.
        let written = unsafe {
            check(sys::faiss_CustomIOWriter_new(&mut io, Some(write_items))).and_then(|()| {
                let written = check(sys::faiss_write_index_custom(self.0, io.cast(), flags));
                sys::faiss_CustomIOWriter_free(io);
                written
            })
        };
        let Some(Sink { target, failed }) = SINK.take() else {
            return Err(io::Error::other("the writer was lost"));
        };
        // Our own error is why FAISS failed, so it goes first.
        match failed {
            Some(error) => Err(error),
            None => written.map(|()| target).map_err(io::Error::other),
        }
    }

    /// Reads what `write` wrote. The file must be verified: FAISS trusts its input.
    pub fn read(file: Arc<SealedFile>) -> Result<Self, Message> {
        let mut io = ptr::null_mut();
        let mut index = ptr::null_mut();
        SOURCE.set(Some(Source { file, at: 0 }));
        // SAFETY: `io` is created, used and freed here; the callback fills what FAISS hands it and does not panic; `index`
        // receives an owned pointer when the call succeeds.
        let read = unsafe {
            check(sys::faiss_CustomIOReader_new(&mut io, Some(read_items))).and_then(|()| {
                let read = check(sys::faiss_read_index_custom(io.cast(), 0, &mut index));
                sys::faiss_CustomIOReader_free(io);
                read
            })
        };
        SOURCE.take();
        read?;
        Self::owned(index)
    }
}

/// Which rows a search may return.
pub(super) struct Filter<'a> {
    selector: *mut sys::FaissIDSelector,
    params: *mut sys::FaissSearchParameters,
    /// FAISS reads the set's bitmap in place.
    _allow: &'a RowSet,
}

impl<'a> Filter<'a> {
    /// `nprobe` for an index of inverted lists, whose search parameters are of a class of their own.
    pub fn new(allow: &'a RowSet, nprobe: Option<usize>) -> Result<Self, Message> {
        let mut selector: *mut sys::FaissIDSelectorBitmap = ptr::null_mut();
        let bitmap = allow.as_bytes();
        // SAFETY: the selector keeps the pointer to the bitmap, which the result borrows. The first length is that of the bitmap
        // in bytes (faiss/impl/IDSelector.h, IDSelectorBitmap).
        check(unsafe { sys::faiss_IDSelectorBitmap_new(&mut selector, bitmap.len(), bitmap.as_ptr()) })?;
        let mut filter = Self { selector: selector.cast(), params: ptr::null_mut(), _allow: allow };
        // SAFETY: the parameters keep the pointer to the selector, which is freed after them.
        check(unsafe {
            match nprobe {
                None => sys::faiss_SearchParameters_new(&mut filter.params, filter.selector),
                Some(nprobe) => {
                    sys::faiss_SearchParametersIVF_new_with(&mut filter.params, filter.selector, nprobe, 0)
                }
            }
        })?;
        Ok(filter)
    }
}

impl Drop for Filter<'_> {
    fn drop(&mut self) {
        // SAFETY: both came from FAISS and nobody else owns them; freeing null does nothing. Destructors are virtual.
        unsafe {
            sys::faiss_SearchParameters_free(self.params);
            sys::faiss_IDSelector_free(self.selector);
        }
    }
}

/// Where FAISS writes while this thread is in [`Handle::serialise`]: its callbacks carry no pointer of ours.
struct Sink {
    target: Target,
    failed: Option<io::Error>,
}

enum Target {
    File(Box<Writer>),
    Memory(Vec<u8>),
}

/// Where FAISS reads while this thread is in [`Handle::read`].
struct Source {
    file: Arc<SealedFile>,
    at: usize,
}

thread_local! {
    static SINK: RefCell<Option<Sink>> = const { RefCell::new(None) };
    static SOURCE: RefCell<Option<Source>> = const { RefCell::new(None) };
}

/// As `fwrite`: returns the number of items written, fewer after an error.
unsafe extern "C" fn write_items(from: *const c_void, size: usize, items: usize) -> usize {
    let Some(len) = size.checked_mul(items).filter(|&len| len > 0 && !from.is_null()) else {
        return items;
    };
    // SAFETY: FAISS hands over `items` items of `size` bytes.
    let bytes = unsafe { slice::from_raw_parts(from.cast::<u8>(), len) };
    SINK.with_borrow_mut(|sink| match sink {
        Some(Sink { target: Target::Memory(buffer), .. }) => {
            buffer.extend_from_slice(bytes);
            items
        }
        Some(Sink { target: Target::File(writer), failed: failed @ None }) => match writer.write_all(bytes) {
            Ok(()) => items,
            Err(error) => {
                *failed = Some(error);
                0
            }
        },
        _ => 0,
    })
}

/// As `fread`: returns the number of items read, fewer at the end.
unsafe extern "C" fn read_items(to: *mut c_void, size: usize, items: usize) -> usize {
    let Some(len) = size.checked_mul(items).filter(|&len| len > 0 && !to.is_null()) else {
        return items;
    };
    SOURCE.with_borrow_mut(|source| {
        let Some(source) = source else { return 0 };
        let Some(bytes) = source.file.payload().get(source.at..).and_then(|rest| rest.get(..len)) else {
            return 0;
        };
        // SAFETY: FAISS hands over room for `items` items of `size` bytes, which is `len`, and our map is elsewhere.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast::<u8>(), len) };
        source.at += len;
        items
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_their_place_and_nothing_else() {
        let full =
            "Error in void faiss::f(std::string, bool) at /a: b/index_factory.cpp:917: could not parse: IVF";
        assert_eq!(without_place(full), "could not parse: IVF");
        for other in ["std::bad_alloc", "", "Error in x.cpp: y", "a.cpp:3: b"] {
            assert_eq!(without_place(other), other);
        }
    }
}
