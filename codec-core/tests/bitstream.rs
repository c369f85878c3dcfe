//! The syntax of units against fixed byte vectors, damage, limits and random headers.

use codec_core::bitstream::*;
use codec_core::{Error, Limits};

fn header(frame_type: FrameType, quality: u8, frame_number: u32) -> FrameHeader {
    FrameHeader::new(frame_type, quality, frame_number)
}

fn sequence() -> SequenceHeader {
    SequenceHeader {
        model_id: std::array::from_fn(|i| i as u8),
        profile: Profile::Rt,
        random_shift: Some(0x0102_0304),
        detail: 0,
        video: VideoInfo {
            width: 640,
            height: 360,
            framerate: (30_000, 1001),
            par: (1, 1),
            color: ColorInfo { range: ColorRange::Limited, matrix: 6, transfer: 13, primaries: 1 },
            chroma_site: ChromaSite::Left,
            interlacing: Interlacing::Progressive,
            ..VideoInfo::default()
        },
    }
}

fn hdr_sequence() -> SequenceHeader {
    let mut sequence = sequence();
    sequence.random_shift = None;
    sequence.profile = Profile::Paper;
    sequence.video.mastering_display = Some(MasteringDisplay {
        primaries: [(35_400, 14_600), (8500, 39_850), (6550, 2300)],
        white_point: (15_635, 16_450),
        max_luminance: 10_000_000,
        min_luminance: 50,
    });
    sequence.video.content_light = Some(ContentLight { max_content: 1000, max_frame_average: 400 });
    sequence
}

fn i_unit() -> Vec<u8> {
    write_unit(&header(FrameType::I, 17, 0x0001_0002), Some(&sequence()), b"intra").unwrap()
}

fn p_unit() -> Vec<u8> {
    write_unit(&header(FrameType::P, 63, 0x0001_0003), None, b"inter").unwrap()
}

fn parse(data: &[u8]) -> codec_core::Result<ParsedUnit<'_>> {
    parse_unit(data, &Limits::default())
}

