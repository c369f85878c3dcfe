//! Integer layers: every backend and any number of threads give what the definition gives.

mod common;

use codec_core::Error;
use codec_core::training::integer::{
    Activation, Area, Backend, Block, BlockParams, Depthwise, LayerParams, MAX_SHIFT, Machine, Pointwise,
};
use common::Lcg;

const ACTIVATIONS: [Activation; 3] = [Activation::None, Activation::Leaky, Activation::LeakySum];

fn backends() -> impl Iterator<Item = Backend> {
    Backend::ALL.into_iter().filter(|backend| {
        if !backend.available() {
            eprintln!("{backend:?} is not available here: it compiles, but was not run");
        }
        backend.available()
    })
}

/// Activations of which some lie at the ends of the range.
fn values(rng: &mut Lcg, count: usize) -> Vec<i16> {
    (0..count)
        .map(|_| match rng.below(20) {
            0 => i16::MIN,
            1 => i16::MAX,
            _ => (rng.below(20_000) - 10_000) as i16,
        })
        .collect()
}

/// 10-bit weights with shifts such that a part of the outputs saturates.
fn params(rng: &mut Lcg, outputs: usize, per_output: usize) -> LayerParams {
    // Every few outputs one has large sums; the bound on weights keeps them within 32 bits.
    let limit = (65_000 / per_output as u32).min(511);
    LayerParams {
        weight: (0..outputs * per_output).map(|_| (rng.below(2 * limit + 1) - limit as i32) as i16).collect(),
        bias: (0..outputs).map(|_| rng.below(2_000_000) - 1_000_000).collect(),
        shift: (0..outputs).map(|_| [0, 6, 9, 11, 12, 13, MAX_SHIFT][rng.below(7) as usize]).collect(),
    }
}

/// The definition, in 64 bits.
fn requantise(sum: i64, shift: u8, activation: Activation) -> i16 {
    let sum = if activation == Activation::LeakySum { sum.max(sum >> 3) } else { sum };
    let rounding = if shift == 0 { 0 } else { 1 << (shift - 1) };
    let y = ((sum + rounding) >> shift).clamp(-32_768, 32_767);
    let y = if activation == Activation::Leaky { y.max((13 * y + 64) >> 7) } else { y };
    i16::try_from(y).unwrap()
}

fn pointwise(params: &LayerParams, inputs: usize, activation: Activation, x: &[i16]) -> Vec<i16> {
    let outputs = params.bias.len();
    let mut out = Vec::new();
    for x in x.chunks_exact(inputs) {
        for o in 0..outputs {
            let weights = &params.weight[o * inputs..][..inputs];
            let sum: i64 = x.iter().zip(weights).map(|(&x, &w)| i64::from(x) * i64::from(w)).sum();
            out.push(requantise(sum + i64::from(params.bias[o]), params.shift[o], activation));
        }
    }
    out
}

fn depthwise(params: &LayerParams, activation: Activation, x: &[i16], rows: usize, cols: usize) -> Vec<i16> {
    let c = params.bias.len();
    let mut out = Vec::new();
    for (row, col, o) in (0..rows * cols * c).map(|i| (i / c / cols, i / c % cols, i % c)) {
        let mut sum = i64::from(params.bias[o]);
        for (dy, dx) in (0..9).map(|tap| (tap / 3, tap % 3)) {
            if (1..=rows).contains(&(row + dy)) && (1..=cols).contains(&(col + dx)) {
                let value = x[((row + dy - 1) * cols + col + dx - 1) * c + o];
                sum += i64::from(value) * i64::from(params.weight[o * 9 + dy * 3 + dx]);
            }
        }
        out.push(requantise(sum, params.shift[o], activation));
    }
    out
}

fn add(a: &[i16], b: &[i16]) -> Vec<i16> {
    a.iter().zip(b).map(|(&a, &b)| (i32::from(a) + i32::from(b)).clamp(-32_768, 32_767) as i16).collect()
}

fn saturated(values: &[i16]) -> usize {
    values.iter().filter(|&&v| v == i16::MAX || v == i16::MIN).count()
}

#[test]
fn vector_kernels_are_chosen_where_there_are_any() {
    assert!(Backend::Scalar.available() && Backend::detect().available());
    assert_eq!(Backend::Neon.available(), cfg!(target_arch = "aarch64"));
    #[cfg(target_arch = "x86_64")]
    assert_eq!(Backend::detect() == Backend::Scalar, !is_x86_feature_detected!("avx2"));
}

