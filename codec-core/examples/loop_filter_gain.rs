//! What the loop filter gains on a clip that went through a crude codec, or on a decoded clip beside its original.
//!
//! `loop_filter_gain ORIGINAL.y4m STEP [FRAMES]` quantises 8x8 cosine transforms of the frames with STEP;
//! `loop_filter_gain ORIGINAL.y4m DECODED.y4m QUALITY [FRAMES]` compares with a decoded clip at a quality index.

use std::time::Instant;

use codec_core::entropy::SymbolWriter;
use codec_core::frame::pad::padded;
use codec_core::frame::{Frame, Plane, chroma_size};
use codec_core::loopfilter::{FilterCoder, LoopFilter};
use codec_core::quality;

/// Frames of an 8-bit 4:2:0 Y4M file, at most `count`, at display size.
fn read(path: &str, count: usize) -> Vec<Frame> {
    let data = std::fs::read(path).expect("the clip can be read");
    let end = data.iter().position(|&b| b == b'\n').expect("a Y4M header");
    let header = String::from_utf8_lossy(&data[..end]).into_owned();
    let side = |tag: char| -> usize {
        header.split(' ').find_map(|word| word.strip_prefix(tag)).and_then(|n| n.parse().ok()).expect("a size")
    };
    let (width, height) = (side('W'), side('H'));
    let (cw, ch) = chroma_size(width, height);
    let (size, mut at, mut frames) = (width * height + 2 * cw * ch, end + 1, Vec::new());
    while frames.len() < count && at < data.len() {
        at += data[at..].iter().position(|&b| b == b'\n').expect("a frame header") + 1;
        let mut frame = Frame::new(width, height);
        for plane in frame.planes_mut() {
            let len = plane.data.len();
            plane.data.copy_from_slice(&data[at..at + len]);
            at += len;
        }
        assert!(size > 0);
        frames.push(frame);
    }
    frames
}

/// Quantises 8x8 cosine transforms with a dead zone, coarser for chroma's higher frequencies; returns an estimate of the bits.
fn degrade(plane: &mut Plane, step: f64) -> f64 {
    let basis = |k: usize, n: usize| {
        let scale = if k == 0 { 0.125f64.sqrt() } else { 0.5 };
        scale * (std::f64::consts::PI * (n as f64 + 0.5) * k as f64 / 8.0).cos()
    };
    let table: Vec<f64> = (0..64).map(|i| basis(i / 8, i % 8)).collect();
    let mut bits = 0.0;
    for top in (0..plane.height).step_by(8) {
        for left in (0..plane.width).step_by(8) {
            let mut block = [0.0; 64];
            for i in 0..64 {
                block[i] = f64::from(plane.row(top + i / 8)[left + i % 8]) - 128.0;
            }
            let mut turn = |inverse: bool| {
                for _ in 0..2 {
                    let from = block;
                    for i in 0..64 {
                        // Transposes: two turns do rows and columns.
                        let (a, b) = (i / 8, i % 8);
                        block[i] =
                            (0..8).map(|n| from[n * 8 + a] * if inverse { table[n * 8 + b] } else { table[b * 8 + n] }).sum();
                    }
                }
            };
            turn(false);
            let mut levels = 0.0;
            for value in &mut block {
                let level = (value.abs() / step + 0.33).floor();
                levels += if level > 0.0 { 3.0 + 2.0 * (level + 1.0).log2() } else { 0.0 };
                *value = value.signum() * level * step;
            }
            bits += 1.0 + levels;
            let mut turn = |inverse: bool| {
                for _ in 0..2 {
                    let from = block;
                    for i in 0..64 {
                        let (a, b) = (i / 8, i % 8);
                        block[i] =
                            (0..8).map(|n| from[n * 8 + a] * if inverse { table[n * 8 + b] } else { table[b * 8 + n] }).sum();
                    }
                }
            };
            turn(true);
            for i in 0..64 {
                plane.row_mut(top + i / 8)[left + i % 8] = (block[i] + 128.0).round().clamp(0.0, 255.0) as u8;
            }
        }
    }
    bits
}

