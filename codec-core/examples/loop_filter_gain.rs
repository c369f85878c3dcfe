//! What the loop filter gains on a clip that went through a crude codec, or on a decoded clip beside its original.
//!
//! `loop_filter_gain ORIGINAL.y4m STEP [FRAMES]` quantises 8x8 cosine transforms of the frames with STEP;
//! `loop_filter_gain ORIGINAL.y4m DECODED.y4m QUALITY [FRAMES]` takes frames that were decoded at a quality index.
//! Gains are not those of a codec that predicts from the filtered frames.

use std::time::Instant;

use codec_core::frame::{Frame, Plane, chroma_size};
use codec_core::training::entropy::SymbolWriter;
use codec_core::training::loopfilter::{FilterCoder, LoopFilter};
use codec_core::training::pad::padded;
use codec_core::training::quality;

/// Frames of an 8-bit 4:2:0 Y4M file, at most `count`, at display size.
fn read(path: &str, count: usize) -> Vec<Frame> {
    let data = std::fs::read(path).expect("the clip can be read");
    let line = |at: usize| at + data[at..].iter().position(|&byte| byte == b'\n').expect("a whole header") + 1;
    let header = String::from_utf8_lossy(&data[..line(0) - 1]).into_owned();
    let side = |tag: char| -> usize {
        header.split(' ').find_map(|word| word.strip_prefix(tag)).and_then(|n| n.parse().ok()).expect("a size")
    };
    let (mut at, mut frames) = (line(0), Vec::new());
    while frames.len() < count && at < data.len() {
        at = line(at);
        let mut frame = Frame::new(side('W'), side('H'));
        for plane in frame.planes_mut() {
            let len = plane.data.len();
            plane.data.copy_from_slice(&data[at..at + len]);
            at += len;
        }
        frames.push(frame);
    }
    frames
}

/// A cosine transform of rows, transposed; twice, it is one of rows and columns.
fn transform(block: &[f64; 64], inverse: bool) -> [f64; 64] {
    let basis = |k: usize, n: usize| {
        let scale = if k == 0 { 0.125f64.sqrt() } else { 0.5 };
        scale * (std::f64::consts::PI * (n as f64 + 0.5) * k as f64 / 8.0).cos()
    };
    std::array::from_fn(|i| {
        let (a, b) = (i / 8, i % 8);
        (0..8).map(|n| block[n * 8 + a] * if inverse { basis(n, b) } else { basis(b, n) }).sum()
    })
}

/// Quantises 8x8 cosine transforms with a dead zone.
fn degrade(plane: &mut Plane, step: f64) {
    let (rows, cols) = (plane.height / 8, plane.width / 8);
    for (top, left) in (0..rows * cols).map(|at| (at / cols * 8, at % cols * 8)) {
        let block = std::array::from_fn(|i| f64::from(plane.row(top + i / 8)[left + i % 8]) - 128.0);
        let levels = transform(&transform(&block, false), false).map(|c| c.signum() * (c.abs() / step + 0.33).floor());
        let block = transform(&transform(&levels.map(|level| level * step), true), true);
        for (i, value) in block.into_iter().enumerate() {
            plane.row_mut(top + i / 8)[left + i % 8] = (value + 128.0).round().clamp(0.0, 255.0) as u8;
        }
    }
}

/// Sums of squared errors of the planes, and their numbers of samples.
fn errors(a: &Frame, b: &Frame, display: (usize, usize)) -> [(f64, f64); 3] {
    let chroma = chroma_size(display.0, display.1);
    [0, 1, 2].map(|i| {
        let (width, height) = if i == 0 { display } else { chroma };
        let rows = (0..height).flat_map(|row| a.plane(i).row(row)[..width].iter().zip(b.plane(i).row(row)));
        (rows.map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum(), (width * height) as f64)
    })
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let decoded = args.get(1).filter(|arg| arg.ends_with(".y4m"));
    let numbers: Vec<f64> = args.iter().skip(1 + usize::from(decoded.is_some())).filter_map(|arg| arg.parse().ok()).collect();
    let (setting, count) = (numbers[0], numbers.get(1).map_or(30, |&count| count as usize));
    let originals = read(&args[0], count);
    let display = (originals[0].width(), originals[0].height());
    let decoded = decoded.map(|path| read(path, count));
    // About the slope of a uniform quantiser.
    let lambda = if decoded.is_some() { quality::lambda(setting) } else { 65025.0 / (0.13 * setting * setting) };
    let (mut coder, mut filter) = (FilterCoder::new(display), LoopFilter::default());
    let (mut psnr, mut worth, mut bits, mut times) = ([[0.0; 3]; 2], [0.0; 3], 0.0, [f64::INFINITY; 2]);
    let per_frame = 1.0 / originals.len() as f64;
    for (i, original) in originals.iter().enumerate() {
        let original = padded(&original.view()).expect("a frame");
        let mut frame = match &decoded {
            Some(decoded) => padded(&decoded[i].view()).expect("a frame"),
            None => original.clone(),
        };
        if decoded.is_none() {
            frame.planes_mut().iter_mut().for_each(|plane| degrade(plane, setting));
        }
        let before = errors(&original, &frame, display);
        let start = Instant::now();
        let params = filter.estimate(&original, &frame, display, &coder, lambda, 1);
        times[0] = start.elapsed().as_secs_f64().min(times[0]);
        let mut writer = SymbolWriter::new();
        coder.encode(params.as_ref(), &mut writer);
        bits += writer.bits() * per_frame;
        if let Some(params) = &params {
            let start = Instant::now();
            filter.apply(params, display, &mut frame, 1);
            times[1] = start.elapsed().as_secs_f64().min(times[1]);
        }
        let after = errors(&original, &frame, display);
        for plane in 0..3 {
            worth[plane] += (before[plane].0 - after[plane].0) * lambda / 65025.0 * per_frame;
            for (psnr, (sum, samples)) in psnr.iter_mut().zip([before[plane], after[plane]]) {
                psnr[plane] += 10.0 * (65025.0 * samples / sum.max(1e-9)).log10() * per_frame;
            }
        }
    }
    let [gain_y, gain_u, gain_v] = [0, 1, 2].map(|plane| psnr[1][plane] - psnr[0][plane]);
    println!(
        "{} at {setting}: PSNR {:.2} {:.2} {:.2} dB, gain {gain_y:+.3} {gain_u:+.3} {gain_v:+.3} dB, worth {:.0} {:.0} {:.0} bits a frame for {bits:.0}; \
         least times: estimate {:.2} ms, apply {:.2} ms",
        args[0].rsplit('/').next().unwrap_or_default(),
        psnr[0][0],
        psnr[0][1],
        psnr[0][2],
        worth[0],
        worth[1],
        worth[2],
        1e3 * times[0],
        1e3 * times[1],
    );
}
