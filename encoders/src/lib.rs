//! Bytes or text in, unit vectors out.
//!
//! What lives here: everything between a file's bytes or a query's words and a vector: decoding, preprocessing, tokenising,
//! and running a model's two towers. It is the only home of the image decoders, the tokenizer library and the two inference
//! runtimes; the rest of Pictor knows the [`Encoder`](pictor_core::Encoder) trait.
//!
//! | question | file |
//! |---|---|
//! | Where is an image turned into numbers? | `preprocess.rs`, with Pillow's resampling in `resize/` |
//! | Which formats, which limits, which way up? | `decode/` |
//! | Where is text turned into token ids? | `tokenize.rs`, after the cleaning of `clean/` |
//! | What is in a `pictor.json`? | `manifest.rs` |
//! | Which folders of other tools are models too? | `layout/`, read into the same manifest |
//! | Are the graphs those that the settings describe? | `graphs.rs`, by what ONNX files say of themselves, `onnx/` |
//! | Where are models looked for? | `folder.rs`; the one inside the binary is `bundled.rs` |
//! | Where do models come from? | `hub/` fetches, `install/` puts in place, `catalogue.rs` lists what is known to work |
//! | Are its vectors the reference's here? | `verify/` |
//! | Who runs the graph? | `runtime/` |
//! | Who encodes queries that come at once together? | `coalesce.rs` |
//! | Where does it come together? | `clip.rs`; image and text scored together: `matcher.rs` |
//!
//! What must stay true: the numbers equal those of the Python pipelines that the models were trained in (golden values,
//! `tests/`), and a vector depends on its own input alone.
//!
//! ```
//! use pictor_core::{Encoder, dot};
//! use pictor_encoders::{DualEncoder, ModelFolder, RuntimeChoice, RuntimeOptions};
//!
//! let options = RuntimeOptions::new(RuntimeChoice::Tract, 1);
//! let encoder = DualEncoder::open(&ModelFolder::find("pictor-mini")?, &options)?;
//! let texts = encoder.encode_texts(&["a dog in the snow", "a puppy playing in snow", "a red racing car"])?;
//! let [dog, puppy, car] = [0, 1, 2].map(|i| texts.row(i).unwrap());
//! assert!(dot(dog, puppy) > dot(dog, car));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundled;
pub mod catalogue;
mod clean;
mod clip;
mod coalesce;
mod decode;
mod error;
mod folder;
mod graphs;
mod hub;
mod install;
mod layout;
mod manifest;
mod matcher;
mod onnx;
mod preprocess;
mod resize;
mod runtime;
#[cfg(test)]
mod tests;
mod thumbnail;
mod tokenize;
mod verify;

pub use clean::Clean;
pub use clip::{DualEncoder, INT8_FINGERPRINT};
pub use decode::{DecodeOptions, MAX_BYTES, MAX_PIXELS, decode_rgb};
pub use error::ModelError;
pub use folder::{ModelFolder, model_search_path};
pub use hub::{AddOptions, AddProgress, AddState, HubId, InstallError, Source, add_model};
pub use install::{
    InstalledFile, InstalledModel, Origin, Receipt, installed_models, model_files, remove_model,
};
pub use manifest::{
    Activation, ImageTower, MANIFEST_FILE, MatcherHead, ModelManifest, Padding, TextTower, Variants,
};
pub use matcher::ImageTextMatcher;
pub use preprocess::{ConvertRgb, CropOffset, Preprocess, ResizeMode};
pub use resize::{Filter, resize_rgb};
pub use runtime::{
    Device, Devices, Notes, Precision, RuntimeChoice, RuntimeInfo, RuntimeOptions, runtime_info,
};
pub use thumbnail::thumbnail_jpeg;
pub use verify::{
    CosineCheck, FileCheck, MatchCheck, PIXEL_LIMIT, PixelCheck, RuntimeCheck, TokenCheck, Verification,
    Worst, cosine_floor, match_limit, verify_model,
};
