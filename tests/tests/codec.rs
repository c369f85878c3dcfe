//! Encoder and decoder together: sizes, rate, drift, damage.

use std::ops::Range;

use codec_core::frame::Frame;
use codec_core::training::entropy::MEAN_OVERHEAD_BYTES;
use codec_core::{Concealment, Encoder, Error, FrameOptions};
use ngc_tests::{
    DecodedFrame, decode, decode_with, decoder, encode, encoder_config, framing, psnr, real_frames, repository, synthetic_frame,
};

#[test]
fn any_size_comes_back_as_it_was() {
    for (width, height) in [(1, 1), (2, 2), (17, 13), (65, 49), (1919, 1079)] {
        let frames: Vec<_> = (0..2).map(|i| synthetic_frame(width, height, i)).collect();
        let units = encode(encoder_config(width, height), &frames);
        let decoded = decode(1, units.iter().map(|u| u.data.as_slice()));
        for (original, out) in frames.iter().zip(&decoded) {
            assert_eq!((out.frame.width(), out.frame.height()), (width, height));
            let value = psnr(original, &out.frame, 0);
            assert!(value > 20.0, "{width}x{height}: {value} dB");
        }
    }
}

#[test]
fn decoder_holds_the_encoders_reconstruction() {
    let mut encoder = Encoder::new(encoder_config(130, 70)).unwrap();
    let mut decoder = decoder(1);
    for i in 0..8 {
        let options = FrameOptions { force_keyframe: i == 5, quality: Some(8 * i as u8), ..FrameOptions::default() };
        let unit = encoder.encode(&synthetic_frame(130, 70, i).view(), options).unwrap();
        assert_eq!(unit.keyframe, i == 0 || i == 5);
        let out = decoder.decode(&unit.data).unwrap().to_frame();
        let reference = encoder.reconstruction().crop_copy(130, 70).unwrap();
        assert!((0..3).all(|p| psnr(&reference, &out, p) > 50.0), "frame {i}");
    }
}

/// The frame with its brightness times `gain`, black staying black.
fn dimmed(frame: &Frame, gain: f64) -> Frame {
    let mut out = frame.clone();
    for (plane, centre) in out.planes_mut().iter_mut().zip([16.0, 128.0, 128.0]) {
        plane.data.iter_mut().for_each(|sample| *sample = ((f64::from(*sample) - centre) * gain + centre).round() as u8);
    }
    out
}

#[test]
fn a_fade_to_black_costs_less_than_the_picture_in_steady_light() {
    let steady = real_frames(&repository("examples/media/flower.mp4"), 192, 128, 12);
    let faded: Vec<Frame> = steady.iter().enumerate().map(|(i, frame)| dimmed(frame, 1.0 - i as f64 / 12.0)).collect();
    let inter_bytes = |frames: &[Frame]| {
        let mut encoder = Encoder::new(encoder_config(192, 128)).unwrap();
        let mut decoder = decoder(1);
        decoder.set_detail(Some(0.0));
        let mut bytes = 0;
        for (i, frame) in frames.iter().enumerate() {
            let unit = encoder.encode(&frame.view(), FrameOptions::default()).unwrap();
            assert_eq!(unit.keyframe, i == 0);
            assert_eq!(&decoder.decode(&unit.data).unwrap().to_frame(), encoder.reconstruction());
            bytes += if unit.keyframe { 0 } else { unit.data.len() };
        }
        bytes
    };
    let (with, without) = (inter_bytes(&faded), inter_bytes(&steady));
    assert!(with < without, "P-frames of {with} bytes in the fade, {without} in steady light");
}

