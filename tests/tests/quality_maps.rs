//! Quality that varies over the picture, from the encoder's options to decoded pictures.

use std::time::Duration;

use codec_core::frame::Frame;
use codec_core::training::rate::{LeakyBucket, RateMode};
use codec_core::{Concealment, Encoder, EncoderConfig, Error, FrameOptions, Packet, QualityMap, QualityRegion};
use ngc_tests::{DecodedFrame, decode, decoder, encoder_config, psnr, real_frames, repository};

const WIDTH: usize = 300;
const HEIGHT: usize = 180;
/// Left, top, width and height of a region.
const REGION: (usize, usize, usize, usize) = (64, 32, 128, 96);

fn clip(count: usize) -> Vec<Frame> {
    real_frames(&repository("examples/media/flower.mp4"), WIDTH, HEIGHT, count)
}

/// A map with one region, moved to the right by `shift` samples.
fn region(shift: usize, change: i32) -> QualityMap {
    let (x, y, width, height) = REGION;
    let region = QualityRegion { x: (x + shift) as i64, y: y as i64, width: width as u64, height: height as u64, change };
    QualityMap::from_regions(WIDTH as u32, HEIGHT as u32, &[region])
}

/// A map without any order.
fn rough(seed: usize) -> QualityMap {
    let (rows, cols) = QualityMap::grid(WIDTH as u32, HEIGHT as u32);
    let values = (0..rows * cols).map(|i| ((i * i * 7 + i * 13 + seed * 5) % 31) as i8 - 15).collect();
    QualityMap::new(WIDTH as u32, HEIGHT as u32, values).unwrap()
}

/// Units, and the encoder's reconstructions.
fn encode(config: EncoderConfig, frames: &[Frame], map: impl Fn(usize) -> Option<QualityMap>) -> (Vec<Packet>, Vec<Frame>) {
    let mut encoder = Encoder::new(config).unwrap();
    let code = |(t, frame): (usize, &Frame)| {
        let time = Some(Duration::from_millis(40 * t as u64));
        let unit = encoder.encode(&frame.view(), FrameOptions { quality_map: map(t), time, ..FrameOptions::default() }).unwrap();
        (unit, encoder.reconstruction().crop_copy(WIDTH, HEIGHT).unwrap())
    };
    frames.iter().enumerate().map(code).unzip()
}

fn config() -> EncoderConfig {
    encoder_config(WIDTH, HEIGHT)
}

/// None, one that stays, one that moves, others without order, and a keyframe among them.
fn changing(t: usize) -> Option<QualityMap> {
    match t {
        1..=3 => Some(region(0, -12)),
        4 => Some(rough(4)),
        5 => Some(rough(5)),
        6 => Some(region(32, 20)),
        _ => None,
    }
}

fn units(packets: &[Packet]) -> impl Iterator<Item = &[u8]> {
    packets.iter().map(|unit| unit.data.as_slice())
}

#[test]
fn a_map_of_zeros_is_no_map() {
    let frames = clip(3);
    let zero = QualityMap::zero(WIDTH as u32, HEIGHT as u32);
    let (with, _) = encode(config(), &frames, |_| Some(zero.clone()));
    assert!(with == encode(config(), &frames, |_| None).0);
}

#[test]
fn decoders_have_what_the_encoder_had() {
    let frames = clip(9);
    for threads in [1, 2, 3] {
        let (packets, references) = encode(EncoderConfig { threads, key_int_max: 5, ..config() }, &frames, changing);
        assert!(packets[5].keyframe);
        for decoders in [1, 2, 4] {
            for (t, (found, wanted)) in decode(decoders, units(&packets)).iter().zip(&references).enumerate() {
                assert!(found.frame == *wanted, "frame {t}, {threads} threads to encode, {decoders} to decode");
            }
        }
    }
}

