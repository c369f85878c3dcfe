//! Full-resolution work per frame of 640x384, on one thread; motion and the loop filter also on two.

use std::hint::black_box;

use codec_core::frame::{Frame, Plane};
use codec_core::training::flow::{DisConfig, DisFlow, FlowEstimator, FlowField};
use codec_core::training::integer::Area;
use codec_core::training::kernels::PACKED_CHANNELS;
use codec_core::training::kernels::flow::pack_flow;
use codec_core::training::kernels::pack::{PackTarget, pack_frame, pack_residual};
use codec_core::training::kernels::sharpen::{BANDS, CHANNELS, sharpen};
use codec_core::training::kernels::unpack::unpack_frame;
use codec_core::training::loopfilter::{FilterCoder, LoopFilter};
use codec_core::training::motion::search::{BlockSearch, SearchEffort};
use codec_core::training::motion::{
    BlockCompensator, BlockField, CELL, Leaf, MAX_LOG2, MIN_LOG2, MotionCoder, MotionVector, OverlapMap, ROOT, References,
};
use codec_core::training::pad;
use codec_core::training::quality::lambda;
use criterion::{Criterion, criterion_group, criterion_main};

const WIDTH: usize = 640;
const HEIGHT: usize = 384;
const CELLS: usize = WIDTH * HEIGHT / 64;
const SHIFT: (i32, i32) = (6, 10);

/// A smooth texture, moved by (dx, dy).
fn textured(dx: f32, dy: f32) -> Frame {
    let mut frame = Frame::new(WIDTH, HEIGHT);
    for plane in frame.planes_mut() {
        for row in 0..plane.height {
            for (col, value) in plane.row_mut(row).iter_mut().enumerate() {
                let (x, y) = (col as f32 + dx, row as f32 + dy);
                let waves = (x * 0.31 + y * 0.07).sin() + (y * 0.23 - x * 0.11).sin() + (x * 0.05 + y * 0.61).sin();
                *value = (128.0 + 40.0 * waves) as u8;
            }
        }
    }
    frame
}

fn flow(c: &mut Criterion) {
    let (current, previous) = (textured(3.3, -1.6), textured(0.0, 0.0));
    for (name, config) in [("dis medium", DisConfig::medium()), ("dis fast", DisConfig::fast())] {
        let mut estimator = DisFlow::new(config).expect("presets are valid");
        let planes: (&Plane, &Plane) = (current.plane(0), previous.plane(0));
        c.bench_function(name, |b| b.iter(|| estimator.estimate(black_box(planes.0), planes.1, f64::INFINITY).unwrap()));
    }
}

/// About 900 leaves of all sizes, all of which move differently by a few quarter samples.
fn moving_blocks() -> BlockField {
    fn split(field: &mut BlockField, state: &mut u32, row: usize, col: usize, log2: u8) {
        let mut random = || {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *state >> 16
        };
        if log2 > MIN_LOG2 && random() % 100 < 60 {
            let half = 1 << (log2 - 1 - MIN_LOG2);
            for (r, c) in [(0, 0), (0, half), (half, 0), (half, half)] {
                split(field, state, row + r, col + c, log2 - 1);
            }
        } else {
            let mut component = || random() as i16 % 40 - 20;
            let vector = MotionVector { x: component(), y: component() };
            field.set(Leaf { row, col, log2, vector });
        }
    }
    let mut field = BlockField::still(WIDTH, HEIGHT);
    let (mut state, step) = (7, ROOT / CELL);
    for root in 0..field.rows() / step * field.cols() / step {
        let per_row = field.cols() / step;
        split(&mut field, &mut state, root / per_row * step, root % per_row * step, MAX_LOG2);
    }
    field
}

fn blocks(c: &mut Criterion) {
    let (reference, display) = (textured(0.0, 0.0), (WIDTH, HEIGHT));
    let (mut compensator, mut out) = (BlockCompensator::default(), Frame::new(WIDTH, HEIGHT));
    let (moving, still) = (moving_blocks(), BlockField::still(WIDTH, HEIGHT));
    println!("{} leaves move", moving.leaves().count());
    for threads in [1, 2] {
        for (name, field) in [("block_prediction", &moving), ("block_prediction, nothing moves", &still)] {
            c.bench_function(&on(name, threads), |b| {
                let references = References { last: &reference, golden: None };
                b.iter(|| compensator.predict(black_box(references), display, field, threads, &mut out).unwrap());
            });
        }
    }
    c.bench_function("overlap map", |b| b.iter(|| OverlapMap::of(black_box(&moving), true)));
    // What is to be found is what was just predicted.
    let mut current = Frame::new(WIDTH, HEIGHT);
    compensator.predict(References { last: &reference, golden: None }, display, &moving, 1, &mut current).expect("sizes agree");
    let (coder, price) = (MotionCoder::new(WIDTH, HEIGHT), lambda(32.0));
    for threads in [1, 2] {
        for (name, effort) in [("motion search, fast", SearchEffort::Fast), ("motion search, medium", SearchEffort::Medium)] {
            let mut search = BlockSearch::new(effort);
            c.bench_function(&on(name, threads), |b| {
                let (current, reference) = (current.plane(0), reference.plane(0));
                b.iter(|| search.search(black_box(current), reference, display, &coder, price, threads));
            });
        }
    }
}

