//! A network that loses packets, the same ones every time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What passed and what was lost.
#[derive(Debug, Default)]
pub struct Counts {
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    pub lost: AtomicU64,
}

/// Drops a share of the packets that pass a pad, chosen by `seed`. `share` is within 0..=1. The first packets pass: they say what the
/// stream is.
pub fn lose(pad: &gst::Pad, share: f64, seed: u64, counts: &std::sync::Arc<Counts>) {
    const SPARED: u64 = 10;
    let random = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
    let counts = std::sync::Arc::clone(counts);
    let keep = move |size: usize| {
        let number = counts.packets.fetch_add(1, Ordering::Relaxed);
        let Ok(mut random) = random.lock() else { return true };
        if number >= SPARED && random.random_bool(share) {
            counts.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        counts.bytes.fetch_add(size as u64, Ordering::Relaxed);
        true
    };
    // Handled, not dropped: for a buffer that a probe drops, GStreamer 1.22 logs a critical error under these bindings.
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) if !keep(buffer.size()) => return gst::PadProbeReturn::Handled,
            Some(gst::PadProbeData::BufferList(list)) => {
                let mut kept = gst::BufferList::new();
                if let Some(kept) = kept.get_mut() {
                    list.iter_owned().filter(|buffer| keep(buffer.size())).for_each(|buffer| kept.add(buffer));
                }
                if kept.is_empty() {
                    return gst::PadProbeReturn::Handled;
                }
                *list = kept;
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// A share: `5%` or `0.05`.
///
/// # Errors
/// A text for the command line.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, factor) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    let value = number.parse::<f64>().map_err(|_| format!("{text} is no share: use 5% or 0.05"))? * factor;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("shares go from 0% to 100%".into()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn shares() {
        assert_eq!((super::share("5%"), super::share("0.5")), (Ok(0.05), Ok(0.5)));
        assert!(super::share("101%").is_err() && super::share("x").is_err());
    }
}