#[test]
fn the_postfilter_follows_the_map_of_the_frame_shown() {
    let frames = clip(9);
    let (packets, _) = encode(EncoderConfig { detail: Some(1.0), key_int_max: 5, ..config() }, &frames, changing);
    let wanted = decode(1, units(&packets));
    for threads in [2, 3] {
        assert!(decode(threads, units(&packets)) == wanted, "{threads} threads");
    }
    // A stand-in has the map of the frame before it; what comes after a skipped frame has its own.
    let mut decoder = decoder(2);
    for (t, unit) in units(&packets).enumerate() {
        if t == 2 {
            decoder.skip(unit).unwrap();
        } else {
            decoder.decode(unit).unwrap();
        }
        if t == 4 {
            assert!(decoder.conceal(Concealment::Freeze).unwrap().unwrap().to_frame() != wanted[3].frame);
        }
    }
}

#[test]
fn skipped_frames_keep_their_maps() {
    let frames = clip(9);
    let (packets, _) = encode(EncoderConfig { key_int_max: 0, ..config() }, &frames, changing);
    let whole = decode(1, units(&packets));
    for threads in [1, 2] {
        let mut decoder = decoder(threads);
        for (t, unit) in units(&packets).enumerate() {
            if [1, 2, 4, 6, 7].contains(&t) {
                decoder.skip(unit).unwrap();
                continue;
            }
            let picture = decoder.decode(unit).unwrap();
            let found = DecodedFrame { frame: picture.to_frame(), checksum: picture.checksum.unwrap() };
            assert!(found == whole[t], "frame {t}, {threads} threads");
        }
    }
}

/// Mean PSNR of luma in the region and outside of it.
fn inside_and_outside(originals: &[Frame], found: &[Frame]) -> [f64; 2] {
    let (x, y, width, height) = REGION;
    let mut sums = [(0u64, 0u64); 2];
    for (a, b) in originals.iter().zip(found) {
        for row in 0..HEIGHT {
            for col in 0..WIDTH {
                let outside = !((y..y + height).contains(&row) && (x..x + width).contains(&col));
                let error = u64::from(a.plane(0).row(row)[col].abs_diff(b.plane(0).row(row)[col]));
                let (sum, count) = &mut sums[usize::from(outside)];
                (*sum, *count) = (*sum + error * error, *count + 1);
            }
        }
    }
    sums.map(|(sum, count)| 10.0 * (65_025.0 * count as f64 / sum as f64).log10())
}

fn bytes(packets: &[Packet]) -> f64 {
    packets.iter().map(|unit| unit.data.len() as f64).sum()
}

#[test]
fn a_region_is_better_and_the_rest_as_it_was() {
    let frames = clip(12);
    let coded = |change: i32| {
        let (packets, references) =
            encode(EncoderConfig { quality: 40, ..config() }, &frames, |_| (change != 0).then(|| region(0, change)));
        (inside_and_outside(&frames, &references), bytes(&packets))
    };
    let ([plain_inside, plain_outside], plain_bytes) = coded(0);
    let ([inside, outside], better_bytes) = coded(-12);
    println!(
        "12 better: {inside:.2} dB for {plain_inside:.2}, outside {outside:.2} for {plain_outside:.2}, {better_bytes} bytes for {plain_bytes}"
    );
    assert!(inside > plain_inside + 1.0 && (outside - plain_outside).abs() < 0.3 && better_bytes > plain_bytes);
    let ([inside, outside], worse_bytes) = coded(12);
    println!(
        "12 worse: {inside:.2} dB for {plain_inside:.2}, outside {outside:.2} for {plain_outside:.2}, {worse_bytes} bytes for {plain_bytes}"
    );
    assert!(inside < plain_inside - 0.8 && (outside - plain_outside).abs() < 0.3 && worse_bytes < plain_bytes);
}

#[test]
fn at_the_same_rate_the_rest_pays_for_the_region() {
    let frames: Vec<Frame> = clip(50);
    let rate = RateMode::Variable { bitrate: 40e3, max_bitrate: 80e3, buffer: 1.0 };
    let coded = |map: Option<QualityMap>| {
        let (packets, references) = encode(EncoderConfig { rate, ..config() }, &frames, |_| map.clone());
        let settled = 10..frames.len();
        (inside_and_outside(&frames[settled.clone()], &references[settled]), bytes(&packets))
    };
    let ([plain_inside, plain_outside], plain_bytes) = coded(None);
    let ([inside, outside], with_bytes) = coded(Some(region(0, -12)));
    println!(
        "{inside:.2} dB for {plain_inside:.2}, outside {outside:.2} for {plain_outside:.2}, {with_bytes} bytes for {plain_bytes}"
    );
    assert!(inside > plain_inside + 0.5 && outside < plain_outside, "{inside} {plain_inside} {outside} {plain_outside}");
    assert!((with_bytes / plain_bytes - 1.0).abs() < 0.06, "{with_bytes} bytes with, {plain_bytes} without");
}