fn on(name: &str, threads: usize) -> String {
    if threads == 1 { name.to_owned() } else { format!("{name}, {threads} threads") }
}

fn loop_filter(c: &mut Criterion) {
    let (original, mut decoded, display) = (textured(0.0, 0.0), textured(0.0, 0.0), (WIDTH, HEIGHT));
    // Blurred along rows.
    for (to, from) in decoded.planes_mut().iter_mut().zip([0, 1, 2].map(|plane| original.plane(plane))) {
        for row in 0..from.height {
            for (out, samples) in to.row_mut(row)[1..].iter_mut().zip(from.row(row).array_windows::<3>()) {
                let [left, middle, right] = samples.map(u16::from);
                *out = ((left + 2 * middle + right + 2) / 4) as u8;
            }
        }
    }
    let (mut filter, coder, price) = (LoopFilter::default(), FilterCoder::new(display), lambda(32.0));
    for threads in [1, 2] {
        c.bench_function(&on("loop filter's search", threads), |b| {
            b.iter(|| filter.estimate(black_box(&original), &decoded, display, &coder, price, threads));
        });
    }
    let params = filter.estimate(&original, &decoded, display, &coder, price, 1).expect("a filter that helps");
    for threads in [1, 2] {
        c.bench_function(&on("loop filter", threads), |b| {
            b.iter(|| filter.apply(black_box(&params), display, &mut decoded, threads));
        });
    }
}

fn sharpening(c: &mut Criterion) {
    let frame = textured(0.0, 0.0);
    let mut out = Plane::new(WIDTH, HEIGHT);
    let past = Plane::new(WIDTH, HEIGHT);
    let area = Area::whole(HEIGHT / 8, WIDTH / 8);
    for (name, past, channels) in [("sharpen luma", None, CHANNELS), ("sharpen with the past", Some(&past), CHANNELS + BANDS)] {
        let map = vec![0.04; CELLS * channels];
        c.bench_function(name, |b| b.iter(|| sharpen(black_box(frame.plane(0)), past, (&map, &area), &mut out, 1).unwrap()));
    }
}

fn layout(c: &mut Criterion) {
    let mut frame = textured(0.0, 0.0);
    let prediction = frame.clone();
    let mut wide = vec![0; CELLS * 2 * PACKED_CHANNELS];
    fn target(data: &mut [i16]) -> PackTarget<'_> {
        PackTarget { data, channels: 2 * PACKED_CHANNELS, offset: PACKED_CHANNELS }
    }
    c.bench_function("pack frame", |b| b.iter(|| pack_frame(black_box(&frame), SHIFT, target(&mut wide), 1).unwrap()));
    c.bench_function("pack residual", |b| {
        b.iter(|| pack_residual(black_box(&frame), &prediction, SHIFT, target(&mut wide), 1).unwrap());
    });
    let packed = vec![3; CELLS * PACKED_CHANNELS];
    c.bench_function("unpack frame", |b| {
        b.iter(|| unpack_frame(black_box(&packed), None, (0, 0), &mut frame, 1).unwrap());
    });
    c.bench_function("unpack and add prediction", |b| {
        b.iter(|| unpack_frame(black_box(&packed), Some(&prediction), SHIFT, &mut frame, 1).unwrap());
    });
    let display = frame.crop_copy(WIDTH, 360).unwrap();
    c.bench_function("pad", |b| b.iter(|| pad::pad_into(black_box(&display.view()), &mut frame).unwrap()));
}

fn flow_layout(c: &mut Criterion) {
    let field = FlowField { rows: HEIGHT / 4, cols: WIDTH / 4, data: vec![1.5; CELLS * 8] };
    let mut input = vec![0.0; CELLS * 200];
    c.bench_function("pack flow", |b| b.iter(|| pack_flow(black_box(&field), &mut input, 200).unwrap()));
}

criterion_group!(benches, flow, blocks, loop_filter, sharpening, layout, flow_layout);
criterion_main!(benches);
