//! Measurement of the built-in model on the sample clip.

mod common;

use std::path::Path;

use common::{run, trainer};

#[test]
fn results_bd_rates_and_a_page_come_out() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/media/flower.mp4");
    let text = run(trainer()
        .args(["eval", "--frames", "16", "--short-side", "96", "--qualities", "20,40", "--anchors", "x264"])
        .args(["--anchor-quantisers", "24,38", "--metric-step", "8", "--clips"])
        .arg(&clip)
        .arg("--out")
        .arg(dir.path()));
    assert!(text.contains("flower: ngc against x264"), "{text}");
    let results = std::fs::read_to_string(dir.path().join("results.csv")).unwrap();
    let mut lines = results.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 4, "{results}");
    let value = |row: &[&str], name: &str| -> f64 { row[names.iter().position(|n| *n == name).unwrap()].parse().unwrap() };
    for row in &rows {
        assert!((0.005..3.0).contains(&value(row, "bpp")), "{row:?}");
        for plane in ["psnr_y", "psnr_u", "psnr_v"] {
            assert!((20.0..60.0).contains(&value(row, plane)), "{row:?}");
        }
        assert!((0.7..=1.0).contains(&value(row, "ms_ssim")), "{row:?}");
    }
    // Both codecs spend fewer bits at the second setting and lose quality.
    for pair in rows.chunks(2) {
        assert!(value(&pair[0], "bpp") > value(&pair[1], "bpp"));
        assert!(value(&pair[0], "psnr_y") > value(&pair[1], "psnr_y"));
    }
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("data:image/png;base64,iVBOR"), "no plots or crops");
    assert!(!page.contains("http"), "the page needs the network");
    assert!(std::fs::read_to_string(dir.path().join("bd.csv")).unwrap().lines().count() == 3);
}

#[test]
fn a_clip_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = trainer().args(["eval", "--clips", "/nowhere/clip.mp4", "--out"]).arg(dir.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/clip.mp4"));
}
