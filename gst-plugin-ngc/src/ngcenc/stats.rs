//! What an encoder has done so far, for the property `stats`.

use std::time::Duration;

use codec_core::Packet;

/// Encoding times kept for the median: the latest of them.
const TIMES: usize = 512;

/// Counts since the element was started.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    frames: u64,
    keyframes: u64,
    bytes: u64,
    quality_sum: u64,
    /// In microseconds, a ring.
    times: Vec<u32>,
}

impl Stats {
    pub fn add(&mut self, unit: &Packet, time: Duration) {
        let slot = self.frames as usize % TIMES;
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        match self.times.get_mut(slot) {
            Some(old) => *old = micros,
            None => self.times.push(micros),
        }
        self.frames += 1;
        self.keyframes += u64::from(unit.keyframe);
        self.bytes += unit.data.len() as u64;
        self.quality_sum += u64::from(unit.quality);
    }

    pub fn structure(&self) -> gst::Structure {
        let mut times = self.times.clone();
        times.sort_unstable();
        let percentile = |p: usize| times.get((times.len() * p / 100).min(times.len().saturating_sub(1))).copied().unwrap_or(0);
        gst::Structure::builder("ngcenc-stats")
            .field("frames", self.frames)
            .field("keyframes", self.keyframes)
            .field("bytes", self.bytes)
            .field("average-quality", self.quality_sum as f64 / self.frames.max(1) as f64)
            .field("encode-time-p50-us", percentile(50))
            .field("encode-time-p95-us", percentile(95))
            .build()
    }
}
