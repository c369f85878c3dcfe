//! Rate control in the whole encoder, and decoding that leaves out what nobody needs.

use std::time::Duration;

use codec_core::training::rate::{LeakyBucket, RateMode};
use codec_core::{Encoder, EncoderConfig, FrameOptions};
use ngc_tests::{decode, decoder, encode, encoder_config, psnr, real_frames, repository, synthetic_frame};

const GAP: f64 = 0.04;

#[test]
fn a_frame_that_is_too_large_is_quantised_again_and_decodes() {
    let frames = real_frames(&repository("examples/media/flower.mp4"), 320, 192, 40);
    // About a third of what quality 63 takes at this size, so the last resort is needed too.
    for bitrate in [8e3, 60e3] {
        let buffer = 0.5;
        let rate = RateMode::Constant { bitrate, buffer };
        let mut encoder = Encoder::new(EncoderConfig { rate, key_int_max: 0, ..encoder_config(320, 192) }).unwrap();
        let mut decoder = decoder(1);
        let mut bucket = LeakyBucket::new(bitrate, buffer);
        for (i, frame) in frames.iter().enumerate() {
            let time = Some(Duration::from_secs_f64(i as f64 * GAP));
            let unit = encoder.encode(&frame.view(), FrameOptions { time, ..FrameOptions::default() }).unwrap();
            bucket.add(8.0 * unit.data.len() as f64);
            if bitrate > 50e3 {
                assert!(bucket.room() >= 0.0, "frame {i} overruns the buffer by {} bits", -bucket.room());
            } else if i > 20 {
                // No quality reaches this rate; what comes out is the least that frames can have.
                assert!(unit.data.len() < 150, "frame {i} has {} bytes", unit.data.len());
            }
            bucket.drain(GAP);
            let out = decoder.decode(&unit.data).unwrap().to_frame();
            let reference = encoder.reconstruction().crop_copy(320, 192).unwrap();
            assert!((0..3).all(|p| psnr(&reference, &out, p) > 50.0), "frame {i} differs from the encoder's");
        }
    }
}

#[test]
fn skipped_frames_leave_the_later_ones_as_they_are() {
    let frames: Vec<_> = (0..10).map(|i| synthetic_frame(130, 70, i)).collect();
    let units = encode(EncoderConfig { key_int_max: 6, ..encoder_config(130, 70) }, &frames);
    let whole = decode(1, units.iter().map(|u| u.data.as_slice()));
    let mut decoder = decoder(1);
    let mut shown = Vec::new();
    for (i, unit) in units.iter().enumerate() {
        if [2, 3, 5].contains(&i) {
            decoder.skip(&unit.data).unwrap();
        } else {
            let picture = decoder.decode(&unit.data).unwrap();
            shown.push((i, picture.to_frame(), picture.checksum));
        }
    }
    assert_eq!(shown.len(), 7);
    for (i, frame, checksum) in shown {
        assert_eq!(frame, whole[i].frame, "frame {i}");
        assert_eq!(checksum, Some(whole[i].checksum), "frame {i}");
    }
}

#[test]
fn damage_in_a_skipped_frame_is_found() {
    let frames: Vec<_> = (0..3).map(|i| synthetic_frame(64, 64, i)).collect();
    let units = encode(encoder_config(64, 64), &frames);
    let mut decoder = decoder(1);
    decoder.decode(&units[0].data).unwrap();
    let mut bytes = units[1].data.clone();
    bytes[14] ^= 4;
    assert!(decoder.skip(&bytes).is_err());
    assert!(decoder.needs_keyframe());
    assert!(decoder.decode(&units[2].data).is_err());
}