/// A unit around any body, with fitting checks. `body` stays below 128 bytes.
fn frame(marker: &[u8], unit_type: u8, body: &[u8], crc_bytes: usize) -> Vec<u8> {
    let crc8 = |data: &[u8]| {
        let mut crc = 0u8;
        for byte in data {
            crc ^= byte;
            for _ in 0..8 {
                crc = if crc >> 7 == 1 { (crc << 1) ^ 7 } else { crc << 1 };
            }
        }
        crc
    };
    let start = [unit_type, u8::try_from(body.len()).ok().filter(|&l| l < 128).unwrap()];
    let mut unit = [marker, &start[..], &[crc8(&start)], body].concat();
    // CRC-32C bit by bit: reflected, polynomial 0x1EDC6F41.
    let mut crc = !0u32;
    for byte in &unit {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    unit.extend(&(!crc).to_le_bytes()[..crc_bytes]);
    unit
}

fn long(unit_type: u8, body: &[u8]) -> Vec<u8> {
    frame(b"NGC", unit_type, body, 4)
}

fn short(unit_type: u8, body: &[u8]) -> Vec<u8> {
    frame(b"N", unit_type, body, 2)
}

/// The body of [`i_unit`] and the offsets in it of the sequence header's fields.
fn i_body() -> Vec<u8> {
    let unit = i_unit();
    unit[6..unit.len() - 4].to_vec()
}
const HEADER_LENGTH: usize = 5;
const VERSION: usize = 6;
const PROFILE: usize = 23;
const WIDTH: usize = 28;
const RANGE: usize = 39;
const HEADER_END: usize = 45;

/// [`i_unit`] with `extension` at the end of its sequence header.
fn with_extension(extension: &[u8]) -> Vec<u8> {
    let mut body = i_body();
    body[HEADER_LENGTH] += extension.len() as u8;
    body.splice(HEADER_END..HEADER_END, extension.iter().copied());
    long(0x81, &body)
}

#[test]
fn p_unit_bytes() {
    let expected = b"N\x82\x08\xa4\x3f\x03\x00inter\xec\xad";
    assert_eq!(p_unit(), expected);
    let parsed = parse(expected).unwrap();
    assert_eq!(parsed.header, header(FrameType::P, 63, 3));
    assert_eq!(parsed.sequence, None);
    assert_eq!(parsed.payload, b"inter");
}

#[test]
fn i_unit_bytes() {
    let expected = [
        &b"NGC\x81\x32\x3d"[..],
        b"\x11\x02\x00\x01\x00",
        b"\x27\x06\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f",
        b"\x11\x04\x03\x02\x01",
        b"\x80\x05\xe8\x02\xb0\xea\x01\xe9\x07\x01\x01",
        b"\x02\x01\x0d\x06\x01\x00",
        b"intra",
        b"\x06\x19\x83\x7f",
    ]
    .concat();
    assert_eq!(i_unit(), expected);
    let parsed = parse(&expected).unwrap();
    assert_eq!(parsed.header, header(FrameType::I, 17, 0x0001_0002));
    assert_eq!(parsed.sequence, Some(sequence()));
    assert_eq!(parsed.payload, b"intra");
    assert!(is_keyframe(&expected) && !is_keyframe(&p_unit()));
    assert!(expected.starts_with(&MAGIC));
}

#[test]
fn independent_framing_agrees() {
    assert_eq!(long(0x81, &i_body()), i_unit());
    assert_eq!(short(0x82, b"\x3f\x03\x00inter"), p_unit());
}

#[test]
fn framing_is_small() {
    let p = write_unit(&header(FrameType::P, 30, u32::MAX), None, &[0; 300]).unwrap();
    assert_eq!(p.len() - 300, 10);
    let i = write_unit(&header(FrameType::I, 30, u32::MAX), Some(&sequence()), &[0; 9000]).unwrap();
    assert_eq!(i.len() - 9000, 56);
}

#[test]
fn hdr_metadata_round_trips() {
    let sequence = hdr_sequence();
    let unit = write_unit(&header(FrameType::I, 0, 0), Some(&sequence), &[]).unwrap();
    let parsed = parse(&unit).unwrap();
    assert_eq!(parsed.sequence, Some(sequence));
    assert!(parsed.payload.is_empty());
    let display = b"\x01\x18\x48\x8a\x08\x39\x34\x21\xaa\x9b\x96\x19\xfc\x08\x13\x3d\x42\x40\x80\x96\x98\x00\x32\x00\x00\x00";
    let at = unit.windows(display.len()).position(|w| w == display).expect("mastering display");
    assert_eq!(unit[at + display.len()..][..6], *b"\x02\x04\xe8\x03\x90\x01");
}

#[test]
fn every_truncation_is_corrupt() {
    for unit in [i_unit(), p_unit()] {
        for length in 0..unit.len() {
            let error = parse(&unit[..length]).unwrap_err();
            assert!(matches!(&error, Error::Corrupt(m) if m.contains("cut off")), "{length}: {error}");
        }
    }
}

#[test]
fn truncated_headers_with_a_fitting_crc_are_corrupt() {
    let body = i_body();
    for length in 0..HEADER_END {
        assert!(matches!(parse(&long(0x81, &body[..length])), Err(Error::Corrupt(_))), "{length}");
        if length > HEADER_LENGTH {
            let mut shorter = body.clone();
            shorter[HEADER_LENGTH] = (length - VERSION) as u8;
            assert!(matches!(parse(&long(0x81, &shorter)), Err(Error::Corrupt(_))), "{length}");
        }
    }
    for length in 0..3 {
        assert!(matches!(parse(&short(0x82, &b"\x3f\x03\x00"[..length])), Err(Error::Corrupt(_))), "{length}");
    }
}

#[test]
fn trailing_bytes_are_corrupt() {
    let mut unit = p_unit();
    unit.push(0);
    assert!(matches!(parse(&unit), Err(Error::Corrupt(m)) if m.contains("1 bytes follow")));
    let two = [p_unit(), p_unit()].concat();
    assert!(matches!(parse(&two), Err(Error::Corrupt(_))));
}

#[test]
fn every_flipped_bit_is_found() {
    for unit in [i_unit(), p_unit()] {
        for bit in 0..unit.len() * 8 {
            let mut damaged = unit.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(parse(&damaged), Err(Error::Corrupt(_))), "bit {bit}");
        }
    }
}

#[test]
fn newer_syntax_is_unsupported() {
    let changed = |at: usize, value: u8| {
        let mut body = i_body();
        body[at] = value;
        long(0x81, &body)
    };
    let cases = [
        ("unit type", long(0x83, &i_body())),
        ("unit type", long(0x82, &i_body())),
        ("unit type", short(0x81, &i_body())),
        ("unit type", short(0x85, &i_body())),
        ("frame flags 0x40", short(0x84, b"\x7f\x03\x00\x30")),
        ("frame flags 0x40", short(0x83, b"\x3f\x03\x00\x40")),
        ("frame flags 0x40", changed(0, 17 | 0x40)),
        ("frame flags", changed(0, 17 | 0x80)),
        ("frame flags", short(0x82, b"\xbf\x03\x00\x10")),
        ("frame flags 0x40", short(0x82, b"\x7f\x03\x00\x40")),
        ("version 7, this build reads version 6: update", changed(VERSION, 7)),
        ("version 5, this build reads version 6: take the release", changed(VERSION, 5)),
        ("profile 2", changed(PROFILE, 0x12)),
        ("sequence flags", changed(PROFILE, 0x31)),
        ("sequence flags", changed(PROFILE, 0x91)),
        ("frame rate is 30000/0", changed(WIDTH + 7, 0)),
        ("colour range is 3", changed(RANGE, 3)),
        ("chroma site is 7", changed(RANGE + 4, 7)),
        ("interlace mode is 4", changed(RANGE + 5, 4)),
        ("extension 128", with_extension(&[128, 1, 0])),
    ];
    for (message, unit) in cases {
        match parse(&unit) {
            Err(Error::Unsupported(m)) => assert!(m.contains(message), "{m}, expected {message}"),
            other => panic!("{message}: {other:?}"),
        }
    }
}

