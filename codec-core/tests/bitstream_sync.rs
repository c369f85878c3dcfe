//! Scanning of damaged streams, and random data against reader and scanner.

use codec_core::bitstream::*;
use codec_core::{Error, Limits};
use proptest::prelude::*;

fn p_unit(number: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader::new(FrameType::P, 20, number);
    write_unit(&header, None, payload).unwrap()
}

fn i_unit(number: u32, video: VideoInfo, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader::new(FrameType::I, 20, number);
    let sequence = SequenceHeader { model_id: [7; 16], profile: Profile::Rt, random_shift: Some(1), detail: 0, video };
    write_unit(&header, Some(&sequence), payload).unwrap()
}

fn small() -> VideoInfo {
    VideoInfo { width: 64, height: 48, ..VideoInfo::default() }
}

/// What a scan of a whole stream found.
#[derive(Debug, Default, PartialEq)]
struct Found {
    /// Frame numbers of the units.
    units: Vec<u32>,
    /// Bytes dropped before the end of the stream was reached.
    skipped: usize,
    warnings: Vec<String>,
    /// Bytes from the start of a unit that the end of the stream cuts off.
    left: usize,
}

/// Scans `stream` as a parser does that gets `chunk` bytes at a time.
fn scan_all(stream: &[u8], chunk: usize, limits: &Limits) -> Found {
    let mut found = Found::default();
    let (mut start, mut end) = (0, 0);
    loop {
        match scan(&stream[start..end], limits) {
            Scan::NeedMore(bytes) => {
                assert!(bytes > end - start && bytes <= limits.max_unit_bytes.max(10));
                if end == stream.len() {
                    found.left = found.left.max(end - start);
                    if start == end {
                        return found;
                    }
                    // The unit is cut off, or its length is wrong and hides others.
                    start += 1;
                    continue;
                }
                end = stream.len().min(end + chunk);
            }
            Scan::Skip { bytes, reason } => {
                assert!((1..=end - start).contains(&bytes));
                start += bytes;
                found.skipped += if found.left == 0 { bytes } else { 0 };
                found.warnings.extend(reason.map(|e| e.to_string()));
            }
            Scan::Unit { len, summary } => {
                let parsed = parse_unit(&stream[start..start + len], limits).unwrap();
                assert_eq!((&parsed.header, &parsed.sequence), (&summary.header, &summary.sequence));
                found.units.push(summary.header.frame_number);
                start += len;
            }
        }
    }
}

#[test]
fn units_are_found_between_garbage() {
    let (i, p) = (i_unit(1, small(), &[9; 200]), p_unit(2, &[8; 50]));
    let stream = [b"NG N NGC NGCN", &i[..], b"NGNGC\x00", &p, &p_unit(3, b""), b"N", &i, b"NG"].concat();
    for chunk in [1, 2, 3, 7, 100, 10_000] {
        let found = scan_all(&stream, chunk, &Limits::default());
        assert_eq!(found.units, [1, 2, 3, 1], "chunks of {chunk}");
        assert_eq!((found.skipped, found.left), (13 + 6 + 1, 2), "chunks of {chunk}");
    }
    let clean = scan_all(&[&i[..], &p].concat(), 5, &Limits::default());
    assert_eq!(clean, Found { units: vec![1, 2], ..Found::default() });
}

#[test]
fn every_flipped_bit_loses_only_its_unit() {
    let (i, p, last) = (i_unit(1, small(), &[9; 20]), p_unit(2, &[8; 300]), p_unit(3, &[7; 30]));
    for bit in 0..p.len() * 8 {
        let mut damaged = p.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let found = scan_all(&[&i[..], &damaged, &last].concat(), 64, &Limits::default());
        assert_eq!(found.units, [1, 3], "bit {bit}");
        assert_eq!((found.skipped, found.left), (p.len(), 0), "bit {bit}");
        // A damaged marker is garbage; another type, and anything after it, is a damaged unit.
        let marker = bit < 8 || (12..16).contains(&bit);
        assert_eq!(found.warnings.len(), usize::from(!marker), "bit {bit}");
    }
}

#[test]
fn a_missing_piece_loses_only_its_unit() {
    let (p, last) = (p_unit(2, &[8; 300]), p_unit(3, &[7; 400]));
    for missing in 1..p.len() {
        let found = scan_all(&[&p[..p.len() - missing], &last].concat(), 64, &Limits::default());
        assert_eq!(found.units, [3], "{missing} bytes missing");
    }
}

