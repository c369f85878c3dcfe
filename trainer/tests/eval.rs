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
    // The name of SVG is no address to fetch.
    assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http"), "the page needs the network");
    assert!(std::fs::read_to_string(dir.path().join("bd.csv")).unwrap().lines().count() == 3);
}

#[test]
fn detail_is_compared_at_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    run(trainer()
        .args(["eval", "--frames", "6", "--short-side", "96", "--qualities", "20,40", "--anchors", "x264"])
        .args(["--anchor-quantisers", "38", "--detail", "0,1", "--clips"])
        .arg(repository.join("examples/media/flower.mp4"))
        .arg("--model")
        .arg(repository.join("models/rt.safetensors"))
        .arg("--out")
        .arg(dir.path()));
    let results = std::fs::read_to_string(path("results.csv")).unwrap();
    let of = |codec: &str| -> Vec<Vec<f64>> {
        let rows = results.lines().map(|line| line.split(',').collect::<Vec<_>>()).filter(|row| row[1] == codec);
        rows.map(|row| row[3..7].iter().map(|v| v.parse().unwrap()).collect()).collect()
    };
    let (faithful, detailed) = (of("rt detail 0"), of("rt detail 1"));
    assert_eq!((faithful.len(), detailed.len()), (2, 2), "{results}");
    // The stream says its detail, which takes some bits.
    const HEADER_BITS: f64 = 0.002;
    for (a, b) in faithful.iter().zip(&detailed) {
        assert!((a[0] - b[0]).abs() <= HEADER_BITS, "bits: {} {}", a[0], b[0]);
        assert!(a[1] > b[1], "luma is nearer to the original without detail: {} {}", a[1], b[1]);
        assert!((a[2] - b[2]).abs() < 1e-6 && (a[3] - b[3]).abs() < 1e-6, "colours stay");
    }
    let comparison = std::fs::read_to_string(path("comparison.csv")).unwrap();
    assert!(comparison.contains("flower,rt detail 1,rt detail 0,"), "{comparison}");
}
