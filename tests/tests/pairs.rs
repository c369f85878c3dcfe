//! Pairs of frames: what they look like, what may go missing, and that both sides agree whichever way frames are coded.

use codec_core::bitstream::{FrameHeader, FrameType, parse_unit, write_unit};
use codec_core::frame::Frame;
use codec_core::{Concealment, Encoder, EncoderConfig, Error, FrameOptions, Limits, Lookahead, Packet, RateMode, Speed};
use ngc_tests::{decode, decode_with, decoder, encoder_config, psnr, synthetic_frame};

const WIDTH: usize = 160;
const HEIGHT: usize = 96;

fn moving(count: usize) -> Vec<Frame> {
    (0..count).map(|i| synthetic_frame(WIDTH, HEIGHT, i)).collect()
}

/// Every second frame is brighter: that costs a P-frame next to nothing, but a B-frame between two dark ones much.
fn flashing(count: usize) -> Vec<Frame> {
    let mut frames = moving(count);
    for frame in frames.iter_mut().step_by(2) {
        frame.planes_mut()[0].data.iter_mut().for_each(|sample| *sample = sample.saturating_add(60));
    }
    frames
}

/// A picture of blocks that have nothing in common with those of [`moving`].
fn blocks() -> Frame {
    let mut frame = Frame::new(WIDTH, HEIGHT);
    for row in 0..HEIGHT {
        for (x, sample) in frame.planes_mut()[0].row_mut(row).iter_mut().enumerate() {
            *sample = ((x / 5 * 7919 + row / 5 * 104_729).wrapping_mul(2_654_435_761) >> 13) as u8;
        }
    }
    frame
}

/// So fast that everything is paired, nothing tried both ways.
fn config() -> EncoderConfig {
    EncoderConfig { speed: Speed::Fast, ..encoder_config(WIDTH, HEIGHT) }
}

fn encode(config: EncoderConfig, frames: &[Frame], options: impl Fn(usize) -> FrameOptions) -> Vec<Packet> {
    let mut lookahead = Lookahead::new(4, config.threads).unwrap();
    let mut encoder = Encoder::new(config).unwrap();
    let mut packets = Vec::new();
    for (i, frame) in frames.iter().enumerate() {
        lookahead.push(&frame.view(), options(i), i).unwrap();
        if let Some(ready) = lookahead.pop_pair(false) {
            packets.extend(ready.encode(&mut encoder).unwrap());
        }
    }
    while let Some(ready) = lookahead.pop_pair(true) {
        packets.extend(ready.encode(&mut encoder).unwrap());
    }
    packets
}

fn header(packet: &Packet) -> FrameHeader {
    parse_unit(&packet.data, &Limits::default()).unwrap().header
}

/// One letter a frame: I, P, B (a pair), S (what a pair brought is shown).
fn kinds(packets: &[Packet]) -> String {
    let letter = |packet| match header(packet).frame_type {
        FrameType::I => 'I',
        FrameType::P => 'P',
        FrameType::Pair => 'B',
        FrameType::Show => 'S',
    };
    packets.iter().map(letter).collect()
}

fn units(packets: &[Packet]) -> impl Iterator<Item = &[u8]> {
    packets.iter().map(|packet| packet.data.as_slice())
}

#[test]
fn every_frame_has_a_unit_in_order() {
    let frames = moving(10);
    let packets = encode(config(), &frames, |_| FrameOptions::default());
    assert_eq!(kinds(&packets), "IBSBSBSBSP");
    for (i, packet) in packets.iter().enumerate() {
        assert_eq!((packet.frame_number as usize, packet.keyframe), (i, i == 0));
        assert_eq!(header(packet).frame_number as usize, i);
    }
    // A B-frame has its own quality, and what is shown takes next to nothing.
    let [pair, show] = [&packets[1], &packets[2]];
    assert_eq!((header(pair).residual_quality, header(pair).b_quality, pair.quality), (38, 46, 46));
    assert_eq!((show.data.len(), show.quality), (9, 38));
    let decoded = decode(1, units(&packets));
    for (i, (frame, decoded)) in frames.iter().zip(&decoded).enumerate() {
        let quality = psnr(frame, &decoded.frame, 0);
        assert!(quality > 26.0, "frame {i}: {quality:.1} dB");
        // It is this frame, and neither of its neighbours.
        let others = [i.checked_sub(1), Some(i + 1)].into_iter().flatten().filter_map(|i| frames.get(i));
        assert!(others.into_iter().all(|other| psnr(other, &decoded.frame, 0) < quality - 3.0), "frame {i}");
    }
    for threads in [2, 3] {
        assert_eq!(decode(threads, units(&packets)), decoded);
        let encoded = encode(EncoderConfig { threads, ..config() }, &frames, |_| FrameOptions::default());
        assert!(units(&encoded).eq(units(&packets)), "{threads} threads");
    }
}

