mod reference;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::classes::CLASSES;
use super::diamond::LUMA_PAIRS;
use super::params::{ChromaFilter, LumaFilter, Set, area_grid};
use super::*;
use crate::entropy::SymbolReader;
use crate::flow::testing::Texture;
use crate::frame::pad::coded_size;

const DISPLAYS: [(usize, usize); 6] = [(1, 1), (65, 70), (128, 64), (17, 5), (3, 130), (200, 131)];

fn random_set<const K: usize>(rng: &mut StdRng) -> Set<K> {
    let strength = [1, 8, 30, 127][rng.random_range(0..4)];
    std::array::from_fn(|_| rng.random_range(-strength - 1..=strength) as i8)
}

fn random_filter<const K: usize, const C: usize>(rng: &mut StdRng, (width, height): (usize, usize)) -> PlaneFilter<K, C> {
    let (cols, rows) = area_grid(width, height);
    PlaneFilter {
        sets: std::array::from_fn(|_| random_set(rng)),
        areas: (0..cols * rows).map(|_| rng.random_bool(0.7)).collect(),
    }
}

fn random_params(rng: &mut StdRng, display: (usize, usize)) -> FilterParams {
    let chroma = chroma_size(display.0, display.1);
    let luma: LumaFilter = random_filter(rng, display);
    let mut chroma_filter = || -> Option<ChromaFilter> { rng.random_bool(0.8).then(|| random_filter(rng, chroma)) };
    let chroma = [chroma_filter(), chroma_filter()];
    FilterParams { luma: Some(luma), chroma }
}

/// Noise of a strength that differs from place to place, so that all classes and clipping occur.
fn noise(rng: &mut StdRng, (width, height): (usize, usize)) -> Frame {
    let (width, height) = coded_size(width, height);
    let mut frame = Frame::new(width, height);
    for plane in frame.planes_mut() {
        let width = plane.width;
        for (i, sample) in plane.data.iter_mut().enumerate() {
            let strength = [0, 2, 6, 20, 255][(i % width / 8 + i / width / 8) % 5];
            *sample = (128 + rng.random_range(-strength..=strength)).clamp(0, 255) as u8;
        }
    }
    frame
}

#[test]
fn fast_and_slow_filters_agree() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut filter = LoopFilter::default();
    for display in DISPLAYS.into_iter().chain(DISPLAYS) {
        let source = noise(&mut rng, display);
        let params = random_params(&mut rng, display);
        let wanted = reference::apply(&params, display, &source);
        for threads in [1, 2, 3, 8] {
            let mut found = source.clone();
            filter.apply(&params, display, &mut found, threads);
            assert_eq!(found, wanted, "{display:?}, {threads} threads");
        }
    }
}

#[test]
fn the_portable_kernel_agrees() {
    let mut rng = StdRng::seed_from_u64(9);
    let mut filter = LoopFilter::default();
    for display in DISPLAYS {
        let frame = noise(&mut rng, display);
        filter.load(0, frame.plane(0), display, 1);
        filter.classify(1);
        let params: LumaFilter = random_filter(&mut rng, display);
        let kernel = Filter::new(&filter.samples[0], &params.sets, (&filter.classes, BLOCK), &params.areas);
        let mut out = [frame.plane(0).clone(), frame.plane(0).clone()];
        kernel.write_rows(0..display.1, &mut out[0].data, frame.width());
        kernel.write_portable(0..display.1, &mut out[1].data, frame.width());
        assert_eq!(out[0], out[1], "{display:?}");
    }
}

