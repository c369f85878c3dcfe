//! Decoding is exact: the golden stream gives the same symbols and pictures whatever threads, instructions or build.
//!
//! After a change of model or syntax, `cargo test --release -p ngc-tests --test golden -- --ignored write_the_golden_stream` writes it anew.

use std::process::Command;

use codec_core::Limits;
use codec_core::bitstream::{Scan, scan};
use codec_core::frame::Frame;
use codec_core::{Encoder, FrameOptions, QualityMap};
use ngc_tests::{decode, encoder_config, repository, synthetic_frame};

const FRAMES: usize = 60;
const WIDTH: usize = 150;
const HEIGHT: usize = 90;

/// Name of the variable through which a child process says that it should only print checksums.
const CHILD: &str = "NGC_GOLDEN_CHILD";

fn stream() -> Vec<Vec<u8>> {
    let bytes = std::fs::read(repository("tests/golden/stream.ngc")).expect("the golden stream");
    let mut units = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let Scan::Unit { len, .. } = scan(rest, &Limits::default()) else { panic!("the golden stream is damaged") };
        units.push(rest[..len].to_vec());
        rest = &rest[len..];
    }
    units
}

/// For each frame the checksums of its symbols and of its picture.
fn checksums(threads: usize) -> String {
    let units = stream();
    let frames = decode(threads, units.iter().map(Vec::as_slice));
    let picture = |frame: &Frame| (0..3).fold(0, |sum, plane| crc32c::crc32c_append(sum, &frame.plane(plane).data));
    frames.iter().map(|f| format!("{:08x} {:08x}\n", f.checksum, picture(&f.frame))).collect()
}

fn expected() -> String {
    std::fs::read_to_string(repository("tests/golden/checksums.txt")).expect("the golden checksums")
}

/// Maps in some of the frames, across a keyframe: a region that moves, and slopes that reach both ends of the range.
fn quality_map(frame: usize) -> Option<QualityMap> {
    let (rows, cols) = QualityMap::grid(WIDTH as u32, HEIGHT as u32);
    let cells = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
    let values = match frame {
        15..25 => cells.map(|(row, col)| if row == 1 && col == frame % 5 { -4 } else { 0 }).collect(),
        35..50 => cells.map(|(row, col)| 8 * row as i8 - 15 + 3 * ((col + frame / 3) % 2) as i8).collect(),
        _ => return None,
    };
    Some(QualityMap::new(WIDTH as u32, HEIGHT as u32, values).unwrap())
}

#[test]
#[ignore = "writes what the other tests compare with"]
fn write_the_golden_stream() {
    // A picture that stands still, one that fades, and both after a keyframe; at last one of which all but the left side stands still.
    let shown = |i: usize| match i {
        5..10 => 5,
        41..45 => 41,
        _ => i,
    };
    let gain = |i: usize| match i {
        26..34 => 34 - i as i32,
        46..50 => 50 - i as i32,
        _ => 8,
    };
    let dimmed = |i: usize| {
        let mut frame = synthetic_frame(WIDTH, HEIGHT, shown(i));
        for (plane, centre) in frame.planes_mut().iter_mut().zip([16, 128, 128]) {
            plane.data.iter_mut().for_each(|sample| *sample = ((i32::from(*sample) - centre) * gain(i) / 8 + centre) as u8);
        }
        frame
    };
    let mut frames: Vec<_> = (0..FRAMES).map(dimmed).collect();
    let (before, after) = frames.split_at_mut(52);
    for (plane, still) in
        after.iter_mut().flat_map(|frame| frame.planes_mut().iter_mut().zip(0..).map(|(plane, i)| (plane, before[51].plane(i))))
    {
        (0..plane.height)
            .for_each(|row| plane.row_mut(row)[still.width / 3..].copy_from_slice(&still.row(row)[still.width / 3..]));
    }
    let config = codec_core::EncoderConfig { key_int_max: 40, ..encoder_config(WIDTH, HEIGHT) };
    let mut encoder = Encoder::new(config).unwrap();
    let options = |i| FrameOptions { quality_map: quality_map(i), ..FrameOptions::default() };
    let mut units = Vec::new();
    while units.len() < FRAMES {
        let i = units.len();
        // In pairs: motion, a fade, maps, what stands still in parts.
        if (8..36).contains(&i) || (50..58).contains(&i) {
            let [first, second] = [frames[i].view(), frames[i + 1].view()];
            units.extend(encoder.encode_pair([(&first, options(i)), (&second, options(i + 1))]).unwrap());
        } else {
            units.push(encoder.encode(&frames[i].view(), options(i)).unwrap());
        }
    }
    let bytes: Vec<u8> = units.iter().flat_map(|u| u.data.iter().copied()).collect();
    std::fs::write(repository("tests/golden/stream.ngc"), bytes).unwrap();
    std::fs::write(repository("tests/golden/checksums.txt"), checksums(1)).unwrap();
}

#[test]
fn decoding_does_not_depend_on_threads() {
    assert_eq!(expected().lines().count(), FRAMES);
    for threads in [1, 2, 4] {
        assert_eq!(checksums(threads), expected(), "{threads} threads");
    }
}

/// The variable is read once, so each value needs a process of its own.
#[test]
fn decoding_does_not_depend_on_instructions() {
    if std::env::var_os(CHILD).is_some() {
        print!("<<{}>>", checksums(1));
        return;
    }
    for value in ["scalar", "avx2"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "decoding_does_not_depend_on_instructions", "--nocapture"])
            .env("NGC_INSTRUCTIONS", value)
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = text.split("<<").nth(1).and_then(|t| t.split(">>").next());
        assert_eq!(found, Some(expected().as_str()), "{value}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
