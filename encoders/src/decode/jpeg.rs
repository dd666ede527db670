//! JPEG through libjpeg-turbo, the library that Pillow carries, so that the pixels are Pillow's in every bit: the same inverse
//! transform (`JDCT_ISLOW`), the same chroma interpolation ("fancy upsampling"), the same conversion to RGB.
//!
//! It is called through its C interface (`tj3*`) and not through a safe wrapper, because a wrapper turns the library's warnings
//! into errors. Pillow shows a photograph with a few damaged bytes in it, and refuses one that ends early; both are done here.
//!
//! What must stay true: the buffer handed to the library is exactly as large as the header says the image is, no image is larger
//! than the caller has checked, and a progressive image of a thousand scans costs no more than one of [`MAX_SCANS`].

use std::ffi::{CStr, c_int};

use image::metadata::Orientation;
use pictor_core::RasterSize;
use turbojpeg_sys as tj;

use super::raster::{Mode, Raster};

/// Most scans of a progressive image. Encoders write about ten; each costs a pass over all coefficients, and a file can hold
/// millions (libjpeg-turbo's report LJT-01-004).
const MAX_SCANS: c_int = 100;

/// What sides are divided by when a file is decoded to a smaller size, by leaving high frequencies out. The sizes between, such
/// as 5/8, are left out: only these have SIMD code, so those are slower than the full size.
const DENOMINATORS: [u32; 3] = [8, 4, 2];

const START_OF_SCAN: u8 = 0xDA;
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];
const APP1: u8 = 0xE1;

/// A JPEG file whose header has been read.
pub(super) struct Jpeg<'a> {
    decoder: Decoder,
    bytes: &'a [u8],
    /// Of the stored image, before any orientation.
    pub size: RasterSize,
    mode: Mode,
    lossless: bool,
}

impl<'a> Jpeg<'a> {
    /// Reads the header.
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if !reaches_its_end(bytes) {
            return Err("the file ends before the image does".into());
        }
        let decoder = Decoder::new()?;
        decoder.header(bytes)?;
        let mode = match decoder.get(tj::TJPARAM_TJPARAM_COLORSPACE) as tj::TJCS {
            tj::TJCS_TJCS_GRAY => Mode::Grey,
            tj::TJCS_TJCS_RGB | tj::TJCS_TJCS_YCbCr => Mode::Rgb,
            tj::TJCS_TJCS_CMYK | tj::TJCS_TJCS_YCCK => Mode::Cmyk,
            _ => return Err("it has neither 1, 3 nor 4 colour channels".into()),
        };
        let precision = decoder.get(tj::TJPARAM_TJPARAM_PRECISION);
        if precision != 8 {
            return Err(format!("{precision} bits a sample, expected 8"));
        }
        let [width, height] = [tj::TJPARAM_TJPARAM_JPEGWIDTH, tj::TJPARAM_TJPARAM_JPEGHEIGHT]
            .map(|side| u32::try_from(decoder.get(side)).unwrap_or(0));
        if width == 0 || height == 0 {
            return Err("its header says no size".into());
        }
        let lossless = decoder.get(tj::TJPARAM_TJPARAM_LOSSLESS) != 0;
        Ok(Self { decoder, bytes, size: RasterSize { width, height }, mode, lossless })
    }

    /// As the EXIF block says; photographs with a broken one are common and are shown as they are stored, by viewers too.
    pub fn orientation(&self) -> Orientation {
        let exif = segments(self.bytes)
            .filter(|segment| segment.marker == APP1)
            .find_map(|segment| segment.payload.strip_prefix(b"Exif\0\0"));
        exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
    }

    /// The largest divisor, 1 to 8, that leaves neither side below that of `enough`.
    pub fn divisor(&self, enough: RasterSize) -> u32 {
        let fits = |by: &u32| {
            self.size.width.div_ceil(*by) >= enough.width && self.size.height.div_ceil(*by) >= enough.height
        };
        DENOMINATORS.into_iter().filter(|_| !self.lossless).find(fits).unwrap_or(1)
    }

    /// Decodes to the size divided by 1 or by what [`Jpeg::divisor`] gave, rounded up.
    pub fn read(&self, divisor: u32) -> Result<Raster, String> {
        let [width, height] = [self.size.width, self.size.height].map(|side| side.div_ceil(divisor));
        self.decoder.divide_by(divisor)?;
        let mode = self.mode;
        let format = match mode {
            Mode::Grey => tj::TJPF_TJPF_GRAY,
            Mode::Cmyk => tj::TJPF_TJPF_CMYK,
            _ => tj::TJPF_TJPF_RGB,
        };
        let mut pixels = vec![0; width as usize * height as usize * mode.channels()];
        if self.decoder.pixels(self.bytes, &mut pixels, format)? == Verdict::Warned {
            // After a warning, the library reports a fatal error as one more warning. Rows that it never came to write tell the
            // two apart: they keep what was there before.
            let mut again = vec![255; pixels.len()];
            self.decoder.pixels(self.bytes, &mut again, format)?;
            if pixels != again {
                return Err(self.decoder.message());
            }
        }
        if mode == Mode::Cmyk {
            // Stored inverted, as Adobe does; Pillow takes every such file to be (`JpegImagePlugin.py`, "CMYK;I").
            pixels.iter_mut().for_each(|level| *level = 255 - *level);
        }
        Ok(Raster::new(RasterSize { width, height }, pixels, mode))
    }
}

