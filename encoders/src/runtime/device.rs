//! Which devices run a model, as the command line names them.

use std::fmt;
use std::str::FromStr;

use crate::error::ModelError;

/// One device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU, by CUDA's number, through ONNX Runtime's CUDA provider.
    Cuda(u32),
    /// An NVIDIA GPU, by CUDA's number, through TensorRT; operators that TensorRT lacks run through CUDA.
    TensorRt(u32),
}

impl Device {
    /// Whether it has memory of its own.
    pub fn is_gpu(self) -> bool {
        self != Self::Cpu
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::TensorRt(number) => write!(f, "tensorrt:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let unknown = || ModelError::UnknownDevice { name: text.into() };
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, Some(number.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (kind, number) {
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", number) => Ok(Self::Cuda(number.unwrap_or(0))),
            ("tensorrt", number) => Ok(Self::TensorRt(number.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

/// The devices that share the work, each with a copy of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// The first GPU when ONNX Runtime can use one, otherwise the processor.
    #[default]
    Auto,
    /// These, at least one; an error if one of them cannot be used. Naming the processor twice makes two workers of it.
    Listed(Vec<Device>),
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Listed(devices) => f.write_str(&list(devices)),
        }
    }
}

impl FromStr for Devices {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self::Listed)
    }
}

/// `cuda:0,cuda:1`.
pub(super) fn list(devices: &[Device]) -> String {
    devices.iter().map(Device::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_what_they_print() {
        let read = |text: &str| text.parse::<Devices>().unwrap();
        assert_eq!(read("auto"), Devices::Auto);
        assert_eq!(read("cuda"), Devices::Listed(vec![Device::Cuda(0)]));
        for text in ["auto", "cpu", "cpu,cpu", "cuda:0,cuda:1", "tensorrt:3"] {
            assert_eq!(read(text).to_string(), text);
        }
    }

    #[test]
    fn other_words_are_errors() {
        for text in ["", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cpu,", "auto,cpu", "cuda:99999999999"]
        {
            assert!(matches!(text.parse::<Devices>(), Err(ModelError::UnknownDevice { .. })), "{text:?}");
        }
    }
}
