//! Which instructions the kernels use.

use std::sync::OnceLock;

/// Environment variable that names the instructions to use, in place of the fastest ones: `scalar`, `avx2`, `avx512`. For tests and for
/// measurements; what the machine lacks is ignored.
pub const VARIABLE: &str = "NGC_INSTRUCTIONS";

/// A set of instructions. Results do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Any machine.
    Scalar,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and VNNI.
    Avx512,
    /// 64-bit ARM with NEON.
    Neon,
}

impl Backend {
    /// All of them, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Scalar];

    /// The fastest one that this machine has, or what [`VARIABLE`] says.
    pub fn detect() -> Self {
        static CHOSEN: OnceLock<Backend> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let named = std::env::var(VARIABLE).ok();
            let wanted = |b: &Self| named.as_deref().is_none_or(|name| name.eq_ignore_ascii_case(&format!("{b:?}")));
            let usable = || Self::ALL.into_iter().filter(|b| b.available());
            usable().find(wanted).or_else(|| usable().next()).unwrap_or(Self::Scalar)
        })
    }

    /// Whether this machine can run it.
    pub fn available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns, reason = "what other machines have")]
            _ => false,
        }
    }
}
