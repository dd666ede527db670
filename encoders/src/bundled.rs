//! The model that is inside the binary, so that search by meaning works offline from the first minute.

/// Its name.
pub(crate) const NAME: &str = "pictor-mini";

/// Its folder, as `(file name, content)`.
pub(crate) const FILES: &[(&str, &[u8])] = &[
    ("pictor.json", include_bytes!("../../models/pictor-mini/pictor.json")),
    ("image.onnx", include_bytes!("../../models/pictor-mini/image.onnx")),
    ("text.onnx", include_bytes!("../../models/pictor-mini/text.onnx")),
    ("tokenizer.json", include_bytes!("../../models/pictor-mini/tokenizer.json")),
];
