//! An image's features as bytes, and back.
//!
//! ```text
//! "PFT1"                           the layout's name; another one is no entry of ours
//! tokens, width, dim    u32 each   what must agree with the matcher
//! tokens × width        f16        rounded to the nearest
//! dim                   f32        the ITC embedding
//! ```
//!
//! Little-endian. That the bytes are those that were written is RocksDB's to say, which keeps a checksum with each value; that they
//! mean something is checked here, so whatever is read, the answer is features of the right shape or none.

use half::f16;
use pictor_core::{ImageFeatures, MatcherSpec};

const MAGIC: &[u8; 4] = b"PFT1";
const HEAD: usize = 16;

/// Bytes of one image's features.
pub(super) fn length(spec: &MatcherSpec) -> usize {
    let [tokens, width] = spec.image_tokens;
    HEAD + 2 * tokens * width + 4 * spec.dim
}

/// `None` when the features are not of the matcher's shape, or hold a number that f16 cannot.
pub(super) fn encode(features: &ImageFeatures, spec: &MatcherSpec) -> Option<Vec<u8>> {
    let [tokens, width] = spec.image_tokens;
    if features.tokens.len() != tokens * width || features.embedding.len() != spec.dim || !fits(features) {
        return None;
    }
    let mut bytes = Vec::with_capacity(length(spec));
    bytes.extend(MAGIC);
    for number in [tokens, width, spec.dim] {
        bytes.extend(u32::try_from(number).ok()?.to_le_bytes());
    }
    bytes.extend(features.tokens.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()));
    bytes.extend(features.embedding.iter().flat_map(|number| number.to_le_bytes()));
    Some(bytes)
}

/// `None` for anything that [`encode`] does not write for this matcher.
pub(super) fn decode(bytes: &[u8], spec: &MatcherSpec) -> Option<ImageFeatures> {
    let [tokens, width] = spec.image_tokens;
    let (head, numbers) = bytes.split_at_checked(HEAD)?;
    let (magic, shape) = head.split_at(MAGIC.len());
    let mut said = shape.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word) as usize);
    if magic != MAGIC || bytes.len() != length(spec) || !said.by_ref().eq([tokens, width, spec.dim]) {
        return None;
    }
    let (states, embedding) = numbers.split_at(2 * tokens * width);
    let features = ImageFeatures {
        tokens: states.as_chunks().0.iter().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect(),
        embedding: embedding.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect(),
    };
    fits(&features).then_some(features)
}

/// Rounds tokens to what a cache keeps of them, so that a score is the same whether its features were cached or made anew.
///
/// Features with a number that f16 cannot hold stay as they are; no cache takes them either.
pub fn round_features(features: &mut ImageFeatures) {
    if fits(features) {
        features.tokens.iter_mut().for_each(|number| *number = f16::from_f32(*number).to_f32());
    }
}

fn fits(features: &ImageFeatures) -> bool {
    features.tokens.iter().all(|&number| f16::from_f32(number).is_finite())
        && features.embedding.iter().all(|number| number.is_finite())
}