#[test]
fn pointwise_layers_equal_the_definition() {
    let mut rng = Lcg(1);
    let channels = [1, 2, 3, 8, 15, 16, 17, 32, 66, 96];
    let shapes = channels.iter().flat_map(|&i| channels.iter().map(move |&o| (i, o)));
    let large = [(64, 66), (96, 192), (128, 384), (192, 96), (256, 192), (384, 128), (385, 20)];
    let (mut at_the_ends, mut all) = (0, 0);
    for (i, (inputs, outputs)) in shapes.chain(large).enumerate() {
        let params = params(&mut rng, outputs, inputs);
        for n in [0, 1, 2, 5, 6, 7, 13, 25, 40].into_iter().skip(i % 2).step_by(2) {
            let (x, skip) = (values(&mut rng, n * inputs), values(&mut rng, n * outputs));
            for activation in ACTIVATIONS {
                let layer = Pointwise::new("a", inputs, outputs, &params, activation).unwrap();
                assert_eq!((layer.inputs(), layer.outputs()), (inputs, outputs));
                let wanted = pointwise(&params, inputs, activation, &x);
                let with_skip = add(&wanted, &skip);
                (at_the_ends, all) = (at_the_ends + saturated(&with_skip), all + with_skip.len());
                for backend in backends() {
                    // What was in the memory must not matter.
                    let mut out = values(&mut rng, n * outputs);
                    layer.run(backend, &x, &mut out);
                    assert!(out == wanted, "{backend:?} {inputs}->{outputs} {n} {activation:?}");
                    layer.run_adding(backend, &x, &skip, &mut out);
                    assert!(out == with_skip, "{backend:?} {inputs}->{outputs} {n} {activation:?} adding");
                }
            }
        }
    }
    assert!(at_the_ends * 20 > all && at_the_ends * 2 < all, "{at_the_ends} of {all} saturate");
}

#[test]
fn a_row_longer_than_a_group_of_positions_is_whole() {
    let mut rng = Lcg(9);
    for (inputs, outputs, n) in [(96, 16, 300), (2048, 8, 31), (9000, 3, 14)] {
        let params = params(&mut rng, outputs, inputs);
        let (x, skip) = (values(&mut rng, n * inputs), values(&mut rng, n * outputs));
        let layer = Pointwise::new("a", inputs, outputs, &params, Activation::Leaky).unwrap();
        let wanted = add(&pointwise(&params, inputs, Activation::Leaky, &x), &skip);
        for backend in backends() {
            let mut out = vec![0; n * outputs];
            layer.run_adding(backend, &x, &skip, &mut out);
            assert!(out == wanted, "{backend:?} {inputs}->{outputs} {n}");
        }
    }
}

#[test]
fn depthwise_layers_equal_the_definition() {
    let mut rng = Lcg(2);
    for channels in [1, 3, 8, 10, 16, 17, 32, 66, 96, 192] {
        for (rows, cols) in [(1, 1), (1, 7), (5, 1), (4, 2), (3, 300)] {
            let params = params(&mut rng, channels, 9);
            let x = values(&mut rng, rows * cols * channels);
            let line = cols * channels;
            let zeros = vec![0; line];
            let row = |r: usize| if (1..=rows).contains(&r) { &x[(r - 1) * line..][..line] } else { &zeros[..] };
            for activation in ACTIVATIONS {
                let layer = Depthwise::new("a", channels, &params, activation).unwrap();
                let wanted = depthwise(&params, activation, &x, rows, cols);
                for backend in backends() {
                    let mut out = values(&mut rng, rows * line);
                    for (r, out) in out.chunks_exact_mut(line).enumerate() {
                        layer.run_row(backend, [row(r), row(r + 1), row(r + 2)], out);
                    }
                    assert!(out == wanted, "{backend:?} {channels} {rows}x{cols} {activation:?}");
                    for threads in [1, 3] {
                        out.fill(77);
                        layer.run(backend, threads, &x, &Area::whole(rows, cols), &mut out);
                        assert!(out == wanted, "{backend:?} {channels} {rows}x{cols} {activation:?}, {threads} threads");
                    }
                }
            }
        }
    }
}

fn block_params(rng: &mut Lcg, c: usize) -> BlockParams {
    BlockParams {
        mix_in: params(rng, c, c),
        depthwise: params(rng, c, 9),
        mix_out: params(rng, c, c),
        expand: params(rng, 2 * c, c),
        project: params(rng, c, 2 * c),
    }
}