#[test]
fn a_picture_that_stands_still_costs_next_to_nothing() {
    let moving = real_frames(&repository("examples/media/flower.mp4"), 192, 128, 4);
    // Still, moving, still again.
    let frames: Vec<&Frame> = [&moving[0]; 12].into_iter().chain(&moving).chain([&moving[3]; 8]).collect();
    let mut encoder = Encoder::new(encoder_config(192, 128)).unwrap();
    let units: Vec<_> = frames.iter().map(|frame| encoder.encode(&frame.view(), FrameOptions::default()).unwrap()).collect();
    let inter_bytes = |range: Range<usize>| units[range.clone()].iter().map(|unit| unit.data.len()).sum::<usize>() / range.len();
    assert!(inter_bytes(2..12) <= 20, "{} bytes a frame that stands still", inter_bytes(2..12));
    assert!(inter_bytes(13..16) > 30, "{} bytes a frame that moves", inter_bytes(13..16));
    // Frames that rest leave the residual's prior to those after them, put off or not, on one thread or two.
    for threads in [1, 2] {
        let (mut each, mut last) = (decoder(threads), decoder(threads));
        each.set_detail(Some(0.0));
        last.set_detail(Some(0.0));
        let (end, before) = units.split_last().unwrap();
        for unit in before {
            assert_eq!(each.decode(&unit.data).unwrap().keyframe, unit.keyframe);
            last.skip(&unit.data).unwrap();
        }
        for decoder in [&mut each, &mut last] {
            assert_eq!(&decoder.decode(&end.data).unwrap().to_frame(), encoder.reconstruction());
        }
    }
}

#[test]
fn what_lies_beyond_the_display_size_costs_next_to_nothing() {
    // Both are coded at 192x128 and get the same samples, but the second has to show them all.
    let small: Vec<_> = real_frames(&repository("examples/media/flower.mp4"), 132, 72, 12);
    let padded: Vec<_> = small.iter().map(|frame| codec_core::training::pad::padded(&frame.view()).unwrap()).collect();
    let size = |width, height, frames: &[Frame]| {
        let units = encode(encoder_config(width, height), frames);
        units[1..].iter().map(|unit| unit.data.len()).sum::<usize>()
    };
    let (shown, hidden) = (size(192, 128, &padded), size(132, 72, &small));
    assert!(hidden * 10 < shown * 9, "P-frames of {hidden} bytes, {shown} with the padding");
}

#[test]
fn estimated_and_real_size_agree() {
    let frames = real_frames(&repository("examples/media/flower.mp4"), 320, 192, 40);
    let units = encode(encoder_config(320, 192), &frames);
    let framing: usize = units.iter().map(framing).sum();
    let real: usize = units.iter().map(|u| u.data.len()).sum();
    let estimated = framing as f64 + units.iter().map(|u| u.estimated_bits as f64 / 8.0 + MEAN_OVERHEAD_BYTES).sum::<f64>();
    let ratio = real as f64 / estimated;
    assert!((ratio - 1.0).abs() < 0.01, "{real} bytes, {estimated} estimated");
}

/// The clip forwards and backwards, over and over: no cut, and known content at any time.
fn looped(frames: &[Frame], count: usize) -> Vec<Frame> {
    let period = 2 * frames.len() - 2;
    (0..count).map(|i| frames[if i % period < frames.len() { i % period } else { period - i % period }].clone()).collect()
}

/// Mean PSNR of Y, U and V over a range of frames.
fn mean_psnr(originals: &[Frame], outputs: &[DecodedFrame], range: Range<usize>) -> [f64; 3] {
    [0, 1, 2].map(|plane| range.clone().map(|i| psnr(&originals[i], &outputs[i].frame, plane)).sum::<f64>() / range.len() as f64)
}