#[test]
fn unknown_extensions_are_skipped() {
    for extension in [&[3, 0][..], &[127, 4, 1, 2, 3, 4], &[3, 1, 9, 3, 1, 9]] {
        let unit = with_extension(extension);
        let parsed = parse(&unit).unwrap();
        assert_eq!(parsed.sequence, Some(sequence()));
        assert_eq!(parsed.payload, b"intra");
    }
    let light = with_extension(&[9, 1, 0, 2, 4, 1, 0, 2, 0]);
    let light = parse(&light).unwrap().sequence.unwrap().video.content_light;
    assert_eq!(light, Some(ContentLight { max_content: 1, max_frame_average: 2 }));
}

#[test]
fn malformed_extensions_are_corrupt() {
    for extension in [
        &[3][..],
        &[3, 0x80],
        &[3, 0x80, 0],
        &[3, 2, 0],
        &[3, 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[2, 3, 0, 0, 0],
        &[2, 5, 0, 0, 0, 0, 0],
        &[2, 4, 0, 0, 0, 0, 2, 4, 0, 0, 0, 0],
        &[1, 4, 0, 0, 0, 0],
    ] {
        assert!(matches!(parse(&with_extension(extension)), Err(Error::Corrupt(_))), "{extension:?}");
    }
}

#[test]
fn limits_are_checked() {
    let unit = i_unit();
    let with = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        match parse_unit(&unit, &limits) {
            Err(Error::Limit(m)) => m,
            other => panic!("{other:?}"),
        }
    };
    assert!(with(|l| l.max_width = 639).contains("width: 640, at most 639"));
    assert!(with(|l| l.max_height = 359).contains("height: 360, at most 359"));
    assert!(with(|l| l.max_pixels = 230_399).contains("230400, at most 230399"));
    assert!(with(|l| l.max_unit_bytes = 59).contains("bytes of a unit: 60, at most 59"));
    let exact = Limits { max_width: 640, max_height: 360, max_pixels: 230_400, max_unit_bytes: unit.len() };
    assert!(parse_unit(&unit, &exact).is_ok());
    // What is too large is said to be, also where its own length says otherwise.
    assert!(matches!(parse_unit(&[&unit[..], &[0]].concat(), &exact), Err(Error::Limit(_))));
}

#[test]
fn writer_refuses_what_the_syntax_cannot_carry() {
    let i = header(FrameType::I, 0, 0);
    let refused = |header: &FrameHeader, sequence: Option<&SequenceHeader>| match write_unit(header, sequence, &[]) {
        Err(Error::InvalidConfig(m)) => m,
        other => panic!("{other:?}"),
    };
    assert!(refused(&i, None).contains("sequence header"));
    assert!(refused(&header(FrameType::P, 0, 0), Some(&sequence())).contains("sequence header"));
    assert!(refused(&header(FrameType::P, 64, 0), None).contains("64"));
    let mut empty = sequence();
    empty.video.width = 0;
    assert!(refused(&i, Some(&empty)).contains("0x360"));
}

#[test]
fn pair_and_show_unit_bytes() {
    let pair = FrameHeader { b_quality: 63, ..header(FrameType::Pair, 55, 3) };
    let unit = write_unit(&pair, None, b"inter").unwrap();
    assert_eq!(unit, b"N\x83\x09\xb6\x37\x03\x00\x3finter\x42\xad");
    let parsed = parse(&unit).unwrap();
    assert_eq!((parsed.header, parsed.sequence, parsed.payload), (pair.clone(), None, &b"inter"[..]));
    // Between a quality of its own for the residual, and field flags.
    let fields = FieldFlags { interlaced: true, ..FieldFlags::default() };
    let full = FrameHeader { residual_quality: 50, fields, ..pair };
    let unit = write_unit(&full, None, b"").unwrap();
    assert_eq!(unit[4..10], [55 | 0xc0, 3, 0, 50, 63, 1]);
    assert_eq!(parse(&unit).unwrap().header, full);

    let show = header(FrameType::Show, 55, 4);
    let unit = write_unit(&show, None, b"").unwrap();
    assert_eq!(unit, b"N\x84\x03\xeb\x37\x04\x00\xf7\xd7");
    assert_eq!(parse(&unit).unwrap().header, show);
    for header in [FrameHeader { b_quality: 64, ..full }, FrameHeader { b_quality: 1, ..show.clone() }] {
        assert!(matches!(write_unit(&header, None, b""), Err(Error::InvalidConfig(_))), "{header:?}");
    }
    assert!(write_unit(&FrameHeader { residual_quality: 3, ..show }, None, b"").is_err());
}