/// How a call ended that did not fail.
#[derive(PartialEq)]
enum Verdict {
    Clean,
    Warned,
}

/// A TurboJPEG instance.
struct Decoder(tj::tjhandle);

impl Decoder {
    fn new() -> Result<Self, String> {
        // SAFETY: takes a number and gives a handle or null.
        let handle = unsafe { tj::tj3Init(tj::TJINIT_TJINIT_DECOMPRESS as c_int) };
        if handle.is_null() {
            return Err("libjpeg-turbo does not start: out of memory".into());
        }
        let decoder = Self(handle);
        decoder.set(tj::TJPARAM_TJPARAM_SCANLIMIT, MAX_SCANS)?;
        Ok(decoder)
    }

    fn set(&self, parameter: tj::TJPARAM, value: c_int) -> Result<(), String> {
        // SAFETY: the handle is live; the function checks parameter and value.
        self.ended(unsafe { tj::tj3Set(self.0, parameter as c_int, value) }).map(drop)
    }

    fn get(&self, parameter: tj::TJPARAM) -> c_int {
        // SAFETY: the handle is live; the function checks the parameter.
        unsafe { tj::tj3Get(self.0, parameter as c_int) }
    }

    fn divide_by(&self, divisor: u32) -> Result<(), String> {
        let factor = tj::tjscalingfactor { num: 1, denom: divisor as c_int };
        // SAFETY: the handle is live; the function checks the factor.
        self.ended(unsafe { tj::tj3SetScalingFactor(self.0, factor) }).map(drop)
    }

    fn header(&self, bytes: &[u8]) -> Result<Verdict, String> {
        // SAFETY: the handle is live and the library reads at most `len` bytes from the pointer, during this call.
        self.ended(unsafe { tj::tj3DecompressHeader(self.0, bytes.as_ptr(), bytes.len() as _) })
    }

    /// Fills `pixels`, which must have the size that header, divisor and `format` make.
    fn pixels(&self, bytes: &[u8], pixels: &mut [u8], format: tj::TJPF) -> Result<Verdict, String> {
        // SAFETY: as for `header`; and the library writes rows one after the other (pitch 0), as many and as long as the header
        // of these same bytes says, and `pixels` was made that large from that header (`Jpeg::read`).
        self.ended(unsafe {
            tj::tj3Decompress8(
                self.0,
                bytes.as_ptr(),
                bytes.len() as _,
                pixels.as_mut_ptr(),
                0,
                format as c_int,
            )
        })
    }

    fn ended(&self, status: c_int) -> Result<Verdict, String> {
        if status == 0 {
            return Ok(Verdict::Clean);
        }
        // SAFETY: the handle is live.
        let code = unsafe { tj::tj3GetErrorCode(self.0) };
        if code == tj::TJERR_TJERR_WARNING as c_int { Ok(Verdict::Warned) } else { Err(self.message()) }
    }

    /// The library's words about its last error or warning.
    fn message(&self) -> String {
        // SAFETY: the handle is live; the string belongs to it, ends with a zero and is copied before the next call.
        unsafe { CStr::from_ptr(tj::tj3GetErrorStr(self.0)) }.to_string_lossy().into_owned()
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and nothing has it any more.
        unsafe { tj::tj3Destroy(self.0) }
    }
}

/// Whether a JPEG's main image has an end-of-image marker.
///
/// The library fills what is missing with grey and warns, as browsers do; Pillow refuses, and so do we, because an index should
/// say which files are broken. Segments before the first scan are stepped over by their length, since an EXIF thumbnail inside
/// them is a JPEG with an end of its own.
fn reaches_its_end(bytes: &[u8]) -> bool {
    let scan = segments(bytes).last().map_or(0, |segment| segment.end);
    bytes[scan.min(bytes.len())..].windows(2).rev().any(|pair| pair == END_OF_IMAGE)
}

struct Segment<'a> {
    marker: u8,
    payload: &'a [u8],
    /// Where the next one starts, perhaps past the end of the file.
    end: usize,
}

/// The segments before the first scan's; they end early where bytes lie between them, and the decoder resynchronises.
fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let mut at = 2;
    std::iter::from_fn(move || {
        while bytes.get(at..at + 2) == Some(&[0xFF, 0xFF]) {
            at += 1; // a marker may be preceded by any number of fill bytes
        }
        let &[first, marker, high, low] = bytes.get(at..)?.first_chunk()?;
        if first != 0xFF || marker == START_OF_SCAN {
            return None;
        }
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let payload = bytes.get(at + 4..end).unwrap_or_default();
        at = end;
        Some(Segment { marker, payload, end })
    })
}
