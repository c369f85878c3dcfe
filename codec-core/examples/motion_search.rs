//! What a search's effort is worth: clips through a small closed loop of block prediction and an 8x8 DCT, whose coefficients
//! cost their entropy.
//!
//! `motion_search FRAMES EFFORTS QUALITIES CLIP...`, such as `motion_search 20 fast,medium,slow,all 32,44 a.y4m b.y4m` (8-bit 4:2:0
//! Y4M); luma only. The first effort is what the others are compared with.

use std::f64::consts::PI;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use codec_core::frame::{Frame, Plane};
use codec_core::training::entropy::SymbolWriter;
use codec_core::training::motion::coding::MotionCoder;
use codec_core::training::motion::search::{BlockSearch, SearchEffort};
use codec_core::training::motion::{BlockCompensator, PaddedFrame, ROOT, References};
use codec_core::training::quality::lambda;

/// Luma planes of the coded size and the visible size.
fn read(path: &str, frames: usize) -> (Vec<Plane>, (usize, usize)) {
    let mut input = BufReader::new(std::fs::File::open(path).expect(path));
    let mut line = String::new();
    input.read_line(&mut line).expect("a Y4M header");
    let side = |tag| line.split_whitespace().find_map(|t| t.strip_prefix(tag)).expect("a size").parse().expect("a number");
    let (width, height): (usize, usize) = (side('W'), side('H'));
    let mut planes = Vec::new();
    let mut samples = vec![0; width * height + 2 * width.div_ceil(2) * height.div_ceil(2)];
    while planes.len() < frames && input.read_line(&mut String::new()).is_ok_and(|n| n > 0) {
        if input.read_exact(&mut samples).is_err() {
            break;
        }
        let mut plane = Plane::new(width.next_multiple_of(ROOT), height.next_multiple_of(ROOT));
        for row in 0..plane.height {
            let line = &samples[row.min(height - 1) * width..][..width];
            plane.row_mut(row)[..width].copy_from_slice(line);
            plane.row_mut(row)[width..].fill(line[width - 1]);
        }
        planes.push(plane);
    }
    (planes, (width, height))
}

/// Codes what is missing from `plane` to `wanted` and returns the bits.
fn code_residual(wanted: &Plane, plane: &mut Plane, (width, height): (usize, usize), step: f32) -> f64 {
    let basis: [[f32; 8]; 8] = std::array::from_fn(|k| {
        std::array::from_fn(|x| {
            let scale = if k == 0 { 0.125f64.sqrt() } else { 0.5 };
            (scale * (PI * k as f64 * (x as f64 + 0.5) / 8.0).cos()) as f32
        })
    });
    type Block = [[f32; 8]; 8];
    let turned: Block = std::array::from_fn(|i| std::array::from_fn(|j| basis[j][i]));
    let product = |a: &Block, b: &Block| -> Block {
        let mut out = [[0.0; 8]; 8];
        for i in 0..8 {
            for k in 0..8 {
                for j in 0..8 {
                    out[i][j] += a[i][k] * b[k][j];
                }
            }
        }
        out
    };
    let mut counts = vec![[0u32; 1024]; 64];
    for top in (0..height).step_by(8) {
        for left in (0..width).step_by(8) {
            let mut block = [[0.0; 8]; 8];
            for (y, line) in block.iter_mut().enumerate() {
                let pair = wanted.row(top + y)[left..][..8].iter().zip(&plane.row(top + y)[left..][..8]);
                line.iter_mut().zip(pair).for_each(|(out, (&a, &b))| *out = f32::from(a) - f32::from(b));
            }
            let mut block = product(&product(&basis, &block), &turned);
            for (i, value) in block.as_flattened_mut().iter_mut().enumerate() {
                let level = (value.abs() / step + 0.2).floor() * value.signum();
                counts[i][(level as i32 + 512) as usize] += 1;
                *value = level * step;
            }
            let block = product(&product(&turned, &block), &basis);
            for (y, line) in block.iter().enumerate() {
                for (sample, value) in plane.row_mut(top + y)[left..][..8].iter_mut().zip(line) {
                    *sample = (f32::from(*sample) + value).round().clamp(0.0, 255.0) as u8;
                }
            }
        }
    }
    let entropy = |counts: &[u32; 1024]| {
        let total = f64::from(counts.iter().sum::<u32>());
        let used = counts.iter().filter(|&&n| n > 0).map(|&n| f64::from(n));
        used.map(|n| n * (total / n).log2()).sum::<f64>()
    };
    counts.iter().map(entropy).sum()
}

fn squares(a: &Plane, b: &Plane, (width, height): (usize, usize)) -> f64 {
    let line = |y: usize| a.row(y)[..width].iter().zip(&b.row(y)[..width]).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2));
    (0..height).flat_map(line).sum()
}

/// What this thread has spent so far: the machine may be shared.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "a clock for threads");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Sums over frames.
struct Runner {
    search: BlockSearch,
    golden: PaddedFrame,
    coder: MotionCoder,
    motion: f64,
    residual: f64,
    predicted: f64,
    coded: f64,
    leaves: usize,
    ratio: f64,
    least: Duration,
    total: Duration,
}