#[test]
fn moments_are_those_of_the_features() {
    let mut rng = StdRng::seed_from_u64(10);
    let mut filter = LoopFilter::default();
    for display in DISPLAYS {
        let (original, decoded) = (noise(&mut rng, display), noise(&mut rng, display));
        filter.load(0, decoded.plane(0), display, 1);
        filter.classify(1);
        let (samples, original) = (&filter.samples[0], original.plane(0));
        let (cols, rows) = area_grid(display.0, display.1);
        let areas: Vec<bool> = (0..cols * rows).map(|i| i % 3 != 1).collect();
        let subject = moments::Subject { samples, original, classes: &filter.classes, block: BLOCK };
        let mut gatherer = Gatherer::default();
        let found = gatherer.gather::<LUMA_PAIRS>(&subject, CLASSES, &areas, 1);
        assert_eq!(found, gatherer.gather_portable::<LUMA_PAIRS>(&subject, CLASSES, &areas), "{display:?}");
        // What a set promises is the change of the error, but for rounding and clipping.
        let set: Set<LUMA_PAIRS> = [0, 1, -2, 0, 3, -1, 2, 0, -2, 1, 4, 3];
        let mut wanted = vec![0.0; CLASSES];
        for row in 0..display.1 {
            for col in (0..display.0).filter(|col| areas[row / AREA * cols + col / AREA]) {
                let s = |y: isize, x: isize| f64::from(samples.row(row as isize + y)[(4 + col as isize + x) as usize]);
                let taps = diamond::taps::<LUMA_PAIRS>().into_iter().zip(set);
                let pairs = taps.map(|((y, x), c)| f64::from(c) / 64.0 * (s(y, x) + s(-y, -x) - 2.0 * s(0, 0)));
                let (correction, error) = (pairs.sum::<f64>(), f64::from(original.row(row)[col]) - s(0, 0));
                let class = filter.classes.row(row / BLOCK)[col / BLOCK];
                wanted[usize::from(class)] += (error - correction).powi(2) - error * error;
            }
        }
        for (moments, wanted) in found.iter().zip(wanted) {
            assert!((moments.change(&set) - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "{display:?}");
        }
    }
}

#[test]
fn classes_are_those_of_the_specification() {
    let mut rng = StdRng::seed_from_u64(2);
    let mut filter = LoopFilter::default();
    let mut seen = [0; CLASSES];
    for display in DISPLAYS {
        let frame = noise(&mut rng, display);
        filter.load(0, frame.plane(0), display, 1);
        filter.classify(1);
        for row in 0..display.1 {
            for col in 0..display.0 {
                let class = reference::class(frame.plane(0), display, row, col);
                assert_eq!(usize::from(filter.classes.row(row / BLOCK)[col / BLOCK]), class, "{display:?} at {row}, {col}");
                seen[class] += 1;
            }
        }
    }
    assert!(seen.iter().all(|&count| count > 20), "{seen:?}");
}

#[test]
fn the_largest_sums_do_not_wrap() {
    // Each pair with a sign of its own: the samples that make the sum as large or as small as can be.
    let set: Set<LUMA_PAIRS> = [127, -128, 127, -128, -128, -128, 127, -128, -128, -128, 127, -128];
    let taps = diamond::taps::<LUMA_PAIRS>();
    for (up, down) in [(255u8, 0u8), (0, 255)] {
        let mut frame = Frame::new(64, 64);
        frame.plane_mut(0).data.fill(down);
        for ((y, x), c) in taps.into_iter().zip(set) {
            for (y, x) in [(y, x), (-y, -x)] {
                frame.plane_mut(0).row_mut((32 + y) as usize)[(32 + x) as usize] = if c > 0 { up } else { down };
            }
        }
        let params = FilterParams { luma: Some(LumaFilter { sets: [set; CLASSES], areas: vec![true] }), chroma: [None, None] };
        let wanted = reference::apply(&params, (64, 64), &frame);
        assert_eq!(wanted.plane(0).row(32)[32], if up == 255 { 255 } else { 0 });
        LoopFilter::default().apply(&params, (64, 64), &mut frame, 1);
        assert_eq!(frame, wanted);
    }
}

#[test]
fn zero_coefficients_and_areas_that_are_off_change_nothing() {
    let mut rng = StdRng::seed_from_u64(3);
    let display = (100, 70);
    let frame = noise(&mut rng, display);
    let mut params = random_params(&mut rng, display);
    let check = |params: &FilterParams| {
        let mut filtered = frame.clone();
        LoopFilter::default().apply(params, display, &mut filtered, 1);
        assert_eq!(filtered, frame);
    };
    if let Some(luma) = &mut params.luma {
        luma.sets = Default::default();
    }
    for filter in params.chroma.iter_mut().flatten() {
        filter.areas.fill(false);
    }
    check(&params);
    check(&FilterParams { luma: None, chroma: [None, None] });
}

/// A texture, and what a 3x3 box and noise make of it, both padded to coded size.
fn blurred(display: (usize, usize), phase: f32) -> (Frame, Frame) {
    let mut rng = StdRng::seed_from_u64(4);
    let (width, height) = coded_size(display.0, display.1);
    let (texture, mut original) = (Texture::new(), Frame::new(width, height));
    for plane in original.planes_mut() {
        *plane = texture.plane(plane.width, plane.height, |x, y| (1.7 * x + phase, 1.7 * y));
    }
    let mut decoded = original.clone();
    for (to, from) in decoded.planes_mut().iter_mut().zip([0, 1, 2].map(|i| original.plane(i))) {
        for row in 0..from.height {
            for col in 0..from.width {
                let near = |p: usize, d: usize, side: usize| (p + d).saturating_sub(1).min(side - 1);
                let sum: u32 =
                    (0..9).map(|i| u32::from(from.row(near(row, i / 3, from.height))[near(col, i % 3, from.width)])).sum();
                let blurred = ((sum + 4) / 9) as i32 + rng.random_range(-2..=2);
                to.row_mut(row)[col] = blurred.clamp(0, 255) as u8;
            }
        }
    }
    (original, decoded)
}

fn squares(a: &Plane, b: &Plane, (width, height): (usize, usize)) -> f64 {
    let row = |row: usize| -> f64 {
        a.row(row)[..width].iter().zip(&b.row(row)[..width]).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum()
    };
    (0..height).map(row).sum()
}

fn errors(a: &Frame, b: &Frame, display: (usize, usize)) -> [f64; 3] {
    let chroma = chroma_size(display.0, display.1);
    [0, 1, 2].map(|i| squares(a.plane(i), b.plane(i), if i == 0 { display } else { chroma }))
}

#[test]
fn a_blur_is_taken_back_in_part() {
    let display = (200, 130);
    let (original, decoded) = blurred(display, 0.0);
    let mut filter = LoopFilter::default();
    let params = filter.estimate(&original, &decoded, display, &FilterCoder::new(display), 300.0, 1).unwrap();
    let mut filtered = decoded.clone();
    filter.apply(&params, display, &mut filtered, 1);
    let (before, after) = (errors(&original, &decoded, display), errors(&original, &filtered, display));
    assert!(after[0] < 0.4 * before[0] && after[1] < 0.7 * before[1] && after[2] < 0.7 * before[2], "{before:?} {after:?}");
}

#[test]
fn estimation_never_loses() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut filter = LoopFilter::default();
    let mut used = 0;
    for (round, display) in DISPLAYS.into_iter().chain(DISPLAYS).enumerate() {
        let (original, decoded) =
            if round % 2 == 0 { (noise(&mut rng, display), noise(&mut rng, display)) } else { blurred(display, round as f32) };
        for lambda in [12.0, 200.0, 2500.0] {
            let mut coder = FilterCoder::new(display);
            // Long without a filter, or just filtered: telling that there is one costs more, or less.
            for _ in 0..round % 3 * 10 {
                coder.encode(None, &mut SymbolWriter::new());
            }
            if round % 3 == 1 {
                coder.encode(Some(&random_params(&mut rng, display)), &mut SymbolWriter::new());
            }
            let params = filter.estimate(&original, &decoded, display, &coder, lambda, 1);
            let mut filtered = decoded.clone();
            if let Some(params) = &params {
                filter.apply(params, display, &mut filtered, 1);
                used += 1;
            }
            let bits = |params: Option<&FilterParams>| {
                let mut writer = SymbolWriter::new();
                coder.clone().encode(params, &mut writer);
                writer.bits()
            };
            let error = |frame: &Frame| errors(&original, frame, display).iter().sum::<f64>();
            let gain = error(&decoded) - error(&filtered);
            let price = 65025.0 / lambda * (bits(params.as_ref()) - bits(None));
            assert!(gain >= price && (params.is_none() || gain > price), "{display:?} {lambda}: {gain} for {price}");
        }
    }
    assert!(used > 10, "{used}");
}

