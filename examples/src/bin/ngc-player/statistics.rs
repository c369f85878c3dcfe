//! What the player tells about a video while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gst::prelude::*;

/// Counted at a decoder.
#[derive(Debug)]
pub struct Statistics {
    frames: AtomicU64,
    damaged: AtomicU64,
    bytes: AtomicU64,
    /// Nanoseconds of the last frame.
    time: AtomicU64,
    start: Instant,
}

impl Statistics {
    pub fn new() -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self { frames: zero(), damaged: zero(), bytes: zero(), time: zero(), start: Instant::now() })
    }

    /// Counts the compressed bytes that pass a pad.
    pub fn count_bytes(self: &Arc<Self>, pad: &gst::Pad) {
        let counts = Arc::clone(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let size = info.buffer().map_or(0, |b| b.size());
            counts.bytes.fetch_add(size as u64, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
    }

    /// Counts the frames that pass a pad.
    pub fn count_frames(self: &Arc<Self>, pad: &gst::Pad) {
        let counts = Arc::clone(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                counts.frames.fetch_add(1, Ordering::Relaxed);
                let damaged = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
                counts.damaged.fetch_add(u64::from(damaged), Ordering::Relaxed);
                counts.time.fetch_max(buffer.pts().map_or(0, |t| t.nseconds()), Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
    }

    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// One line.
    pub fn line(&self) -> String {
        let seconds = self.time.load(Ordering::Relaxed) as f64 / 1e9;
        let bits = self.bytes.load(Ordering::Relaxed) as f64 * 8.0;
        let speed = self.frames() as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        let damaged = self.damaged.load(Ordering::Relaxed);
        let rate = bits / seconds.max(0.04) / 1000.0;
        format!("{seconds:.1} s, {} frames ({speed:.1}/s), {damaged} damaged, {rate:.0} kbit/s", self.frames())
    }
}
