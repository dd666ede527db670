//! At which precision a model runs: which of a tower's files is loaded.

use std::fmt;
use std::str::FromStr;

use crate::error::ModelError;
use crate::manifest::Variants;

/// The precision of weights and arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// float16 on a GPU when the model folder has it, otherwise the folder's full files.
    #[default]
    Auto,
    /// The folder's full files: float32, or whatever its weights are.
    Fp32,
    /// float16: vectors comparable with the full ones (cosine ≥ 0.999).
    Fp16,
    /// 8-bit integers: faster on a CPU with VNNI. Vectors are close to the full ones (cosine ≥ 0.99) and not the same, so
    /// an index holds one or the other.
    Int8,
}

impl Precision {
    /// All of them, by the names they print.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Fp32, Self::Fp16, Self::Int8];

    /// What it comes to for a model whose towers have these variants: never [`Precision::Auto`].
    ///
    /// # Errors
    /// [`ModelError::NoPrecision`] when it was asked for by name and a tower has no file of it.
    pub(crate) fn resolve(self, on_gpu: bool, towers: [&Variants; 2]) -> Result<Self, ModelError> {
        let all_have = |precision: Self| towers.iter().all(|variants| precision.file("", variants).is_some());
        match self {
            Self::Auto if on_gpu && all_have(Self::Fp16) => Ok(Self::Fp16),
            Self::Auto => Ok(Self::Fp32),
            named if all_have(named) => Ok(named),
            named => Err(ModelError::NoPrecision { precision: named }),
        }
    }

    /// The file of a tower at this precision; `full` is the one that every tower has.
    pub(crate) fn file<'a>(self, full: &'a str, variants: &'a Variants) -> Option<&'a str> {
        match self {
            Self::Auto | Self::Fp32 => Some(full),
            Self::Fp16 => variants.fp16.as_deref(),
            Self::Int8 => variants.int8.as_deref(),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let found = Self::ALL.into_iter().find(|precision| precision.to_string() == text);
        found.ok_or_else(|| ModelError::UnknownPrecision { name: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_half_precision_on_a_gpu_that_has_it_for_both_towers() {
        let full = Variants::default();
        let both = Variants { fp16: Some("h.onnx".into()), int8: Some("q.onnx".into()) };
        let resolve = |precision: Precision, on_gpu, towers| precision.resolve(on_gpu, towers).unwrap();
        assert_eq!(resolve(Precision::Auto, true, [&both, &both]), Precision::Fp16);
        assert_eq!(resolve(Precision::Auto, true, [&both, &full]), Precision::Fp32);
        assert_eq!(resolve(Precision::Auto, false, [&both, &both]), Precision::Fp32);
        assert_eq!(resolve(Precision::Int8, false, [&both, &both]), Precision::Int8);
        assert_eq!(Precision::Int8.file("f.onnx", &both), Some("q.onnx"));
        let refused = Precision::Fp16.resolve(true, [&both, &full]);
        assert!(matches!(refused, Err(ModelError::NoPrecision { precision: Precision::Fp16 })));
    }

    #[test]
    fn precisions_read_what_they_print() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
        }
        assert!(matches!("bf16".parse::<Precision>(), Err(ModelError::UnknownPrecision { .. })));
    }
}