#[test]
fn estimation_does_not_depend_on_threads() {
    let mut rng = StdRng::seed_from_u64(11);
    let (mut filter, mut found) = (LoopFilter::default(), 0);
    for display in DISPLAYS.into_iter().chain([(300, 400)]) {
        let mut coder = FilterCoder::new(display);
        for (original, decoded) in [blurred(display, 0.5), (noise(&mut rng, display), noise(&mut rng, display))] {
            let [one, others @ ..] =
                [1, 2, 3, 8].map(|threads| filter.estimate(&original, &decoded, display, &coder, 300.0, threads));
            assert!(others.iter().all(|other| *other == one), "{display:?}");
            assert_eq!(filter.estimate(&original, &decoded, display, &coder, 300.0, 1), one, "{display:?}");
            found += usize::from(one.is_some());
            coder.encode(one.as_ref(), &mut SymbolWriter::new());
        }
    }
    assert!(found > 3, "{found}");
}

/// A writer's frames, and the state after them.
fn coded(display: (usize, usize), frames: &[Option<FilterParams>]) -> (Vec<Vec<u8>>, FilterCoder, Vec<f64>) {
    let (mut coder, mut writer) = (FilterCoder::new(display), SymbolWriter::new());
    let mut bits = Vec::new();
    let payloads = frames.iter().map(|params| {
        coder.encode(params.as_ref(), &mut writer);
        bits.push(writer.bits());
        writer.finish()
    });
    (payloads.collect(), coder, bits)
}

