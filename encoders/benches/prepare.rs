//! How fast photographs become tensors on one core, and beside what: JPEG decoding by libjpeg-turbo and by zune-jpeg (of the
//! image crate), the resize that is Pillow's to the bit and `fast_image_resize`, full decoding and fast decoding.
//!
//!     PICTOR_BENCH_PHOTOS=DIR cargo bench -p pictor-encoders --bench prepare
//!
//! Corpus: up to 128 JPEGs of the folder, read into memory first. Prints one JSON document; rates are images a second of the
//! thread's own CPU time (wall time where the system does not say it), the best of five rounds: other work on the machine only
//! ever slows a round down.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{ImageFormat, RgbImage};
use pictor_core::RasterSize;
use pictor_encoders::{
    ConvertRgb, CropOffset, DecodeOptions, Filter, Preprocess, ResizeMode, decode_rgb, resize_rgb,
};
use serde_json::{Value, json};

const PHOTOGRAPHS: usize = 128;
const ROUNDS: usize = 5;
const SIDE: u32 = 224;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let folder = std::env::var_os("PICTOR_BENCH_PHOTOS")
        .ok_or("set PICTOR_BENCH_PHOTOS to a folder of photographs")?;
    let mut files: Vec<PathBuf> = fs_err::read_dir(PathBuf::from(folder))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, Error>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jpg")));
    files.sort();
    files.truncate(PHOTOGRAPHS);
    let photographs: Vec<Vec<u8>> = files.iter().map(fs_err::read).collect::<Result<_, _>>()?;

    let options = DecodeOptions::default();
    let full = |bytes: &Vec<u8>| decode_rgb(bytes, &options).map(drop);
    let zune = |bytes: &Vec<u8>| {
        image::load_from_memory_with_format(bytes, ImageFormat::Jpeg)
            .map(|image| drop(black_box(image.into_rgb8())))
    };
    let decode =
        json!({ "libjpeg_turbo": rate(&photographs, full)?, "zune_jpeg": rate(&photographs, zune)? });

    let images: Vec<RgbImage> =
        photographs.iter().map(|bytes| decode_rgb(bytes, &options)).collect::<Result<_, _>>()?;
    let resize = json!({
        "bicubic": resize(&images, Filter::Bicubic, FilterType::CatmullRom)?,
        "bilinear": resize(&images, Filter::Bilinear, FilterType::Bilinear)?,
    });

    let clip = Preprocess {
        height: SIDE,
        width: SIDE,
        resize: ResizeMode::ShortestEdgeCenterCrop,
        filter: Filter::Bicubic,
        mean: [0.5; 3],
        std: [0.5; 3],
        shortest_edge: None,
        crop_offset: CropOffset::RoundHalfEven,
        convert_rgb: ConvertRgb::AfterResize,
    };
    let fast = DecodeOptions { fast: true, ..options };
    let prepare = |options: &DecodeOptions| {
        rate(&photographs, |bytes| clip.prepare(bytes, options).map(|image| drop(black_box(image))))
    };
    let prepare = json!({ "full": prepare(&options)?, "fast_decode": prepare(&fast)? });

    let pixels: u64 = images.iter().map(|image| u64::from(image.width()) * u64::from(image.height())).sum();
    println!(
        "{:#}",
        json!({
            "images": images.len(),
            "mean_megapixels": pixels as f64 / 1e6 / images.len() as f64,
            "side": SIDE,
            "decode_per_second": decode,
            "resize_per_second": resize,
            "prepare_per_second": prepare,
        })
    );
    Ok(())
}

/// Rates of ours and of `fast_image_resize`, whose pixels are compared with ours, which are Pillow's.
fn resize(images: &[RgbImage], filter: Filter, theirs: FilterType) -> Result<Value, Error> {
    let size = RasterSize { width: SIDE, height: SIDE };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(theirs));
    let mut resizer = Resizer::new();
    let mut by_them = |image: &RgbImage| -> Result<Vec<u8>, Error> {
        let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)?;
        let mut target = Image::new(SIDE, SIDE, PixelType::U8x3);
        resizer.resize(&source, &mut target, &options)?;
        Ok(target.into_vec())
    };
    let mut differences = [0u64; 256];
    for image in images {
        for (a, b) in resize_rgb(image, size, filter).iter().zip(by_them(image)?) {
            differences[usize::from(a.abs_diff(b))] += 1;
        }
    }
    let total: u64 = differences.iter().sum();
    Ok(json!({
        "pictor": rate(images, |image| {
            black_box(resize_rgb(image, size, filter));
            Ok::<_, Error>(())
        })?,
        "fast_image_resize": rate(images, |image| by_them(image).map(|pixels| drop(black_box(pixels))))?,
        "fast_image_resize_differs_by_at_most": differences.iter().rposition(|&count| count > 0),
        "fast_image_resize_share_that_differs": 1.0 - differences[0] as f64 / total as f64,
    }))
}

/// Items a second of the fastest round, after one to warm up.
fn rate<T, E: Into<Error>>(items: &[T], mut work: impl FnMut(&T) -> Result<(), E>) -> Result<f64, Error> {
    let mut seconds = f64::INFINITY;
    for round in 0..=ROUNDS {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        items.iter().try_for_each(|item| work(item).map_err(Into::into))?;
        let spent = match (cpu, cpu_seconds()) {
            (Some(before), Some(after)) => after - before,
            _ => wall.elapsed().as_secs_f64(),
        };
        if round > 0 {
            seconds = seconds.min(spent);
        }
    }
    Ok((items.len() as f64 / seconds).round())
}

/// Time that this thread has been on a CPU, where Linux says it.
fn cpu_seconds() -> Option<f64> {
    let text = fs_err::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<u64>().ok()? as f64 / 1e9)
}