#[test]
fn rates_are_held_whatever_the_map() {
    const GAP: f64 = 0.04;
    // There and back.
    let frames: Vec<Frame> = clip(35);
    let frames: Vec<&Frame> = frames.iter().chain(frames.iter().rev()).collect();
    let all = |change: i32| {
        QualityMap::from_regions(WIDTH as u32, HEIGHT as u32, &[QualityRegion { x: 0, y: 0, width: 9999, height: 9999, change }])
    };
    let moving: &dyn Fn(usize) -> Option<QualityMap> = &|t| Some(region(8 * (t % 16), -12));
    // All of the picture far better than its index, as long as the index can make up for it; and maps that cost a lot themselves.
    let (everywhere, wild): (&dyn Fn(usize) -> _, &dyn Fn(usize) -> _) = (&|_| Some(all(-60)), &|t| Some(rough(t)));
    // What a wild map costs jumps about, so more room is kept.
    for (name, map, bitrate, below) in
        [("moving", moving, 120e3, 0.05), ("everywhere", everywhere, 60e3, 0.05), ("wild", wild, 120e3, 0.1)]
    {
        let buffer = 0.6;
        let rate = RateMode::Constant { bitrate, buffer };
        let mut encoder = Encoder::new(EncoderConfig { rate, key_int_max: 0, ..config() }).unwrap();
        let mut bucket = LeakyBucket::new(bitrate, buffer);
        let (mut bits, mut decoder) = (0.0, decoder(1));
        for (t, frame) in frames.iter().enumerate() {
            let time = Some(Duration::from_secs_f64(t as f64 * GAP));
            let options = FrameOptions { time, quality_map: map(t), ..FrameOptions::default() };
            let unit = encoder.encode(&frame.view(), options).unwrap();
            bits += 8.0 * unit.data.len() as f64;
            bucket.add(8.0 * unit.data.len() as f64);
            assert!(bucket.room() >= 0.0, "{name}, {bitrate}: frame {t} overruns the buffer by {} bits", -bucket.room());
            bucket.drain(GAP);
            let out = decoder.decode(&unit.data).unwrap().to_frame();
            assert!(out == encoder.reconstruction().crop_copy(WIDTH, HEIGHT).unwrap(), "{name}: frame {t}");
        }
        let found = bits / (frames.len() as f64 * GAP);
        println!("{name}: {found:.0} bits/s for {bitrate}");
        assert!((1.0 - below..1.05).contains(&(found / bitrate)), "{name}: {found} bits/s for {bitrate}");
    }
}

#[test]
fn a_map_that_asks_for_too_much_is_given_up_before_the_picture() {
    let frame = &clip(1)[0];
    let all = QualityRegion { x: 0, y: 0, width: 9999, height: 9999, change: -60 };
    let map = QualityMap::from_regions(WIDTH as u32, HEIGHT as u32, &[all]);
    for buffer in [0.2, 0.3, 0.4] {
        let rate = RateMode::Constant { bitrate: 60e3, buffer };
        let [plain, mapped] = [None, Some(map.clone())].map(|quality_map| {
            let mut encoder = Encoder::new(EncoderConfig { rate, ..config() }).unwrap();
            let options = FrameOptions { quality_map, ..FrameOptions::default() };
            let unit = encoder.encode(&frame.view(), options).unwrap();
            assert!(unit.data.len() as f64 * 8.0 <= 60e3 * buffer, "{} bytes", unit.data.len());
            psnr(frame, &decoder(1).decode(&unit.data).unwrap().to_frame(), 0)
        });
        println!("buffer of {buffer} s: {plain:.2} dB, {mapped:.2} with the map");
        assert!(mapped > plain - 1.0, "buffer of {buffer} s: {plain} dB, {mapped} with the map");
    }
}

