//! Damaged units by the thousand through parser and entropy decoder: no panic, no hang, no allocation that a number in a
//! unit could blow up. `NGC_FUZZ=1000000` sets their number.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use codec_core::bitstream::{FrameHeader, FrameType, Profile, Scan, SequenceHeader, VideoInfo, parse_unit, scan, write_unit};
use codec_core::training::entropy::{
    EntropyConfig, EntropyModel, LatentContext, LatentInput, Scratch, SymbolReader, SymbolWriter,
};
use codec_core::training::quality::QualityGrid;
use codec_core::{Error, Limits};
use common::{Lcg, config, model, predicting};

/// Largest single allocation since the start of a unit, and bytes alive.
struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised to this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised to this function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// No unit here has so many bytes, and no latent of a 128x128 frame takes so many.
const MAX_ALLOCATION: usize = 256 << 10;
/// Frames are decoded up to this size; larger ones are only parsed.
const MAX_PIXELS: u64 = 128 * 128;

struct Fuzzer {
    /// Of I-frames and of P-frames.
    models: [EntropyModel; 2],
    scratch: Scratch,
    units: Vec<Vec<u8>>,
    random: Lcg,
    outcomes: [usize; 5],
}

const OUTCOMES: [&str; 5] = ["whole", "corrupt", "unsupported", "beyond limits", "other"];

fn payload(model: &EntropyModel, seed: u32) -> Vec<u8> {
    let config = model.config();
    let mut random = Lcg(seed.into());
    let mut values = |count: usize| -> Vec<f32> { (0..count).map(|_| (random.below(800) - 400) as f32 / 400.0).collect() };
    let (z, mut y) = (values(config.hyper_channels), values(16 * config.channels));
    let mut writer = SymbolWriter::new();
    let context = LatentContext { model, quality: QualityGrid::uniform(20), rows: 4, cols: 4, prior: None };
    let modes = context.predict(&mut y, 1).unwrap();
    let input = LatentInput { z: &z, y: &y, prices: &[], modes: modes.as_ref() };
    context.encode(&input, &mut writer, &mut Scratch::default()).unwrap();
    writer.finish()
}

impl Fuzzer {
    fn new() -> Self {
        let models = [
            model(&predicting()),
            model(&EntropyConfig { transforms: true, adaptive_scales: true, ..config(384 + 8, 8, 32, true, true) }),
        ];
        let video = VideoInfo { width: 64, height: 50, framerate: (30, 1), ..VideoInfo::default() };
        let sequence = SequenceHeader { model_id: [3; 16], profile: Profile::Rt, random_shift: Some(9), detail: 0, video };
        let units = (0..6)
            .map(|i| {
                let kind = [FrameType::I, FrameType::P, FrameType::Pair][i as usize % 3];
                let header = FrameHeader::new(kind, 20, i);
                write_unit(&header, (i % 3 == 0).then_some(&sequence), &payload(&models[usize::from(kind != FrameType::I)], i))
                    .unwrap()
            })
            .collect();
        Self { models, scratch: Scratch::default(), units, random: Lcg(99), outcomes: [0; 5] }
    }

