//! Calls the kernels of a backend.

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::packed::Packed;
use super::{Backend, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// # Panics
/// If the backend is not available.
pub(super) fn pointwise(backend: Backend, layer: &Packed, x: &[i16], skip: Option<&[i16]>, out: &mut [i16]) {
    assert!(backend.available(), "this machine has no {backend:?}");
    match backend {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the features were just checked.
        Backend::Avx2 => unsafe { avx2::pointwise(layer, x, skip, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Backend::Avx512 => unsafe { avx512::pointwise(layer, x, skip, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the features were just checked.
        Backend::Neon => unsafe { neon::pointwise(layer, x, skip, out) },
        _ => scalar::pointwise(layer, x, skip, out),
    }
}

/// # Panics
/// If the backend is not available.
pub(super) fn depthwise(backend: Backend, layer: &Packed, rows: [&[i16]; 3], out: &mut [i16]) {
    assert!(backend.available(), "this machine has no {backend:?}");
    match backend {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the features were just checked.
        Backend::Avx2 => unsafe { avx2::depthwise(layer, rows, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Backend::Avx512 => unsafe { avx512::depthwise(layer, rows, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the features were just checked.
        Backend::Neon => unsafe { neon::depthwise(layer, rows, out) },
        _ => scalar::depthwise(layer, rows, out),
    }
}