#[test]
fn decoders_see_what_the_encoder_saw_whichever_way_it_went() {
    // Pairs win here and lose there.
    let (moving, flashing) = (moving(12), flashing(12));
    let frames: Vec<_> = [&moving[..], &flashing, &moving, &flashing].concat();
    let slow = EncoderConfig { speed: Speed::Slow, scene_cut: false, quality: 30, ..encoder_config(WIDTH, HEIGHT) };
    let mut encoder = Encoder::new(slow).unwrap();
    let mut decoder = decoder(1);
    let mut all = Vec::new();
    for pair in frames.chunks(2) {
        let [first, second] = [0, 1].map(|i| pair[i].view());
        let packets = encoder.encode_pair([(&first, FrameOptions::default()), (&second, FrameOptions::default())]).unwrap();
        for packet in &packets {
            decoder.decode(&packet.data).unwrap();
        }
        let shown = decoder.conceal(Concealment::Freeze).unwrap().unwrap().frame.clone();
        assert_eq!(&shown, encoder.reconstruction(), "frame {}", all.len() + 1);
        all.extend(packets);
        // Concealment ended the decoder's stream: from the start again.
        decoder = decode_all(&all);
    }
    let kinds = kinds(&all);
    assert!(kinds.contains("BS") && kinds[1..].contains("PP"), "{kinds}");
}

/// A decoder that has decoded all of these.
fn decode_all(packets: &[Packet]) -> codec_core::Decoder {
    let mut decoder = decoder(1);
    units(packets).for_each(|unit| _ = decoder.decode(unit).unwrap());
    decoder
}

#[test]
fn what_cannot_be_a_pair_is_none() {
    let frames = moving(9);
    let with = |config, options: fn(usize) -> FrameOptions| kinds(&encode(config, &frames, options));
    let none = |_| FrameOptions::default();
    // A keyframe is asked for, as the second and as the first of two.
    let forced = |at| move |i| FrameOptions { force_keyframe: i == at, ..FrameOptions::default() };
    assert_eq!(kinds(&encode(config(), &frames, forced(4))), "IBSPIBSBS");
    assert_eq!(kinds(&encode(config(), &frames, forced(3))), "IBSIBSBSP");
    // Or it is due.
    assert_eq!(with(EncoderConfig { key_int_max: 4, ..config() }, none), "IBSPIBSPI");
    assert_eq!(with(EncoderConfig { key_int_max: 2, ..config() }, none), "IPIPIPIPI");
    let rate = RateMode::Constant { bitrate: 300_000.0, buffer: 1.0 };
    assert_eq!(with(EncoderConfig { rate, ..config() }, none), "IPPPPPPPP");
    // A new scene begins with either of two.
    for (start, wanted) in [(3, "IBSIPBSBS"), (4, "IBSPIBSBS")] {
        let cut: Vec<_> = (0..9).map(|i| if i < start { frames[i].clone() } else { blocks() }).collect();
        let config = EncoderConfig { key_int_min: 1, ..config() };
        assert_eq!(kinds(&encode(config, &cut, |_| FrameOptions::default())), wanted, "{start}");
    }
}

#[test]
fn what_is_skipped_leaves_the_rest_as_it_is() {
    let packets = encode(config(), &moving(9), |_| FrameOptions::default());
    assert_eq!(kinds(&packets), "IBSBSBSBS");
    let wanted = decode(1, units(&packets));
    for skipped in [&[1][..], &[2], &[1, 2], &[3, 5, 7], &[2, 3, 4, 5, 6, 7]] {
        let mut decoder = decoder(1);
        for (i, packet) in packets.iter().enumerate() {
            if skipped.contains(&i) {
                decoder.skip(&packet.data).unwrap();
            } else {
                let picture = decoder.decode(&packet.data).unwrap();
                assert_eq!(picture.to_frame(), wanted[i].frame, "frame {i} with {skipped:?} skipped");
                assert_eq!((picture.frame_number as usize, picture.keyframe), (i, i == 0));
            }
        }
    }
}

