//! Names of compute devices.

use std::str::FromStr;

use crate::{Error, Result};

/// Which device the networks run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceSpec {
    /// The processor for models that run in integers; for others the first GPU that works, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// libtorch on the processor, also for models that run in integers: slower, for comparisons.
    CpuTorch,
    /// A GPU by its number.
    Cuda(usize),
}

impl FromStr for DeviceSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" | "" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cpu-torch" => Ok(Self::CpuTorch),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(Self::Cuda).ok_or_else(|| {
                Error::InvalidConfig(format!("device {text:?}: use auto, cpu, cuda or cuda:N (with libtorch also cpu-torch)"))
            }),
        }
    }
}

impl std::fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::CpuTorch => f.write_str("cpu-torch"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_round_trip() {
        for text in ["auto", "cpu", "cpu-torch", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceSpec>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse::<DeviceSpec>().unwrap(), DeviceSpec::Cuda(0));
        let error = "gpu".parse::<DeviceSpec>().unwrap_err().to_string();
        assert!(error.contains("gpu") && error.contains("cuda:N"), "{error}");
    }
}