#[test]
fn frame_numbers_tell_losses() {
    let p = |n| parse(&write_unit(&header(FrameType::P, 0, n), None, &[]).unwrap()).unwrap().header;
    assert_eq!(p(8).number_after(7), Some(8));
    assert_eq!(p(9).number_after(7), None);
    assert_eq!(p(7).number_after(7), None);
    assert_eq!(p(0x108).number_after(7), None, "all 16 bits count");
    assert_eq!(p(0x2_0000).number_after(0x1_ffff), Some(0x2_0000));
    assert_eq!(p(0).number_after(u32::MAX), Some(0));
    assert_eq!(header(FrameType::I, 0, 5).number_after(100), Some(5));
}

#[test]
fn shift_follows_the_sequence_header() {
    let on = sequence();
    assert_eq!(on.shift_of(0x0001_0003), shift(0x0102_0304, 3));
    assert_eq!(hdr_sequence().shift_of(3), (0, 0));
}

#[test]
fn a_residual_quality_of_its_own_costs_one_byte() {
    let plain = header(FrameType::P, 20, 5);
    let apart = FrameHeader { residual_quality: 41, ..plain.clone() };
    let write = |header: &FrameHeader| write_unit(header, None, b"payload").unwrap();
    let (short, long) = (write(&plain), write(&apart));
    assert_eq!(long.len(), short.len() + 1);
    assert_eq!(parse_unit(&long, &Limits::default()).unwrap().header, apart);
    assert_eq!(long[4..8], [20 | 0x40, 5, 0, 41]);
    let keyframe = FrameHeader { residual_quality: 41, ..header(FrameType::I, 20, 5) };
    let error = write_unit(&keyframe, Some(&sequence()), b"").unwrap_err();
    assert!(matches!(&error, Error::InvalidConfig(m) if m.contains("residual quality")), "{error}");
    let error = write_unit(&FrameHeader { residual_quality: 64, ..plain }, None, b"").unwrap_err();
    assert!(error.to_string().contains("64"), "{error}");
}

#[test]
fn field_flags_cost_one_byte_where_there_are_any() {
    let all = FieldFlags { interlaced: true, top_first: true, repeat_first: true, one_field: true };
    for fields in [all, FieldFlags { repeat_first: true, ..FieldFlags::default() }] {
        for (frame_type, residual_quality) in
            [(FrameType::I, 20), (FrameType::P, 20), (FrameType::P, 41), (FrameType::Pair, 41), (FrameType::Show, 20)]
        {
            let plain = FrameHeader { residual_quality, ..header(frame_type, 20, 5) };
            let flagged = FrameHeader { fields, ..plain.clone() };
            let sequence = (frame_type == FrameType::I).then(sequence);
            let write = |header: &FrameHeader| write_unit(header, sequence.as_ref(), b"payload").unwrap();
            let (short, long) = (write(&plain), write(&flagged));
            assert_eq!(long.len(), short.len() + 1);
            let parsed = parse_unit(&long, &Limits::default()).unwrap();
            assert_eq!((parsed.header, parsed.sequence, parsed.payload), (flagged, sequence, &b"payload"[..]));
        }
    }
    let unit = write_unit(&FrameHeader { fields: all, ..header(FrameType::P, 20, 5) }, None, b"").unwrap();
    assert_eq!(unit[4..8], [20 | 0x80, 5, 0, 0x0f]);
}

#[test]
fn detail_is_an_extension_that_must_be_understood() {
    let unit = write_unit(&header(FrameType::I, 17, 1), Some(&SequenceHeader { detail: 5, ..sequence() }), b"").unwrap();
    assert_eq!(unit[unit.len() - 4 - 3..unit.len() - 4], [0x81, 1, 5]);
    assert_eq!(parse(&unit).unwrap().sequence.unwrap().detail, 5);
}

#[test]
fn the_specification_names_this_version() {
    let text = include_str!("../docs/bitstream.md");
    let version = codec_core::bitstream::BITSTREAM_VERSION;
    for line in [
        format!("# The NGC bitstream, version {version}"),
        format!("| `u8` | version | {version} |"),
        format!("This is version {version}."),
    ] {
        assert!(text.contains(&line), "{line}");
    }
}
