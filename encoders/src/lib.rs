//! Bytes or text in, unit vectors out.
//!
//! What lives here: everything between a file's bytes or a query's words and a vector: decoding, preprocessing, tokenising,
//! and running a model's two towers. It is the only home of the image decoders, the tokenizer library and the two inference
//! runtimes; the rest of Pictor knows the [`Encoder`](pictor_core::Encoder) trait.
//!
//! | question | file |
//! |---|---|
//! | Where is an image turned into numbers? | `preprocess.rs`, with Pillow's resampling in `resize.rs` |
//! | Which formats, which limits, which way up? | `decode.rs` |
//! | Where is text turned into token ids? | `tokenize.rs`, cleaned before by `clean/` |
//! | What is in a `pictor.json`? | `manifest.rs` |
//! | Where are models looked for? | `folder.rs`; the one inside the binary is `bundled.rs` |
//! | Who runs the graph? | `runtime/` |
//! | Where does it come together? | `clip.rs` |
//!
//! What must stay true: the numbers equal those of the Python pipelines that the models were trained in (golden values,
//! `tests/`), and a vector depends on its own input alone.
//!
//! ```
//! use pictor_core::{Encoder, dot};
//! use pictor_encoders::{DualEncoder, ModelFolder, RuntimeChoice, RuntimeOptions};
//!
//! let options = RuntimeOptions { choice: RuntimeChoice::Tract, threads: 1 };
//! let encoder = DualEncoder::open(&ModelFolder::find("pictor-mini")?, &options)?;
//! let texts = encoder.encode_texts(&["a dog in the snow", "a puppy playing in snow", "a red racing car"])?;
//! let [dog, puppy, car] = [0, 1, 2].map(|i| texts.row(i).unwrap());
//! assert!(dot(dog, puppy) > dot(dog, car));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundled;
mod clean;
mod clip;
mod decode;
mod error;
mod folder;
mod manifest;
mod preprocess;
mod resize;
mod runtime;
#[cfg(test)]
mod tests;
mod tokenize;

pub use clean::Clean;
pub use clip::DualEncoder;
pub use decode::{MAX_PIXELS, decode_rgb, thumbnail_jpeg};
pub use error::ModelError;
pub use folder::{ModelFolder, model_search_path};
pub use manifest::{
    Activation, ImageTower, MANIFEST_FILE, MatcherHead, ModelManifest, Padding, TextTower, Variants,
};
pub use preprocess::{Preprocess, ResizeMode};
pub use resize::Filter;
pub use runtime::{RuntimeChoice, RuntimeInfo, RuntimeOptions, runtime_info};