#[test]
fn blocks_equal_their_layers_on_any_number_of_threads() {
    let mut rng = Lcg(3);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for c in [1, 7, 16, 24, 64, 96] {
        for (rows, cols) in [(1, 1), (1, 9), (2, 6), (3, 1), (9, 5), (17, 3)] {
            let params = block_params(&mut rng, c);
            let x = values(&mut rng, rows * cols * c);
            let mixed = pointwise(&params.mix_in, c, Activation::Leaky, &x);
            let deep = depthwise(&params.depthwise, Activation::None, &mixed, rows, cols);
            let middle = add(&x, &pointwise(&params.mix_out, c, Activation::None, &deep));
            let wide = pointwise(&params.expand, c, Activation::Leaky, &middle);
            let wanted = add(&middle, &pointwise(&params.project, 2 * c, Activation::None, &wide));
            let block = Block::new("a", c, &params).unwrap();
            for backend in backends() {
                for threads in [0, 1, 2, 3, 8] {
                    let mut out = vec![77; x.len()];
                    pool.install(|| block.run(backend, threads, &x, &Area::whole(rows, cols), &mut out));
                    assert!(out == wanted, "{backend:?} {c} {rows}x{cols}, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn what_lies_outside_an_area_is_as_if_outside_the_picture() {
    let mut rng = Lcg(8);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for (c, rows, cols) in [(7, 1, 9), (16, 6, 8), (96, 9, 14)] {
        let mut marked: Vec<bool> = (0..rows * cols).map(|_| rng.below(3) == 0).collect();
        // A row of nothing, and one that ends at both sides.
        marked[..cols].fill(rows > 1);
        marked[(rows - 1) * cols..].fill(false);
        let area = Area::without(&marked, cols);
        let inside = |values: &[i16], channels: usize| -> Vec<i16> {
            values.iter().enumerate().map(|(i, &v)| if marked[i / channels] { 0 } else { v }).collect()
        };
        let params = block_params(&mut rng, c);
        let (x, skip) = (values(&mut rng, rows * cols * c), values(&mut rng, rows * cols * 2 * c));
        let mixed = inside(&pointwise(&params.mix_in, c, Activation::Leaky, &x), c);
        let deep = depthwise(&params.depthwise, Activation::None, &mixed, rows, cols);
        let middle = add(&x, &pointwise(&params.mix_out, c, Activation::None, &deep));
        let wide = pointwise(&params.expand, c, Activation::Leaky, &middle);
        let wanted = inside(&add(&middle, &pointwise(&params.project, 2 * c, Activation::None, &wide)), c);
        let added = inside(&add(&pointwise(&params.expand, c, Activation::None, &x), &skip), 2 * c);
        let smooth = inside(&depthwise(&params.depthwise, Activation::None, &inside(&x, c), rows, cols), c);
        let block = Block::new("a", c, &params).unwrap();
        let expand = Pointwise::new("a", c, 2 * c, &params.expand, Activation::None).unwrap();
        let layer = Depthwise::new("a", c, &params.depthwise, Activation::None).unwrap();
        for (backend, threads) in backends().flat_map(|backend| [1, 2, 8].map(|threads| (backend, threads))) {
            let machine = Machine { backend, threads };
            let (mut out, mut spare) = (x.clone(), Vec::new());
            pool.install(|| machine.blocks(std::slice::from_ref(&block), &mut out, &area, &mut spare));
            assert!(inside(&out, c) == wanted, "{machine:?} {c} {rows}x{cols}: a block");
            pool.install(|| machine.run_adding_in(&expand, &x, &skip, &area, &mut out));
            assert!(inside(&out, 2 * c) == added, "{machine:?} {c} {rows}x{cols}: a 1x1 layer");
            pool.install(|| machine.run_depthwise(&layer, &mut x.clone(), &area, &mut out));
            assert!(inside(&out, c) == smooth, "{machine:?} {c} {rows}x{cols}: a depthwise layer");
        }
    }
}

#[test]
fn a_block_of_nothing_does_nothing() {
    let block = Block::new("a", 8, &block_params(&mut Lcg(4), 8)).unwrap();
    for (rows, cols) in [(0, 5), (5, 0)] {
        block.run(Backend::detect(), 2, &[], &Area::whole(rows, cols), &mut []);
    }
}

#[test]
fn threads_share_a_block() {
    let block = Block::new("a", 16, &block_params(&mut Lcg(5), 16)).unwrap();
    let x = values(&mut Lcg(6), 12 * 10 * 16);
    let run = |threads| {
        let mut out = vec![0; x.len()];
        block.run(Backend::detect(), threads, &x, &Area::whole(12, 10), &mut out);
        out
    };
    let wanted = run(1);
    std::thread::scope(|scope| {
        for threads in [1, 2, 3] {
            let (run, wanted) = (&run, &wanted);
            scope.spawn(move || (0..20).for_each(|_| assert!(run(threads) == *wanted)));
        }
    });
}

#[test]
fn skips_saturate_at_both_ends() {
    // y = x, and y = -32768 for x = -32768.
    let params = LayerParams { weight: vec![1], bias: vec![0], shift: vec![0] };
    let layer = Pointwise::new("a", 1, 1, &params, Activation::None).unwrap();
    let x = [i16::MAX, i16::MAX, i16::MIN, i16::MIN, i16::MIN, 5, -7];
    let skip = [i16::MAX, 1, i16::MIN, -1, i16::MAX, -6, 7];
    let wanted = [i16::MAX, i16::MAX, i16::MIN, i16::MIN, -1, -1, 0];
    for backend in backends() {
        let mut out = [0; 7];
        layer.run_adding(backend, &x, &skip, &mut out);
        assert_eq!(out, wanted, "{backend:?}");
    }
}

#[test]
fn activations_by_hand() {
    // An activation, a shift, and pairs of input and output.
    type Case = (Activation, u8, [(i16, i16); 6]);
    let cases: [Case; 4] = [
        (Activation::None, 0, [(3, 3), (-3, -3), (0, 0), (32_767, 32_767), (-32_768, -32_768), (1, 1)]),
        // Halves go up.
        (Activation::None, 2, [(1, 0), (2, 1), (5, 1), (6, 2), (-2, 0), (-3, -1)]),
        // 13 * -100 + 64 = -1236, over 128 is -9.66; 13 * -5 + 64 = -1.
        (Activation::Leaky, 0, [(-100, -10), (-4, 0), (-5, -1), (-32_768, -3328), (40, 40), (-15, -2)]),
        // -100 >> 3 = -13, (-13 + 1) >> 1 = -6.
        (Activation::LeakySum, 1, [(-100, -6), (-1, 0), (-8, 0), (-9, -1), (-24, -1), (9, 5)]),
    ];
    for (activation, shift, pairs) in cases {
        let params = LayerParams { weight: vec![1], bias: vec![0], shift: vec![shift] };
        let layer = Pointwise::new("a", 1, 1, &params, activation).unwrap();
        for backend in backends() {
            let mut out = [0; 6];
            layer.run(backend, &pairs.map(|(x, _)| x), &mut out);
            assert_eq!(out, pairs.map(|(_, y)| y), "{backend:?} {activation:?} {shift}");
        }
    }
}

#[test]
fn sums_at_the_limit_are_accepted_and_exact() {
    // 32768 * 65535 + 16384 + 16383 = 2^31 - 1.
    let fits = LayerParams { weight: vec![-32_768, 32_767], bias: vec![16_383], shift: vec![15] };
    assert!(fits.check("a", 1, 2).is_ok());
    let layer = Pointwise::new("a", 2, 1, &fits, Activation::None).unwrap();
    let negative = LayerParams { weight: vec![32_767, 32_767, -1], bias: vec![-16_383], shift: vec![15] };
    let lowest = Pointwise::new("a", 3, 1, &negative, Activation::Leaky).unwrap();
    for backend in backends() {
        let mut out = [0; 2];
        layer.run(backend, &[-32_768, 32_767, 32_767, -32_768], &mut out);
        assert_eq!(out, [32_767, -32_768], "{backend:?}");
        let mut out = [0];
        lowest.run(backend, &[-32_768, -32_768, 32_767], &mut out);
        assert_eq!(out, [-3328], "{backend:?}");
    }
    let refused = |params: LayerParams, inputs| {
        let error = params.check("stem", params.bias.len(), inputs).unwrap_err();
        assert!(matches!(&error, Error::ModelMismatch(m) if m.contains("stem")), "{error}");
        assert!(Pointwise::new("stem", inputs, params.bias.len(), &params, Activation::None).is_err());
    };
    refused(LayerParams { bias: vec![16_384], ..fits.clone() }, 2);
    refused(LayerParams { bias: vec![-16_384], ..fits.clone() }, 2);
    refused(LayerParams { bias: vec![i32::MIN], ..fits.clone() }, 2);
    refused(LayerParams { weight: vec![-32_768, -32_768], bias: vec![0], shift: vec![0] }, 2);
    refused(LayerParams { weight: vec![1, 1], bias: vec![0], shift: vec![MAX_SHIFT + 1] }, 2);
    refused(LayerParams { weight: vec![1; 3], bias: vec![0], shift: vec![0] }, 2);
    refused(LayerParams { weight: vec![1; 2], bias: vec![0], shift: vec![] }, 2);
    refused(LayerParams::default(), 2);
    refused(LayerParams { weight: vec![], bias: vec![0], shift: vec![0] }, 0);
    assert!(LayerParams { weight: vec![1, 1], bias: vec![0], shift: vec![MAX_SHIFT] }.check("a", 1, 2).is_ok());
    assert!(Depthwise::new("a", 1, &LayerParams { weight: vec![8000; 9], ..fits }, Activation::None).is_err());
}
