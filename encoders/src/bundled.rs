//! The model that is inside the binary, so that search by meaning works offline from the first minute.

/// Its name.
pub(crate) const NAME: &str = "pictor-mini";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../models/pictor-mini/", $name)))),*]
    };
}

/// Its folder, as `(file name, content)`; with its golden values, so that `pictor model verify` has something to replay
/// wherever the binary is.
pub(crate) const FILES: &[(&str, &[u8])] = files![
    "pictor.json",
    "image.onnx",
    "text.onnx",
    "matcher.onnx",
    "tokenizer.json",
    "golden.json",
    "golden/alpha.png",
    "golden/alpha.raster.png",
    "golden/dot.png",
    "golden/dot.raster.png",
    "golden/palette.png",
    "golden/palette.raster.png",
    "golden/sliver.png",
    "golden/sliver.raster.png",
    "golden/tall.png",
    "golden/tall.raster.png",
    "golden/wide.jpg",
    "golden/wide.raster.png",
];