#[test]
fn a_false_length_is_not_waited_for() {
    let mut damaged = p_unit(2, &[8; 300]);
    damaged[3] |= 0x80;
    match scan(&damaged, &Limits::default()) {
        Scan::Skip { bytes, reason: Some(Error::Corrupt(m)) } => {
            assert_eq!(bytes, damaged.len());
            assert!(m.contains("length"), "{m}");
        }
        other => panic!("{other:?}"),
    }
    let limits = Limits { max_unit_bytes: 100, ..Limits::default() };
    match scan(&p_unit(2, &[8; 300])[..20], &limits) {
        Scan::Skip { bytes: 20, reason: Some(Error::Limit(m)) } => assert!(m.contains("310, at most 100"), "{m}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn incomplete_units_say_how_much_they_need() {
    let unit = p_unit(2, &[8; 300]);
    assert!(matches!(scan(&[], &Limits::default()), Scan::NeedMore(6)));
    for length in 0..unit.len() {
        let Scan::NeedMore(bytes) = scan(&unit[..length], &Limits::default()) else { panic!("{length}") };
        assert_eq!(bytes, if length < 5 { 6 } else { unit.len() }, "{length}");
    }
}

#[test]
fn units_beyond_the_limits_are_skipped_whole() {
    let large = i_unit(1, VideoInfo { width: 9000, ..small() }, b"payload");
    match scan(&[&large[..], &p_unit(2, b"")].concat(), &Limits::default()) {
        Scan::Skip { bytes, reason: Some(Error::Limit(m)) } => {
            assert_eq!(bytes, large.len());
            assert!(m.contains("width: 9000"), "{m}");
        }
        other => panic!("{other:?}"),
    }
}

const RANGES: [ColorRange; 3] = [ColorRange::Unknown, ColorRange::Full, ColorRange::Limited];
const SITES: [ChromaSite; 7] = [
    ChromaSite::Unknown,
    ChromaSite::Left,
    ChromaSite::Centre,
    ChromaSite::TopLeft,
    ChromaSite::Top,
    ChromaSite::BottomLeft,
    ChromaSite::Bottom,
];
const INTERLACINGS: [Interlacing; 4] =
    [Interlacing::Progressive, Interlacing::TopFieldFirst, Interlacing::BottomFieldFirst, Interlacing::Mixed];

fn video_info() -> impl Strategy<Value = VideoInfo> {
    let term = || prop_oneof![1u32..200, 1..=i32::MAX as u32];
    let display = (any::<[u16; 8]>(), any::<u32>(), any::<u32>()).prop_map(|(p, max_luminance, min_luminance)| {
        let primaries = [(p[0], p[1]), (p[2], p[3]), (p[4], p[5])];
        MasteringDisplay { primaries, white_point: (p[6], p[7]), max_luminance, min_luminance }
    });
    let light = any::<(u16, u16)>().prop_map(|(max_content, max_frame_average)| ContentLight { max_content, max_frame_average });
    (
        (1u32..=8192, 1u32..=4352),
        (prop_oneof![Just(0), term()], term()),
        (term(), term()),
        (prop::sample::select(&RANGES[..]), any::<[u8; 3]>()),
        (prop::sample::select(&SITES[..]), prop::sample::select(&INTERLACINGS[..])),
        (prop::option::of(display), prop::option::of(light)),
    )
        .prop_map(|(size, framerate, par, (range, [matrix, transfer, primaries]), (chroma_site, interlacing), hdr)| {
            VideoInfo {
                width: size.0,
                height: size.1,
                framerate,
                par,
                color: ColorInfo { range, matrix, transfer, primaries },
                chroma_site,
                interlacing,
                mastering_display: hdr.0,
                content_light: hdr.1,
            }
        })
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    // Often full of bytes that markers are made of.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"NGC\x81\x82".to_vec())];
    prop::collection::vec(byte, 0..300)
}

proptest! {
    #[test]
    fn i_units_round_trip(
        video in video_info(),
        model_id in any::<[u8; 16]>(),
        rt in any::<bool>(),
        random_shift in any::<Option<u32>>(),
        detail in any::<u8>(),
        quality in 0u8..=63,
        frame_number in any::<u32>(),
        payload in payload(),
    ) {
        let header = FrameHeader::new(FrameType::I, quality, frame_number);
        let profile = if rt { Profile::Rt } else { Profile::Paper };
        let sequence = SequenceHeader { model_id, profile, random_shift, detail, video };
        let unit = write_unit(&header, Some(&sequence), &payload).unwrap();
        let parsed = parse_unit(&unit, &Limits::default()).unwrap();
        prop_assert_eq!(parsed, ParsedUnit { header, sequence: Some(sequence), payload: &payload });
    }

    #[test]
    fn p_units_round_trip(quality in 0u8..=63, residual_quality in 0u8..=63, frame_number in any::<u32>(), payload in payload()) {
        let header = FrameHeader { residual_quality, ..FrameHeader::new(FrameType::P, quality, frame_number) };
        let unit = write_unit(&header, None, &payload).unwrap();
        let parsed = parse_unit(&unit, &Limits::default()).unwrap();
        let header = FrameHeader { frame_number: frame_number & 0xffff, ..header };
        prop_assert_eq!(parsed, ParsedUnit { header, sequence: None, payload: &payload });
    }

    #[test]
    fn units_survive_random_surroundings(
        pieces in prop::collection::vec((payload(), payload()), 1..6),
        chunk in 1usize..400,
    ) {
        let mut stream = Vec::new();
        for (number, (garbage, payload)) in pieces.iter().enumerate() {
            stream.extend(garbage);
            stream.extend(p_unit(number as u32, payload));
        }
        let found = scan_all(&stream, chunk, &Limits::default());
        let numbers: Vec<u32> = (0..pieces.len() as u32).collect();
        prop_assert_eq!(found.units, numbers);
    }

    #[test]
    fn random_bodies_do_not_panic(mut unit in prop::collection::vec(any::<u8>(), 0..200), keyframe in any::<bool>()) {
        unit.splice(0..0, if keyframe { b"NGC\x81".to_vec() } else { b"N\x82".to_vec() });
        prop_assert!(parse_unit(&unit, &Limits::default()).is_err());
        scan_all(&unit, 1, &Limits::default());
    }
}
