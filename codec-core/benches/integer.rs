//! Integer layers of the transforms' sizes, on one thread.
//!
//! First prints the rate of each backend and size as about the least of many runs, in processor time of this thread, which other
//! processes disturb least, and in products a cycle of this core's clock. Criterion's own figures follow.

use std::hint::black_box;

use codec_core::training::integer::{Activation, Area, Backend, Block, BlockParams, Depthwise, LayerParams, Pointwise};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Nanoseconds that this thread has run.
fn thread_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` may be written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds of a call: the first hundredth of `repeats` calls. (The very least may be a fault of a virtual clock.)
fn least(repeats: u64, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<u64> = (0..repeats.max(1))
        .map(|_| {
            let start = thread_nanos();
            work();
            thread_nanos() - start
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 100].max(1) as f64
}

/// Clock of this core in GHz, from a chain of dependent additions of one cycle each; 1 where there is no code for it.
fn clock_ghz() -> f64 {
    const TURNS: u64 = 200_000;
    let nanos = least(100, || {
        let (mut x, mut turns) = (black_box(1u64), TURNS);
        // SAFETY: registers only.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!(
                "2:", "add {x}, {y}", "add {x}, {y}", "add {x}, {y}", "add {x}, {y}", "add {x}, {y}", "add {x}, {y}",
                "add {x}, {y}", "add {x}, {y}", "dec {turns}", "jnz 2b",
                x = inout(reg) x, y = in(reg) 3u64, turns = inout(reg) turns,
            );
        }
        // SAFETY: registers only.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            std::arch::asm!(
                "2:", "add {x}, {x}, {y}", "add {x}, {x}, {y}", "add {x}, {x}, {y}", "add {x}, {x}, {y}",
                "add {x}, {x}, {y}", "add {x}, {x}, {y}", "add {x}, {x}, {y}", "add {x}, {x}, {y}",
                "subs {turns}, {turns}, #1", "b.ne 2b",
                x = inout(reg) x, y = in(reg) 3u64, turns = inout(reg) turns,
            );
        }
        black_box((&mut x, &mut turns));
    });
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) { (8 * TURNS) as f64 / nanos } else { 1.0 }
}

/// Weights of 10 bits that leave activations at about their magnitude.
fn params(outputs: usize, per_output: usize) -> LayerParams {
    LayerParams {
        weight: (0..outputs * per_output).map(|i| (i * 7919 % 201) as i16 - 100).collect(),
        bias: vec![100; outputs],
        shift: vec![if per_output == 9 { 8 } else { 10 }; outputs],
    }
}

fn activations(count: usize) -> Vec<i16> {
    (0..count).map(|i| (i * 7907 % 4001) as i16 - 2000).collect()
}

struct Case {
    name: String,
    /// Products of one run.
    products: usize,
    run: Box<dyn FnMut(Backend)>,
}

fn block(c: usize, cols: usize, rows: usize) -> Case {
    let layers = BlockParams {
        mix_in: params(c, c),
        depthwise: params(c, 9),
        mix_out: params(c, c),
        expand: params(2 * c, c),
        project: params(c, 2 * c),
    };
    let block = Block::new("block", c, &layers).expect("valid parameters");
    let x = activations(rows * cols * c);
    let mut out = vec![0; x.len()];
    Case {
        name: format!("block {c}, {cols}x{rows}"),
        products: (6 * c * c + 9 * c) * rows * cols,
        run: Box::new(move |backend| block.run(backend, 1, black_box(&x), &Area::whole(rows, cols), &mut out)),
    }
}

fn pointwise(inputs: usize, outputs: usize, positions: usize) -> Case {
    let layer = Pointwise::new("layer", inputs, outputs, &params(outputs, inputs), Activation::Leaky).expect("valid parameters");
    let x = activations(positions * inputs);
    let mut out = vec![0; positions * outputs];
    Case {
        name: format!("1x1 {inputs}->{outputs}, {positions}"),
        products: inputs * outputs * positions,
        run: Box::new(move |backend| layer.run(backend, black_box(&x), &mut out)),
    }
}

fn depthwise(c: usize, cols: usize) -> Case {
    let layer = Depthwise::new("layer", c, &params(c, 9), Activation::None).expect("valid parameters");
    let rows = [0; 3].map(|_| activations(cols * c));
    let mut out = vec![0; cols * c];
    Case {
        name: format!("depthwise {c}, a row of {cols}"),
        products: 9 * c * cols,
        run: Box::new(move |backend| layer.run_row(backend, [&rows[0], black_box(&rows[1]), &rows[2]], &mut out)),
    }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![block(96, 80, 48), block(96, 240, 136), block(192, 40, 24), block(192, 120, 68)];
    let sizes = [(256, 192), (96, 96), (192, 96), (192, 384), (384, 192), (384, 128), (128, 384), (96, 64), (64, 66), (160, 160)];
    cases.extend(sizes.map(|(inputs, outputs)| pointwise(inputs, outputs, 80)));
    cases.push(depthwise(96, 80));
    cases
}

fn benches(criterion: &mut Criterion) {
    let clock = clock_ghz();
    println!("clock {clock:.2} GHz");
    for mut case in cases() {
        let mut group = criterion.benchmark_group(&case.name);
        group.throughput(Throughput::Elements(case.products as u64));
        for backend in Backend::ALL.into_iter().filter(|b| b.available()) {
            // About half a second at 50 products a nanosecond.
            let repeats =
                (25_000_000_000 / case.products as u64).clamp(20, 20_000) / if backend == Backend::Scalar { 10 } else { 1 };
            let nanos = least(repeats, || (case.run)(backend));
            let rate = case.products as f64 / nanos;
            println!("{} {backend:?}: {:.3} ms, {rate:.1} GMAC/s, {:.1} a cycle", case.name, nanos / 1e6, rate / clock);
            group.bench_function(format!("{backend:?}"), |b| b.iter(|| (case.run)(backend)));
        }
    }
}

criterion_group!(group, benches);
criterion_main!(group);
