//! One parser and several consumers, its own forms as input, and muxers that cannot carry NGC.

use ngc_tests::pipes::{run, shown};

const SOURCE: &str = "videotestsrc num-buffers=6 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 \
    ! ngcenc threads=1 device=cpu speed-preset=fast";

/// Runs one parser in front of the branches of a tee.
fn tee(branches: &[&str]) -> Result<(), String> {
    let branches: Vec<_> = branches.iter().map(|branch| format!("t. ! queue ! {branch}")).collect();
    run(&format!("{SOURCE} ! ngcparse ! tee name=t {}", branches.join(" ")))
}

const PREVIEW: &str = "ngcdec threads=1 device=cpu ! fakesink";

#[test]
fn one_parser_serves_a_muxer_and_more() {
    for muxer in ["mp4mux ! fakesink", "matroskamux ! fakesink"] {
        tee(&[muxer, PREVIEW]).unwrap();
        tee(&[muxer, muxer]).unwrap();
        tee(&[muxer, "rtpgstpay ! rtpgstdepay ! ngcparse ! ngcdec threads=1 device=cpu ! fakesink"]).unwrap();
        tee(&[muxer, "ngcparse ! matroskamux ! fakesink", PREVIEW]).unwrap();
    }
}

#[test]
fn a_raw_file_beside_a_muxer_is_a_raw_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raw.ngc");
    tee(&["mp4mux ! fakesink", &format!("filesink location=\"{}\"", path.display())]).unwrap();
    let frames = shown(&format!("filesrc location=\"{}\" ! ngcparse ! ngcdec threads=1 device=cpu", path.display())).unwrap();
    assert_eq!(frames.len(), 6);
}

#[test]
fn two_muxers_that_differ_are_refused_with_the_cure() {
    let error = tee(&["mp4mux ! fakesink", "matroskamux ! fakesink"]).unwrap_err();
    assert!(error.contains("an ngcparse of its own"), "{error}");
    // The cure.
    run(&format!(
        "{SOURCE} ! tee name=t ! queue ! ngcparse ! mp4mux ! fakesink t. ! queue ! ngcparse ! matroskamux ! fakesink t. ! queue ! {PREVIEW}"
    ))
    .unwrap();
}

#[test]
fn the_parser_takes_its_own_forms() {
    for form in ["video/x-mp4-part", "video/x-wmv,width=64", "video/x-ngc"] {
        let frames = shown(&format!("{SOURCE} ! ngcparse ! {form} ! ngcparse ! ngcdec threads=1 device=cpu"));
        assert_eq!(frames.map(|f| f.len()), Ok(6), "{form}");
    }
}

#[test]
fn muxers_that_cannot_carry_it_refuse_it() {
    for muxer in ["avimux", "asfmux"] {
        let error = run(&format!("{SOURCE} ! ngcparse ! {muxer} ! fakesink")).unwrap_err();
        assert!(error.contains("matroskamux"), "{muxer}: {error}");
    }
}