#[test]
fn quality_holds_over_600_frames_after_one_keyframe() {
    let real = looped(&real_frames(&repository("examples/media/flower.mp4"), 256, 128, 51), 600);
    let synthetic = looped(&(0..51).map(|i| synthetic_frame(256, 128, i)).collect::<Vec<_>>(), 600);
    for (name, frames) in [("real", real), ("synthetic", synthetic)] {
        let config = codec_core::EncoderConfig { key_int_max: 0, detail: Some(1.0), ..encoder_config(256, 128) };
        let units = encode(config, &frames);
        assert_eq!(units.iter().filter(|u| u.keyframe).count(), 1);
        for postfilter in [false, true] {
            let mut decoder = decoder(1);
            decoder.set_detail((!postfilter).then_some(0.0));
            let out = decode_with(decoder, units.iter().map(|u| u.data.as_slice()));
            let contrast = |range: Range<usize>| {
                let count = range.len() as f64;
                out[range].iter().map(|out| contrast(&out.frame)).sum::<f64>() / count
            };
            // All ranges are whole periods of the loop.
            let (early, texture) = (mean_psnr(&frames, &out, 20..120), contrast(20..120));
            for later in [200..300, 500..600] {
                let (late, kept) = (mean_psnr(&frames, &out, later.clone()), contrast(later.clone()) / texture);
                println!(
                    "{name}, postfilter {postfilter}: Y, U, V {early:.2?} dB in frames 20 to 119, {late:.2?} dB, contrast {kept:.3} in {later:?}"
                );
                // The golden frame starts as the keyframe, which is better than what takes its place later. Colour shows it, for hundreds
                // of frames where it rests.
                let holds = early.iter().zip(&late).zip([0.3, 1.1, 1.1]).all(|((early, late), loss)| *late > early - loss);
                assert!(holds, "{name}: {early:.2?} dB early, {late:.2?} dB in {later:?}");
                // What a recurrent postfilter adds neither piles up nor fades.
                assert!((0.95..1.05).contains(&kept), "{name}: {kept} of the contrast in {later:?}");
            }
        }
    }
}

/// Mean difference between neighbouring luma samples: how strong texture is.
fn contrast(frame: &Frame) -> f64 {
    let plane = frame.plane(0);
    let pairs = (0..plane.height).flat_map(|row| plane.row(row).windows(2));
    pairs.map(|pair| f64::from(pair[0].abs_diff(pair[1]))).sum::<f64>() / (plane.width * plane.height) as f64
}

#[test]
fn detail_is_shown_at_the_same_rate_and_never_predicted_from() {
    let frames = real_frames(&repository("examples/media/flower.mp4"), 320, 192, 8);
    let config = |detail| codec_core::EncoderConfig {
        detail: Some(detail),
        adaptive_detail: false,
        quality: 40,
        ..encoder_config(320, 192)
    };
    let streams = [0.0, 0.5, 1.0].map(|detail| encode(config(detail), &frames));
    for detailed in &streams[1..] {
        for (t, (without, with)) in streams[0].iter().zip(detailed).enumerate() {
            // The sequence header says it, and each frame that its map has not changed.
            let more = if t == 0 { 3 } else { 0 };
            let difference = with.data.len() as i64 - without.data.len() as i64 - more;
            assert!(difference.abs() <= 2 && with.estimated_bits <= without.estimated_bits + 1, "frame {t}: {difference} bytes");
        }
    }
    let shown = streams.each_ref().map(|units| decode(1, units.iter().map(|u| u.data.as_slice())));
    for (i, original) in frames.iter().enumerate() {
        let [faithful, between, detailed] = shown.each_ref().map(|frames| &frames[i].frame);
        let (short, over) = (contrast(original) - contrast(faithful), contrast(detailed) - contrast(original));
        assert!(-short < over && over < short, "frame {i}: {short} {over}");
        let share = 10f64.powf((psnr(faithful, detailed, 0) - psnr(faithful, between, 0)) / 20.0);
        assert!((0.3..0.7).contains(&share), "frame {i}: half of the detail is {share} of it");
        let [faithful, .., detailed] = shown.each_ref().map(|frames| psnr(original, &frames[i].frame, 0));
        assert!(detailed > faithful - 0.7, "frame {i}: {faithful} dB, {detailed} dB with detail");
    }
}

