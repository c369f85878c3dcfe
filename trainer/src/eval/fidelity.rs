//! Errors of decoded frames, and what happens to them over time.

use codec_core::frame::{Frame, Plane};

/// PSNR of equal planes: more than 8-bit samples can show.
const PERFECT: f64 = 100.0;
/// Frames over which the start and the end of a clip are averaged for its drift.
const EARLY: std::ops::Range<usize> = 3..8;
const LATE: usize = 6;

/// PSNR in dB of one plane of 8-bit samples.
pub fn psnr(original: &Plane, decoded: &Plane) -> f64 {
    let mut sum = 0u64;
    for row in 0..original.height {
        sum += original.row(row).iter().zip(decoded.row(row)).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum::<u64>();
    }
    let mse = sum as f64 / (original.width * original.height) as f64;
    if mse == 0.0 { PERFECT } else { 10.0 * (255.0f64.powi(2) / mse).log10() }
}

/// PSNR of Y, U and V of each frame.
pub fn psnrs(original: &[Frame], decoded: &[Frame]) -> [Vec<f64>; 3] {
    [0, 1, 2].map(|i| original.iter().zip(decoded).map(|(a, b)| psnr(a.plane(i), b.plane(i))).collect())
}

/// Fall of a quality over a clip in dB: mean of frames 3 to 7 less mean of the last six. 0 for clips too short to tell.
pub fn drift(values: &[f64]) -> f64 {
    if values.len() < EARLY.end + LATE {
        return 0.0;
    }
    mean(&values[EARLY]) - mean(&values[values.len() - LATE..])
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Flicker: mean absolute difference of the changes from frame to frame, in grey levels, and the change of the decoded
/// clip relative to that of the original (1: as lively as the original).
pub fn flicker(original: &[Frame], decoded: &[Frame]) -> (f64, f64) {
    let (mut difference, mut changes, mut own_changes, mut count) = (0i64, 0i64, 0i64, 0i64);
    for t in 1..original.len().min(decoded.len()) {
        let planes = [&original[t], &original[t - 1], &decoded[t], &decoded[t - 1]].map(|f| f.plane(0));
        for row in 0..planes[0].height {
            let [a, b, c, d] = planes.map(|p| p.row(row));
            for i in 0..a.len() {
                let change = i64::from(a[i]) - i64::from(b[i]);
                let own = i64::from(c[i]) - i64::from(d[i]);
                difference += (own - change).abs();
                changes += change.abs();
                own_changes += own.abs();
            }
            count += a.len() as i64;
        }
    }
    (difference as f64 / count.max(1) as f64, own_changes as f64 / changes.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(value: u8) -> Frame {
        let mut frame = Frame::new(8, 8);
        frame.planes_mut().iter_mut().for_each(|p| p.data.fill(value));
        frame
    }

    #[test]
    fn known_psnr() {
        // An error of 1 everywhere: 20 log10(255).
        assert!((psnr(flat(10).plane(0), flat(11).plane(0)) - 48.1308).abs() < 1e-4);
        assert_eq!(psnr(flat(10).plane(1), flat(10).plane(1)), 100.0);
    }

    #[test]
    fn drift_is_a_fall() {
        let falling: Vec<f64> = (0..60).map(|i| 40.0 - 0.1 * f64::from(i)).collect();
        assert!((drift(&falling) - 5.15).abs() < 1e-9);
        assert_eq!(drift(&falling[..13]), 0.0);
    }

    #[test]
    fn flicker_is_change_that_the_original_does_not_have() {
        let still = [flat(50), flat(50), flat(50)];
        let blinking = [flat(50), flat(52), flat(50)];
        assert_eq!(flicker(&still, &still).0, 0.0);
        assert_eq!(flicker(&still, &blinking).0, 2.0);
        assert_eq!(flicker(&blinking, &blinking), (0.0, 1.0));
    }
}
