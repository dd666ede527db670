//! The words every other crate of Pictor speaks.
//!
//! What lives here: ids ([`ImageId`], [`Generation`]), ranked results ([`Score`], [`Hit`]), vectors that are known to be
//! comparable ([`EmbeddingBatch`], [`EncoderSpec`]), what is known of an image ([`ImageRecord`]), what a caption file or an
//! attribute file says ([`parse_captions`], [`parse_attributes`]) and the two seams behind which models live ([`Encoder`], [`Matcher`]).
//!
//! What never lives here: I/O, threads, a heavy dependency. A type belongs in this crate when at least two others need it;
//! otherwise it stays with the code that owns its invariant.

mod attributes;
mod captions;
mod embedding;
mod encoder;
mod id;
mod matcher;
mod record;
mod size;
#[cfg(feature = "testing")]
pub mod testing;

pub use attributes::{AttributeEntry, AttributesError, BUILT_IN_ATTRIBUTES, parse_attributes};
pub use captions::{CaptionEntry, CaptionsError, parse_captions};
pub use embedding::{EmbeddingBatch, EmbeddingError, UNIT_TOLERANCE, dot};
pub use encoder::{DecodeError, EncodeError, Encoder, EncoderSpec, PreparedImage, RasterSize};
pub use id::{Generation, Hit, ImageId, Score};
pub use matcher::{ImageFeatures, MatchScore, Matcher, MatcherSpec, TextFeatures};
pub use record::{Attribute, Attributes, ContentHash, ImageRecord};
pub use size::{SizeError, parse_size};