impl Runner {
    /// `golden`: the first frame. An effort that ends in `-` does without.
    fn new(effort: &str, golden: &Frame, display: (usize, usize)) -> Self {
        let (width, height) = (golden.width(), golden.height());
        let mut padded = PaddedFrame::default();
        padded.load(golden, display, 1);
        let mut search = match effort.trim_end_matches('-') {
            "fast" => BlockSearch::new(SearchEffort::Fast),
            "medium" => BlockSearch::new(SearchEffort::Medium),
            "slow" => BlockSearch::new(SearchEffort::Slow),
            "all" => BlockSearch::exhaustive((48, 32)),
            other => panic!("no effort: {other}"),
        };
        if !effort.ends_with('-') {
            search.set_golden(golden.plane(0), display, 1);
        }
        let (coder, least, total) = (MotionCoder::new(width, height), Duration::MAX, Duration::ZERO);
        Self {
            search,
            golden: padded,
            coder,
            motion: 0.0,
            residual: 0.0,
            predicted: 0.0,
            coded: 0.0,
            leaves: 0,
            ratio: 0.0,
            least,
            total,
        }
    }

    /// Codes a frame and returns its reconstruction.
    fn frame(&mut self, plane: &Plane, reference: &Frame, display: (usize, usize), quality: f64, step: f32) -> Frame {
        let start = processor_time();
        let found = self.search.search(plane, reference.plane(0), display, &self.coder, lambda(quality), 1);
        let time = processor_time() - start;
        (self.least, self.total) = (self.least.min(time), self.total + time);
        let mut writer = SymbolWriter::new();
        self.coder.encode(&found.field, &mut writer);
        self.motion += writer.bits();
        self.leaves += found.field.leaves().count();
        self.ratio += found.inter_cost as f64 / found.intra_cost as f64;
        let mut frame = Frame::new(plane.width, plane.height);
        let references = References { last: reference, golden: Some(&self.golden) };
        BlockCompensator::default().predict(references, display, &found.field, 1, &mut frame).expect("sizes agree");
        self.predicted += squares(plane, frame.plane(0), display);
        self.residual += code_residual(plane, frame.plane_mut(0), display, step);
        self.coded += squares(plane, frame.plane(0), display);
        frame
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, frames, efforts, qualities, clips @ ..] = &arguments[..] else {
        panic!("usage: motion_search FRAMES EFFORTS QUALITIES CLIP...")
    };
    println!(
        "clip quality effort | motion bits, leaves | prediction dB | all bits, dB, loss, of the search | inter/intra | ms: least, mean"
    );
    let efforts: Vec<&str> = efforts.split(',').collect();
    let mut losses = vec![Vec::new(); efforts.len()];
    for clip in clips {
        let (planes, display) = read(clip, frames.parse().expect("a number"));
        let samples = (display.0 * display.1) as f64;
        let name = clip.rsplit('/').next().unwrap_or(clip).trim_end_matches(".y4m").trim_start_matches("davis_");
        for quality in qualities.split(',').map(|q| q.parse().expect("a quality")) {
            let price = 65025.0 / lambda(quality);
            let step = (price / 0.16).sqrt() as f32;
            let size = (planes[0].width, planes[0].height);
            // All efforts start from what the first one made.
            let mut reference = Frame::new(size.0, size.1);
            reference.plane_mut(0).data.fill(128);
            code_residual(&planes[0], reference.plane_mut(0), display, step / 2.0);
            let mut runners: Vec<Runner> = efforts.iter().map(|effort| Runner::new(effort, &reference, display)).collect();
            for plane in &planes[1..] {
                let frames: Vec<Frame> = runners.iter_mut().map(|r| r.frame(plane, &reference, display, quality, step)).collect();
                reference = frames.into_iter().next().expect("at least one");
            }
            let n = (planes.len() - 1) as f64;
            for (i, (r, effort)) in runners.iter().zip(&efforts).enumerate() {
                let psnr = |squares: f64| 10.0 * (65025.0 * samples * n / squares).log10();
                let bits = |r: &Runner| r.motion + r.residual;
                // Bits at equal quality, by the price of the squared error, over those of the first effort.
                let cost = |r: &Runner| bits(r) + r.coded / price;
                let loss = 100.0 * (cost(r) - cost(&runners[0])) / bits(&runners[0]);
                // What the search minimises, in the same unit.
                let own = |r: &Runner| r.motion + r.predicted / price;
                let own = 100.0 * (own(r) - own(&runners[0])) / bits(&runners[0]);
                let ms = |time: Duration| 1000.0 * time.as_secs_f64() * 640.0 * 360.0 / samples;
                losses[i].push([loss, own, ms(r.least), ms(r.total.div_f64(n))]);
                println!(
                    "{name:.10} {quality} {effort:6} | {:6.0} {:4.0} | {:6.3} | {:6.0} {:6.3} {loss:+5.2} % {own:+5.2} % | {:.3} | {:.2} {:.2}",
                    r.motion / n,
                    r.leaves as f64 / n,
                    psnr(r.predicted),
                    bits(r) / n,
                    psnr(r.coded),
                    r.ratio / n,
                    ms(r.least),
                    ms(r.total.div_f64(n))
                );
            }
        }
    }
    for (effort, losses) in efforts.iter().zip(&losses) {
        let mean = |i: usize| losses.iter().map(|loss: &[f64; 4]| loss[i]).sum::<f64>() / losses.len() as f64;
        println!(
            "{effort}: {:+.2} % of the bits on the mean, {:+.2} % by the search's own measure; ms: least {:.2}, mean {:.2}",
            mean(0),
            mean(1),
            mean(2),
            mean(3)
        );
    }
}