#[test]
fn a_b_frame_has_its_detail_too() {
    let config = EncoderConfig { detail: Some(1.0), ..config() };
    let packets = encode(config, &moving(9), |_| FrameOptions::default());
    let (with, without) = (decode(1, units(&packets)), {
        let mut decoder = decoder(1);
        decoder.set_detail(Some(0.0));
        decode_with(decoder, units(&packets))
    });
    for i in 1..9 {
        assert_ne!(with[i].frame, without[i].frame, "frame {i}");
        assert!(psnr(&with[i].frame, &without[i].frame, 0) > 25.0, "frame {i}");
    }
    // A frame that is left out changes nothing in those after it, as long as their past was shown.
    let mut decoder = decoder(1);
    for (i, packet) in packets.iter().enumerate() {
        if header(packet).frame_type == FrameType::Pair {
            decoder.skip(&packet.data).unwrap();
        } else {
            assert_eq!(decoder.decode(&packet.data).unwrap().to_frame(), with[i].frame, "frame {i}");
        }
    }
}

#[test]
fn a_loss_is_seen_and_stood_in_for() {
    let packets = encode(config(), &moving(9), |_| FrameOptions::default());
    let wanted = decode(1, units(&packets));
    let needs_keyframe = |decoder: &mut codec_core::Decoder, i: usize| {
        let error = decoder.decode(&packets[i].data).unwrap_err();
        assert!(matches!(error, Error::NeedKeyframe { frame_number } if frame_number as usize == i), "{error}");
    };
    // Without a pair, what it brought cannot be shown.
    let mut lost = decode_all(&packets[..3]);
    needs_keyframe(&mut lost, 4);
    // Without the unit that shows it, the frame is there all the same, but the stream has a gap.
    let mut lost = decode_all(&packets[..4]);
    needs_keyframe(&mut lost, 5);
    for how in [Concealment::Freeze, Concealment::Predict] {
        let mut lost = decode_all(&packets[..4]);
        let stand_in = lost.conceal(how).unwrap().unwrap();
        assert_eq!((stand_in.to_frame(), stand_in.frame_number, stand_in.checksum), (wanted[4].frame.clone(), 4, None));
    }
    // What moved over two frames goes on at half of that.
    let mut lost = decode_all(&packets[..5]);
    let guess = lost.conceal(Concealment::Predict).unwrap().unwrap().to_frame();
    let [right, wrong] = [5, 6].map(|i| psnr(&guess, &wanted[i].frame, 0));
    assert!(right > wrong + 3.0, "{right:.1} {wrong:.1}");
}

#[test]
fn units_that_do_not_follow_each_other_are_damage() {
    let packets = encode(config(), &moving(6), |_| FrameOptions::default());
    assert_eq!(kinds(&packets), "IBSBSP");
    let corrupt = |decoded: usize, header: FrameHeader, payload: &[u8], part: &str| {
        let unit = write_unit(&header, None, payload).unwrap();
        let error = decode_all(&packets[..decoded]).decode(&unit).unwrap_err();
        assert!(matches!(&error, Error::Corrupt(m) if m.contains(part)), "{error}");
    };
    let pair = parse_unit(&packets[1].data, &Limits::default()).unwrap();
    let (header, inter) =
        (|kind, number| FrameHeader::new(kind, 30, number), parse_unit(&packets[5].data, &Limits::default()).unwrap());
    corrupt(1, header(FrameType::Show, 1), &[], "no frame waits");
    corrupt(3, header(FrameType::Show, 3), &[], "no frame waits");
    corrupt(2, header(FrameType::Show, 2), &[7], "1 bytes");
    corrupt(2, header(FrameType::P, 2), inter.payload, "passed over");
    corrupt(2, FrameHeader { frame_number: 2, ..pair.header.clone() }, pair.payload, "passed over");
    // A pair whose B-frame is cut off, and one that is a P-frame alone.
    let whole = pair.payload.len();
    for payload in [&pair.payload[..whole / 2], inter.payload] {
        let unit = write_unit(&pair.header, None, payload).unwrap();
        assert!(matches!(decode_all(&packets[..1]).decode(&unit), Err(Error::Corrupt(_))));
    }
}