#[test]
fn what_stands_still_is_shown_as_it_was() {
    const SIZE: (usize, usize) = (320, 192);
    let still = &real_frames(&repository("examples/media/flower.mp4"), SIZE.0, SIZE.1, 1)[0];
    let noise = synthetic_frame(64, 64, 7);
    // In the upper left corner something else in each frame.
    let frames: Vec<Frame> = (0..14)
        .map(|t| {
            let mut frame = still.clone();
            for row in 0..24 {
                frame.planes_mut()[0].row_mut(row)[..24].copy_from_slice(&noise.plane(0).row(row)[t..t + 24]);
            }
            frame
        })
        .collect();
    let config = codec_core::EncoderConfig { quality: 36, detail: Some(0.7), ..encoder_config(SIZE.0, SIZE.1) };
    let units = encode(config, &frames);
    let data = || units.iter().map(|unit| unit.data.as_slice());
    let mut without = decoder(1);
    without.set_detail(Some(0.0));
    let (shown, plain) = (decode(1, data()), decode_with(without, data()));
    assert!(shown.iter().zip(decode(3, data())).all(|(a, b)| a.frame == b.frame), "threads");
    // Of each row of areas, from column 128 on.
    let lower = |frame: &Frame, area: usize| -> Vec<u8> {
        (64 * area..64 * area + 64).flat_map(|row| frame.plane(0).row(row)[128..].to_vec()).collect()
    };
    let (mut same, mut areas) = (0, 0);
    for t in 3..frames.len() {
        for area in 0..3 {
            let decoded = lower(&plain[t].frame, area) == lower(&plain[t - 1].frame, area);
            areas += usize::from(decoded);
            same += usize::from(decoded && lower(&shown[t].frame, area) == lower(&shown[t - 1].frame, area));
        }
    }
    // Each has its turn once in eight frames.
    assert!(areas > 15 && same * 8 >= areas * 6, "{same} of {areas} areas of {} frames", frames.len() - 3);
    // Their detail is that of the first frames, and no more.
    let [first, last] = [2, frames.len() - 1].map(|t| contrast(&shown[t].frame) / contrast(&plain[t].frame));
    assert!(first > 1.02 && (last / first - 1.0).abs() < 0.02, "{first} {last}");
}

#[test]
fn a_decoder_can_leave_out_the_postfilter_of_any_frame() {
    let frames = real_frames(&repository("examples/media/flower.mp4"), 192, 128, 4);
    let stream = |detail| encode(codec_core::EncoderConfig { detail: Some(detail), ..encoder_config(192, 128) }, &frames);
    let units = stream(1.0);
    let [detailed, faithful] = [&units, &stream(0.0)].map(|units| decode(1, units.iter().map(|u| u.data.as_slice())));
    let mut decoder = decoder(1);
    let mut show = |i: usize, on: bool| {
        decoder.set_detail((!on).then_some(0.0));
        decoder.decode(&units[i].data).unwrap().to_frame()
    };
    assert!(faithful[1].frame != detailed[1].frame && faithful[2].frame != detailed[2].frame);
    assert_eq!(show(0, true), detailed[0].frame);
    assert_eq!(show(1, true), detailed[1].frame);
    assert_eq!(show(2, false), faithful[2].frame);
    assert!(nearer(&show(3, true), &detailed[3].frame, &faithful[3].frame));
}

#[test]
fn a_decoder_may_ask_for_another_strength_of_the_postfilter_than_the_stream() {
    let frames = real_frames(&repository("examples/media/flower.mp4"), 192, 128, 2);
    let config = |detail| codec_core::EncoderConfig { detail: Some(detail), adaptive_detail: false, ..encoder_config(192, 128) };
    let [faithful, detailed] = [0.0, 1.0].map(|detail| encode(config(detail), &frames));
    let show = |units: &[codec_core::Packet], detail: Option<f32>| -> Vec<Frame> {
        let mut decoder = decoder(1);
        decoder.set_detail(detail);
        units.iter().map(|unit| decoder.decode(&unit.data).unwrap().to_frame()).collect()
    };
    // Without maps streams differ by the strength that they ask for alone.
    for detail in [0.0, 0.4, 1.0] {
        let wanted = show(&encode(config(detail), &frames), None);
        assert_eq!(show(&faithful, Some(detail)), wanted, "{detail}");
        assert_eq!(show(&detailed, Some(detail)), wanted, "{detail}");
    }
    assert_eq!(show(&detailed, Some(7.0)), show(&detailed, None));
    assert_eq!(show(&detailed, Some(f32::NAN)), show(&faithful, None));
}

/// Whether luma is nearer to that of one frame than to that of another.
fn nearer(frame: &Frame, one: &Frame, other: &Frame) -> bool {
    psnr(frame, one, 0) > psnr(frame, other, 0) + 3.0
}

