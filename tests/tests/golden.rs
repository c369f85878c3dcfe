//! Parsing is exact: the golden stream gives the same symbols whatever threads, instructions or build.
//!
//! `NGC_BLESS=1 cargo test -p ngc-tests --test golden` writes the stream anew, after a change of model or syntax.

use std::process::Command;

use codec_core::Limits;
use codec_core::bitstream::{Scan, scan};
use ngc_tests::{decode, encode, encoder_config, psnr, repository, synthetic_frame};

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

fn checksums(threads: usize) -> String {
    let units = stream();
    let frames = decode(threads, units.iter().map(Vec::as_slice));
    frames.iter().map(|f| format!("{:08x}\n", f.checksum)).collect()
}

fn expected() -> String {
    std::fs::read_to_string(repository("tests/golden/checksums.txt")).expect("the golden checksums")
}

#[test]
fn bless() {
    if std::env::var_os("NGC_BLESS").is_none() {
        return;
    }
    let frames: Vec<_> = (0..FRAMES).map(|i| synthetic_frame(WIDTH, HEIGHT, i)).collect();
    let config = codec_core::EncoderConfig { key_int_max: 40, ..encoder_config(WIDTH, HEIGHT) };
    let units = encode(config, &frames);
    let bytes: Vec<u8> = units.iter().flat_map(|u| u.data.iter().copied()).collect();
    std::fs::write(repository("tests/golden/stream.ngc"), bytes).unwrap();
    std::fs::write(repository("tests/golden/checksums.txt"), checksums(1)).unwrap();
}

#[test]
fn symbols_do_not_depend_on_threads() {
    assert_eq!(expected().lines().count(), FRAMES);
    for threads in [1, 2, 4] {
        assert_eq!(checksums(threads), expected(), "{threads} threads");
    }
}

#[test]
fn reconstructions_do_not_drift_apart() {
    let units = stream();
    let decode_with = |threads| decode(threads, units.iter().map(Vec::as_slice));
    let (one, two) = (decode_with(1), decode_with(2));
    for (i, (a, b)) in one.iter().zip(&two).enumerate() {
        for plane in 0..3 {
            let value = psnr(&a.frame, &b.frame, plane);
            assert!(value > 50.0, "frame {i}, plane {plane}: {value} dB between 1 and 2 threads");
        }
    }
}

/// libtorch reads these variables once, so each needs a process of its own.
#[test]
fn symbols_do_not_depend_on_instructions() {
    if std::env::var_os(CHILD).is_some() {
        print!("<<{}>>", checksums(1));
        return;
    }
    for (name, value) in [("DNNL_MAX_CPU_ISA", "SSE41"), ("ATEN_CPU_CAPABILITY", "default")] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "symbols_do_not_depend_on_instructions", "--nocapture"])
            .env(name, value)
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = text.split("<<").nth(1).and_then(|t| t.split(">>").next());
        assert_eq!(found, Some(expected().as_str()), "{name}={value}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