/// Sums of squared errors of the planes, and their numbers of samples.
fn errors(a: &Frame, b: &Frame, display: (usize, usize)) -> [(f64, f64); 3] {
    let chroma = chroma_size(display.0, display.1);
    [0, 1, 2].map(|i| {
        let (w, h) = if i == 0 { display } else { chroma };
        let sum: f64 = (0..h)
            .flat_map(|row| a.plane(i).row(row)[..w].iter().zip(&b.plane(i).row(row)[..w]))
            .map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2))
            .sum();
        (sum, (w * h) as f64)
    })
}

fn psnr((sum, count): (f64, f64)) -> f64 {
    10.0 * (65025.0 * count / sum.max(1e-9)).log10()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let decoded_clip = args.get(1).filter(|arg| arg.ends_with(".y4m"));
    let setting: f64 = args[if decoded_clip.is_some() { 2 } else { 1 }].parse().expect("a number");
    let count = args.get(if decoded_clip.is_some() { 3 } else { 2 }).map_or(30, |n| n.parse().expect("a number"));
    let originals = read(&args[0], count);
    let display = (originals[0].width(), originals[0].height());
    let decoded = decoded_clip.map(|path| read(path, count));
    // For a uniform quantiser, d error / d bits is about 6 dB a bit of a coefficient: 0.1 to 0.2 step^2.
    let lambda = if decoded.is_some() { quality::lambda(setting) } else { 65025.0 / (0.13 * setting * setting) };
    let mut coder = FilterCoder::new(display);
    let mut filter = LoopFilter::default();
    let (mut before, mut after, mut filter_bits, mut bits) = ([0.0; 3], [0.0; 3], 0.0, 0.0);
    let mut saved = [0.0; 3];
    let (mut estimating, mut applying) = (f64::INFINITY, f64::INFINITY);
    for (i, frame) in originals.iter().enumerate() {
        let original = padded(&frame.view()).expect("a frame");
        let mut frame = match &decoded {
            Some(decoded) => padded(&decoded[i].view()).expect("a frame"),
            None => {
                let mut frame = original.clone();
                frame.planes_mut().iter_mut().for_each(|plane| bits += degrade(plane, setting));
                frame
            }
        };
        let mut add = |sums: &mut [f64; 3], frame: &Frame, sign: f64| {
            for ((i, sum), error) in sums.iter_mut().enumerate().zip(errors(&original, frame, display)) {
                *sum += psnr(error) / originals.len() as f64;
                saved[i] += sign * error.0 * lambda / 65025.0;
            }
        };
        add(&mut before, &frame, 1.0);
        let start = Instant::now();
        let params = filter.estimate(&original, &frame, display, &coder, lambda);
        estimating = estimating.min(start.elapsed().as_secs_f64());
        let mut writer = SymbolWriter::new();
        coder.encode(params.as_ref(), &mut writer);
        filter_bits += writer.bits();
        if let Some(params) = &params {
            let start = Instant::now();
            filter.apply(params, display, &mut frame, 1);
            applying = applying.min(start.elapsed().as_secs_f64());
        }
        add(&mut after, &frame, -1.0);
    }
    let n = originals.len() as f64;
    println!(
        "{} {setting}: {:.2} {:.2} {:.2} dB, gain {:+.3} {:+.3} {:+.3} dB, worth {:.0} {:.0} {:.0} bits a frame for {:.0} of {:.0}; estimate {:.2} ms, apply {:.2} ms",
        args[0].rsplit('/').next().unwrap_or_default().split('_').nth(1).unwrap_or_default(),
        before[0],
        before[1],
        before[2],
        after[0] - before[0],
        after[1] - before[1],
        after[2] - before[2],
        saved[0] / n,
        saved[1] / n,
        saved[2] / n,
        filter_bits / n,
        bits / n,
        1e3 * estimating,
        1e3 * applying,
    );
}