#[test]
fn stand_ins_and_frames_after_skipped_ones_have_their_detail() {
    let frames = real_frames(&repository("examples/media/flower.mp4"), 192, 128, 4);
    let stream = |detail| encode(codec_core::EncoderConfig { detail: Some(detail), ..encoder_config(192, 128) }, &frames);
    let units = stream(1.0);
    let [whole, faithful] = [&units, &stream(0.0)].map(|units| decode(1, units.iter().map(|u| u.data.as_slice())));
    let mut decoder = decoder(1);
    assert!(decoder.conceal(Concealment::Freeze).unwrap().is_none(), "nothing to go by");
    assert_eq!(decoder.decode(&units[0].data).unwrap().to_frame(), whole[0].frame);
    decoder.skip(&units[1].data).unwrap();
    let after = decoder.decode(&units[2].data).unwrap().to_frame();
    assert!(nearer(&after, &whole[2].frame, &faithful[2].frame));
    let frozen = decoder.conceal(Concealment::Freeze).unwrap().unwrap();
    assert_eq!((frozen.to_frame(), frozen.checksum, frozen.frame_number), (after.clone(), None, 3));
    let moved = decoder.conceal(Concealment::Predict).unwrap().unwrap();
    assert!(moved.to_frame() != after && !moved.keyframe && moved.frame_number == 4);
}

/// One bit in the middle of a unit flipped.
fn flipped(unit: &[u8]) -> Vec<u8> {
    let mut bytes = unit.to_vec();
    bytes[unit.len() / 2] ^= 0x10;
    bytes
}

#[test]
fn damage_is_an_error_and_the_next_keyframe_heals_it() {
    let frames: Vec<_> = (0..6).map(|i| synthetic_frame(96, 64, i)).collect();
    let config = codec_core::EncoderConfig { key_int_max: 4, ..encoder_config(96, 64) };
    let units = encode(config, &frames);
    let damaged: [(&str, Vec<u8>); 5] = [
        ("truncated", units[1].data[..units[1].data.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("foreign", b"\x00\x00\x00\x01\x67 an H.264 stream, perhaps".to_vec()),
        ("flipped", flipped(&units[1].data)),
        ("out of order", units[2].data.clone()),
    ];
    let pictures = decode(1, units.iter().map(|unit| unit.data.as_slice()));
    // With several threads a picture is begun before its unit is known to be whole.
    for ((name, bytes), threads) in damaged.iter().flat_map(|damaged| [1, 3].map(|threads| (damaged, threads))) {
        let mut decoder = decoder(threads);
        decoder.decode(&units[0].data).unwrap();
        let error = decoder.decode(bytes).expect_err(name);
        assert!(matches!(error, Error::Corrupt(_) | Error::NeedKeyframe { .. }) && error.is_damage(), "{name}: {error}");
        let error = decoder.decode(&units[2].data).expect_err(name);
        assert!(matches!(error, Error::NeedKeyframe { .. }), "{name}: {error}");
        for (unit, wanted) in units.iter().zip(&pictures).skip(4) {
            assert!(decoder.decode(&unit.data).unwrap().to_frame() == wanted.frame, "{name}, {threads} threads");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_unit_is_found() {
    let frames: Vec<_> = (0..2).map(|i| synthetic_frame(64, 64, i)).collect();
    let units = encode(encoder_config(64, 64), &frames);
    let mut decoder = decoder(1);
    for bit in 0..units[1].data.len() * 8 {
        decoder.decode(&units[0].data).unwrap();
        let mut bytes = units[1].data.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decoder.decode(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn bad_settings_name_the_value_and_its_range() {
    let config = codec_core::EncoderConfig { quality: 64, ..encoder_config(64, 64) };
    let error = Encoder::new(config).err().expect("quality 64 does not exist").to_string();
    assert!(error.contains("64") && error.contains("0..=63"), "{error}");
    let model = codec_core::ModelSource::File("/nowhere/model.safetensors".into());
    let config = codec_core::EncoderConfig { model, ..encoder_config(64, 64) };
    let error = Encoder::new(config).err().expect("the file does not exist").to_string();
    assert!(error.contains("/nowhere/model.safetensors") && error.contains("ngc-trainer export"), "{error}");
}