#[test]
fn adaptive_quality_moves_bits_from_busy_places_to_smooth_ones() {
    let frames = clip(6);
    // Error of the smoothest and of the busiest tenth of all blocks of 8 x 8.
    let block = |frame: &Frame, y: usize, x: usize| -> Vec<f64> {
        (0..64).map(|i| f64::from(frame.plane(0).row(y + i / 8)[x + i % 8])).collect()
    };
    let errors = |references: &[Frame]| {
        let mut blocks = Vec::new();
        for (original, coded) in frames.iter().zip(references) {
            for (y, x) in (0..HEIGHT / 8).flat_map(|r| (0..WIDTH / 8).map(move |c| (8 * r, 8 * c))) {
                let (a, b) = (block(original, y, x), block(coded, y, x));
                let mean = a.iter().sum::<f64>() / 64.0;
                let variance: f64 = a.iter().map(|v| (v - mean).powi(2)).sum();
                blocks.push((variance, a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f64>()));
            }
        }
        blocks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let tenth = blocks.len() / 10;
        let sum = |blocks: &[(f64, f64)]| blocks.iter().map(|block| block.1).sum::<f64>();
        [sum(&blocks[..tenth]), sum(&blocks[blocks.len() - tenth..])]
    };
    // Smooth blocks have few bits: at a single index chance decides whether they gain.
    let sums = [40, 42, 44, 46, 48].map(|quality| {
        let [off, on] = [0.0, 1.5].map(|strength| {
            let (packets, references) =
                encode(EncoderConfig { adaptive_quality: Some(strength), quality, ..config() }, &frames, |_| None);
            assert!(decode(2, units(&packets)).iter().zip(&references).all(|(found, wanted)| found.frame == *wanted));
            (packets, references)
        });
        assert!(off.0 != on.0, "nothing varies");
        [errors(&off.1), errors(&on.1)]
    });
    let sum = |on: usize, busy: usize| sums.iter().map(|errors| errors[on][busy]).sum::<f64>();
    let (smooth, busy, smooth_on, busy_on) = (sum(0, 0), sum(0, 1), sum(1, 0), sum(1, 1));
    println!("squared error of smooth blocks {smooth:.0} to {smooth_on:.0}, of busy ones {busy:.0} to {busy_on:.0}");
    assert!(smooth_on < smooth && busy_on > busy);
}

#[test]
fn damage_in_a_map_is_found() {
    let frames = clip(3);
    let (packets, _) = encode(config(), &frames, |t| Some(rough(t)));
    let mut decoder = decoder(1);
    // The map comes first, and words are in the order of reading; behind the frame's own bytes.
    for bit in (0..8 * 90).step_by(3) {
        decoder.decode(&packets[0].data).unwrap();
        let mut bytes = packets[1].data.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(
            matches!(decoder.decode(&bytes), Err(error) if error.is_damage() || matches!(error, Error::Unsupported(_))),
            "bit {bit}"
        );
        assert!(matches!(decoder.decode(&packets[2].data), Err(Error::NeedKeyframe { .. })));
    }
}

#[test]
fn maps_of_other_sizes_are_refused_and_leave_the_encoder_usable() {
    let frames = clip(2);
    let mut encoder = Encoder::new(config()).unwrap();
    for (width, height) in [(WIDTH as u32, 64), (640, HEIGHT as u32), (HEIGHT as u32, WIDTH as u32)] {
        let options = FrameOptions { quality_map: Some(QualityMap::zero(width, height)), ..FrameOptions::default() };
        let error = encoder.encode(&frames[0].view(), options).unwrap_err().to_string();
        assert!(error.contains("quality map") && error.contains("6 rows of 10 cells"), "{error}");
    }
    let options = FrameOptions { quality_map: Some(region(0, -8)), ..FrameOptions::default() };
    assert!(encoder.encode(&frames[1].view(), options).unwrap().keyframe);
    for strength in [-1.0, 8.1, f32::NAN] {
        let error = encoder.set_adaptive_quality(Some(strength)).unwrap_err().to_string();
        assert!(error.contains("0..=8"), "{error}");
        assert!(Encoder::new(EncoderConfig { adaptive_quality: Some(strength), ..config() }).is_err());
    }
}