    /// A unit with some damage; half of the time with checks that fit again, so that what lies behind them is reached.
    fn damaged(&mut self) -> Vec<u8> {
        let pick = |random: &mut Lcg, bound: usize| random.below(bound as u32) as usize;
        let count = self.units.len();
        let mut unit = self.units[pick(&mut self.random, count)].clone();
        for _ in 0..1 + self.random.below(4) {
            let at = pick(&mut self.random, unit.len().max(1));
            match self.random.below(7) {
                0 if !unit.is_empty() => unit[at] ^= 1 << self.random.below(8),
                1 if !unit.is_empty() => unit[at] = self.random.below(256) as u8,
                2 => unit.truncate(at),
                3 => {
                    let other = &self.units[pick(&mut self.random, count)];
                    unit.extend_from_slice(&other[..pick(&mut self.random, other.len())]);
                }
                4 if unit.len() > 8 => {
                    let to = (at + 1 + pick(&mut self.random, 12)).min(unit.len());
                    unit.drain(at..to);
                }
                // Lengths and sizes at their extremes.
                5 if unit.len() > at + 5 => unit[at..at + 5].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]),
                6 if unit.len() > at + 2 => unit[at..at + 2].copy_from_slice(&[0x80, 0x01]),
                _ => {}
            }
        }
        if self.random.below(2) == 0 {
            repair(&mut unit);
        }
        unit
    }

    fn one(&mut self) {
        let unit = self.damaged();
        LARGEST.store(0, Ordering::Relaxed);
        let limits = Limits::default();
        // A scan always gets on: it takes bytes, skips some, or says how many it waits for, within the limit.
        let mut rest = &unit[..];
        while !rest.is_empty() {
            rest = match scan(rest, &limits) {
                Scan::Unit { len, .. } => &rest[len..],
                Scan::Skip { bytes, .. } => {
                    assert!(bytes > 0, "a skip of nothing");
                    &rest[bytes..]
                }
                Scan::NeedMore(bytes) => {
                    assert!(bytes > rest.len() && bytes <= limits.max_unit_bytes, "waits for {bytes} bytes");
                    break;
                }
            };
        }
        let outcome = match self.decode(&unit, &limits) {
            Ok(()) => 0,
            Err(Error::Corrupt(_)) => 1,
            Err(Error::Unsupported(_)) => 2,
            Err(Error::Limit(_)) => 3,
            Err(_) => 4,
        };
        self.outcomes[outcome] += 1;
        let largest = LARGEST.load(Ordering::Relaxed);
        assert!(largest <= MAX_ALLOCATION, "{largest} bytes at once for a unit of {}: {unit:02x?}", unit.len());
    }

    fn decode(&mut self, unit: &[u8], limits: &Limits) -> codec_core::Result<()> {
        let parsed = parse_unit(unit, limits)?;
        let (width, height) = parsed.sequence.as_ref().map_or((64, 64), |s| s.video.coded_size());
        if width * height > MAX_PIXELS {
            return Ok(());
        }
        let (rows, cols) = (height as usize / 16, width as usize / 16);
        let mut reader = SymbolReader::new(parsed.payload)?;
        let (model, scratch) = (&self.models[usize::from(parsed.header.frame_type != FrameType::I)], &mut self.scratch);
        let quality = QualityGrid::uniform(parsed.header.residual_quality);
        LatentContext { model, quality, rows, cols, prior: None }.decode(&mut reader, scratch)?;
        reader.finish().map(|_| ())
    }
}

/// Makes header check and CRC fit what they cover, and the length the rest.
fn repair(unit: &mut [u8]) {
    if unit.len() < 12 {
        return;
    }
    let (marker, crc_bytes): (&[u8], usize) = if unit[1] & 0xf0 == 0x80 { (b"N", 2) } else { (b"NGC", 4) };
    let end = unit.len() - crc_bytes;
    unit[..marker.len()].copy_from_slice(marker);
    let start = &mut unit[marker.len()..end];
    if start[1] & 0x80 == 0 {
        // A length of one byte is left as it is unless it can be made right.
        if let Ok(length) = u8::try_from(start.len() - 3)
            && length < 128
        {
            start[1] = length;
        }
        start[2] = crc8(&start[..2]);
    } else {
        let length = start.len().saturating_sub(4);
        start[1] = length as u8 | 0x80;
        start[2] = (length >> 7) as u8 & 0x7f;
        start[3] = crc8(&start[..3]);
    }
    let crc = crc32c::crc32c(&unit[..end]).to_le_bytes();
    unit[end..].copy_from_slice(&crc[..crc_bytes]);
}

fn crc8(data: &[u8]) -> u8 {
    data.iter().fold(0, |crc, byte| (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 != 0 { (crc << 1) ^ 7 } else { crc << 1 }))
}

#[test]
fn damaged_units_do_no_harm() {
    let count = std::env::var("NGC_FUZZ").ok().and_then(|v| v.parse().ok()).unwrap_or(20_000);
    let mut fuzzer = Fuzzer::new();
    let start = std::time::Instant::now();
    let mut peak = 0;
    for _ in 0..count {
        fuzzer.one();
        peak = peak.max(LARGEST.load(Ordering::Relaxed));
    }
    let outcomes: Vec<String> = OUTCOMES.iter().zip(fuzzer.outcomes).map(|(name, n)| format!("{n} {name}")).collect();
    println!("{count} units in {:.0?}: {}; largest allocation {peak} bytes", start.elapsed(), outcomes.join(", "));
    // The damage reaches every layer.
    assert!(fuzzer.outcomes[..4].iter().all(|&n| n > 0), "{outcomes:?}");
}