#[test]
fn filters_survive_coding() {
    let mut rng = StdRng::seed_from_u64(6);
    for display in DISPLAYS {
        let mut frames: Vec<_> = (0..5).map(|_| Some(random_params(&mut rng, display))).collect();
        frames.push(None);
        frames.push(frames[4].clone());
        let mut alike = random_params(&mut rng, display);
        if let Some(luma) = &mut alike.luma {
            luma.sets[2] = luma.sets[1];
            luma.areas.fill(true);
        }
        frames.push(Some(alike));
        let (payloads, writer_state, _) = coded(display, &frames);
        let mut coder = FilterCoder::new(display);
        for (payload, wanted) in payloads.iter().zip(&frames) {
            let mut reader = SymbolReader::new(payload).unwrap();
            assert_eq!(&coder.decode(&mut reader).unwrap(), wanted);
            reader.finish().unwrap();
        }
        assert_eq!(coder, writer_state);
    }
}

#[test]
fn a_filter_that_stays_costs_next_to_nothing() {
    let mut rng = StdRng::seed_from_u64(7);
    let display = (640, 384);
    let mut params = random_params(&mut rng, display);
    params.luma.iter_mut().for_each(|luma| luma.areas.fill(true));
    params.chroma = [None, None];
    let (_, _, bits) = coded(display, &vec![Some(params); 20]);
    assert!(bits[0] > 100.0 && bits[2] < 4.0 && bits[19] < 1.0, "{bits:?}");
    let (_, _, bits) = coded(display, &vec![None; 20]);
    assert!(bits[0] <= 2.0 && bits[19] < 0.25, "{bits:?}");
}

#[test]
fn damage_is_bounded_and_reported() {
    let mut rng = StdRng::seed_from_u64(8);
    let display = (200, 130);
    let frames: Vec<_> = (0..3).map(|_| Some(random_params(&mut rng, display))).collect();
    let (payloads, ..) = coded(display, &frames);
    let frame = noise(&mut rng, display);
    let (mut refused, mut noticed, mut passed) = (0, 0, 0);
    for round in 0..200 {
        let mut payload = payloads[round % 3].clone();
        match round % 4 {
            0 => payload.truncate(rng.random_range(3..payload.len()) / 2 * 2 + 1),
            1 => payload.iter_mut().for_each(|byte| *byte = rng.random()),
            _ => {
                let at = rng.random_range(0..payload.len());
                payload[at] ^= 1 << rng.random_range(0..8);
            }
        }
        let Ok(mut reader) = SymbolReader::new(&payload) else { continue };
        match FilterCoder::new(display).decode(&mut reader) {
            Err(crate::Error::Corrupt(_)) => refused += 1,
            Err(other) => panic!("{other}"),
            Ok(params) => {
                if reader.finish().is_err() {
                    noticed += 1;
                } else {
                    passed += 1;
                }
                if let Some(params) = params {
                    let mut filtered = frame.clone();
                    LoopFilter::default().apply(&params, display, &mut filtered, 1);
                    assert_eq!(filtered, reference::apply(&params, display, &frame));
                }
            }
        }
    }
    assert!(refused > 1 && noticed > 20, "{refused} {noticed} {passed}");
    assert!(passed < 3, "{passed}");
}
