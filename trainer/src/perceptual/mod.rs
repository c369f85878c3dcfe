//! Perceptual distances between RGB images: LPIPS and DISTS, as training losses and as metrics.
//!
//! All take RGB `[N, 3, H, W]` in 0..=1, give one value per example, `[N]`, and let gradients through.

mod dists;
mod lpips;
mod rgb;

pub use dists::Dists;
pub use lpips::Lpips;
#[cfg(test)]
pub use lpips::tests::random_vgg;
pub use rgb::to_rgb;

#[cfg(test)]
mod reference;
