//! Encoding with a lookahead, from frames to decoded pictures.

use codec_core::frame::Frame;
use codec_core::{Encoder, EncoderConfig, FrameOptions, Lookahead, Packet};
use ngc_tests::{decode, encoder_config, synthetic_frame};

const WIDTH: usize = 256;
const HEIGHT: usize = 128;

/// The left half stands still; in the right half every frame is a part of another picture.
fn half_new(count: usize) -> Vec<Frame> {
    let still = synthetic_frame(WIDTH, HEIGHT, 0);
    let one = |number: usize| {
        let (mut frame, other) = (still.clone(), synthetic_frame(WIDTH, HEIGHT, 10_007 * number * number));
        for (plane, new) in frame.planes_mut().iter_mut().zip([0, 1, 2].map(|i| other.plane(i))) {
            let half = plane.width / 2;
            for row in 0..plane.height {
                for (x, sample) in plane.row_mut(row)[half..].iter_mut().enumerate() {
                    // Another grain in each frame: nothing predicts it.
                    let grain = (x * 31 + row * 17 + number * 101) * (number + 3) % 29;
                    *sample = new.row(row)[half + x].saturating_add(grain as u8);
                }
            }
        }
        frame
    };
    (0..count).map(one).collect()
}

fn encode(config: EncoderConfig, frames: &[Frame], depth: usize) -> Vec<Packet> {
    let mut lookahead = Lookahead::new(depth, config.threads).unwrap();
    let mut encoder = Encoder::new(config).unwrap();
    let mut packets = Vec::new();
    for frame in frames {
        lookahead.push(&frame.view(), FrameOptions::default(), ()).unwrap();
        if let Some(ready) = lookahead.pop(false) {
            packets.extend(ready.encode(&mut encoder).unwrap());
        }
    }
    while let Some(ready) = lookahead.pop(true) {
        packets.extend(ready.encode(&mut encoder).unwrap());
    }
    packets
}

/// Mean squared error of the left and of the right half of luma.
fn errors(originals: &[Frame], packets: &[Packet]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for (frame, decoded) in originals.iter().zip(decode(1, packets.iter().map(|packet| packet.data.as_slice()))) {
        let shown = decoded.frame;
        for (i, sum) in sums.iter_mut().enumerate() {
            let columns = i * WIDTH / 2..(i + 1) * WIDTH / 2;
            for row in 0..HEIGHT {
                let pairs = frame.plane(0).row(row)[columns.clone()].iter().zip(&shown.plane(0).row(row)[columns.clone()]);
                *sum += pairs.map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum::<f64>();
            }
        }
    }
    sums.map(|sum| sum / (WIDTH / 2 * HEIGHT * originals.len()) as f64)
}

fn bytes(packets: &[Packet]) -> usize {
    packets.iter().map(|packet| packet.data.len()).sum()
}

#[test]
fn what_stays_gets_better_and_what_goes_pays_for_it() {
    let frames = half_new(12);
    let config = EncoderConfig { quality: 38, temporal_filter: false, ..encoder_config(WIDTH, HEIGHT) };
    let (at_once, ahead) = (encode(config.clone(), &frames, 0), encode(config, &frames, 20));
    assert_eq!(ahead.len(), 12);
    let (before, after) = (errors(&frames, &at_once), errors(&frames, &ahead));
    assert!(after[0] < 0.8 * before[0] && after[1] > before[1], "{before:?} {after:?}");
    assert!(bytes(&ahead) < bytes(&at_once), "{} {}", bytes(&ahead), bytes(&at_once));
}

#[test]
fn the_stream_depends_on_the_depth_alone() {
    let frames = half_new(8);
    let config = || EncoderConfig { key_int_max: 5, ..encoder_config(WIDTH, HEIGHT) };
    let data = |packets: Vec<Packet>| packets.into_iter().map(|packet| packet.data).collect::<Vec<_>>();
    let threads = EncoderConfig { threads: 3, ..config() };
    assert_eq!(data(encode(config(), &frames, 3)), data(encode(threads, &frames, 3)));
    // Before a keyframe there is nothing to be known.
    let everywhere = EncoderConfig { key_int_max: 1, ..config() };
    assert_eq!(data(encode(everywhere.clone(), &frames, 6)), data(encode(everywhere, &frames, 0)));
}

/// A picture that moves to the left by a sample a frame, with another noise of up to `noise` grey levels in each.
fn noisy(count: usize, noise: usize) -> Vec<Frame> {
    let one = |number: usize| {
        let mut frame = synthetic_frame(WIDTH, HEIGHT, number);
        for (row, line) in (0..HEIGHT).zip(frame.planes_mut()[0].data.chunks_exact_mut(WIDTH)) {
            for (x, sample) in line.iter_mut().enumerate() {
                let grain = (x * 7919 + row * 104_729 + number * 15_485_863).wrapping_mul(2_654_435_761) >> 13;
                *sample = sample.saturating_add((grain % (2 * noise + 1)) as u8).saturating_sub(noise as u8);
            }
        }
        frame
    };
    (0..count).map(one).collect()
}

#[test]
fn noise_is_not_paid_for() {
    let (clean, frames) = (noisy(12, 0), noisy(12, 6));
    let config = |temporal_filter| EncoderConfig { quality: 26, temporal_filter, ..encoder_config(WIDTH, HEIGHT) };
    let [as_it_is, filtered] = [false, true].map(|on| encode(config(on), &frames, 6));
    assert!(20 * bytes(&filtered) < 19 * bytes(&as_it_is), "{} {}", bytes(&filtered), bytes(&as_it_is));
    // What is shown is nearer to what was there before the noise.
    let [before, after] = [&as_it_is, &filtered].map(|packets| errors(&clean, packets).iter().sum::<f64>());
    assert!(after < before, "{before} {after}");
    // Without a lookahead there is nothing to filter by.
    assert_eq!(encode(config(true), &frames, 0), encode(config(false), &frames, 0));
}
