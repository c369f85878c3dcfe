//! Detail that varies over the picture, from the encoder's choice to what is shown.

use codec_core::frame::Frame;
use codec_core::{Encoder, EncoderConfig, FrameOptions, Packet, RateMode};
use ngc_tests::{DecodedFrame, decode, decode_with, decoder, encode, encoder_config, psnr, real_frames, repository};

const WIDTH: usize = 320;
const HEIGHT: usize = 192;

/// A camera's picture on the left; on the right the same without its detail.
fn half_blurred(count: usize) -> Vec<Frame> {
    let mut frames = real_frames(&repository("examples/media/flower.mp4"), WIDTH, HEIGHT, count);
    for frame in &mut frames {
        let source = frame.plane(0).clone();
        let luma = &mut frame.planes_mut()[0];
        for row in 0..HEIGHT {
            for x in WIDTH / 2..WIDTH {
                let near = |at: usize, end: usize| at.saturating_sub(3)..(at + 4).min(end);
                let around = near(row, HEIGHT).flat_map(|r| near(x, WIDTH).map(move |c| (r, c)));
                let (sum, count) = around.fold((0, 0), |(sum, count), (r, c)| (sum + u32::from(source.row(r)[c]), count + 1));
                luma.data[row * luma.stride + x] = (sum / count) as u8;
            }
        }
    }
    frames
}

fn config(adaptive_detail: bool) -> EncoderConfig {
    EncoderConfig { detail: Some(1.0), adaptive_detail, quality: 44, ..encoder_config(WIDTH, HEIGHT) }
}

fn units(packets: &[Packet]) -> impl Iterator<Item = &[u8]> {
    packets.iter().map(|unit| unit.data.as_slice())
}

fn plain(packets: &[Packet]) -> Vec<DecodedFrame> {
    let mut decoder = decoder(1);
    decoder.set_detail(Some(0.0));
    decode_with(decoder, units(packets))
}

/// Mean squared error of luma on the left and on the right.
fn errors(a: &[Frame], b: &[DecodedFrame]) -> [f64; 2] {
    let side = |columns: std::ops::Range<usize>| {
        let mut sum = 0.0;
        for (a, b) in a.iter().zip(b) {
            for row in 0..HEIGHT {
                let (a, b) = (&a.plane(0).row(row)[columns.clone()], &b.frame.plane(0).row(row)[columns.clone()]);
                sum += a.iter().zip(b).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum::<f64>();
            }
        }
        sum / (a.len() * HEIGHT * columns.len()) as f64
    };
    [side(0..WIDTH / 2), side(WIDTH / 2..WIDTH)]
}

#[test]
fn nothing_is_added_where_the_original_is_blurred() {
    let frames = half_blurred(9);
    let [without, with] = [false, true].map(|adaptive| encode(config(adaptive), &frames));
    // The map changes what is shown, and nothing else.
    let (a, b) = (plain(&without), plain(&with));
    assert!(a.iter().zip(&b).all(|(a, b)| a.frame == b.frame), "the map has changed a reference");
    let bits = |packets: &[Packet]| packets.iter().map(|unit| unit.estimated_bits).sum::<u64>();
    assert!(bits(&with) - bits(&without) < 400, "{} and {} bits", bits(&without), bits(&with));
    // What the filter changes: less on the blurred side than without the map, and still something on the other.
    let base: Vec<Frame> = a.into_iter().map(|picture| picture.frame).collect();
    let changes = [&without, &with].map(|packets| errors(&base, &decode(1, units(packets))));
    println!(
        "squared change on the side with detail and on the blurred one: {:.2?} without a map, {:.2?} with",
        changes[0], changes[1]
    );
    assert!(changes[1][1] < 0.5 * changes[0][1] && changes[1][0] > 0.5 * changes[0][0]);
}

#[test]
fn maps_survive_threads_skipped_frames_and_keyframes() {
    let frames = half_blurred(12);
    let mut encoder = Encoder::new(config(true)).unwrap();
    let code = |(t, frame): (usize, &Frame)| {
        encoder.encode(&frame.view(), FrameOptions { force_keyframe: t == 6, ..FrameOptions::default() }).unwrap()
    };
    let packets: Vec<Packet> = frames.iter().enumerate().map(code).collect();
    let shown = decode(1, units(&packets));
    assert!(decode(2, units(&packets)) == shown);
    // From the second keyframe on it is as if the first had not been there; frames before it need not be shown.
    assert!(decode(1, units(&packets[6..]))[..] == shown[6..]);
    let mut decoder = decoder(1);
    packets[..6].iter().for_each(|unit| decoder.skip(&unit.data).unwrap());
    let later: Vec<Frame> = packets[6..].iter().map(|unit| decoder.decode(&unit.data).unwrap().to_frame()).collect();
    assert!(later.iter().zip(&shown[6..]).all(|(found, wanted)| *found == wanted.frame));
}

#[test]
fn bitrates_hold_with_maps() {
    let frames = half_blurred(24);
    let bitrate = 40_000.0;
    let rate = RateMode::Constant { bitrate, buffer: 1.0 };
    let packets = encode(EncoderConfig { rate, ..config(true) }, &frames);
    let shown = decode(1, units(&packets));
    assert!(frames.iter().zip(&shown).all(|(frame, shown)| psnr(frame, &shown.frame, 0) > 18.0));
    let bits: f64 = packets.iter().map(|unit| 8.0 * unit.data.len() as f64).sum();
    // The buffer of a second is full at first.
    assert!(bits < 2.0 * bitrate, "{bits}");
}
