//! Changes of brightness: fades, flashes, and cameras that adapt.
//!
//! In: two frames. Out: what turns the samples of one into about those of the other, wherever they move (weighted prediction, as in
//! H.264, 8.4.2.3, with one weight for a frame).

use crate::frame::Plane;

/// Binary logarithm of the gain that changes nothing.
const GAIN_LOG2: u32 = 8;
/// Bits of a coded gain and offset.
pub(super) const GAIN_BITS: u32 = 9;
pub(super) const OFFSET_BITS: u32 = 8;
/// What luma and chroma are amplified around: black and grey.
const BLACK: i32 = 16;
const GREY: i32 = 128;

/// Side of the areas whose means are compared, in luma samples.
const AREA: usize = 16;
/// Areas have to be so much nearer with a change than without one for it to be worth a search of motion.
const WORTH: f32 = 0.8;
/// Smallest mean difference of areas, in grey levels, that is looked into.
const LEAST: f32 = 0.4;
/// Smallest deviation of samples, in grey levels, that says how strong a picture is.
const CONTRAST: f64 = 2.0;

/// How the last frame is changed before a frame is predicted from it: luma = 16 + gain (luma - 16) + offset,
/// chroma = 128 + gain (chroma - 128), rounded and clipped to 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Light {
    /// In 1/256, 0..=511.
    gain: u16,
    /// In grey levels.
    offset: i8,
}

impl Light {
    /// `gain` in 1/256.
    ///
    /// # Panics
    /// If `gain` is 512 or more.
    pub fn new(gain: u16, offset: i8) -> Self {
        assert!(u32::from(gain) < 1 << GAIN_BITS, "a gain of {gain}");
        Self { gain, offset }
    }

    /// Gain and offset as raw bits.
    pub(super) fn raw(self) -> (u32, u32) {
        (self.gain.into(), self.offset.cast_unsigned().into())
    }

    /// From raw bits of [`GAIN_BITS`] and [`OFFSET_BITS`].
    pub(super) fn from_raw(gain: u32, offset: u32) -> Self {
        Self { gain: gain as u16, offset: (offset as u8).cast_signed() }
    }

    /// What each value of luma becomes.
    pub fn luma(self) -> [u8; 256] {
        self.table(BLACK, i32::from(self.offset))
    }

    /// What each value of chroma becomes.
    pub fn chroma(self) -> [u8; 256] {
        self.table(GREY, 0)
    }

    fn table(self, centre: i32, offset: i32) -> [u8; 256] {
        let half = 1 << (GAIN_LOG2 - 1);
        std::array::from_fn(|value| {
            let from_centre = (value as i32 - centre) * i32::from(self.gain);
            (((from_centre + half) >> GAIN_LOG2) + centre + offset).clamp(0, 255) as u8
        })
    }

    /// The change that brings luma of `last` nearest to that of `current`, by means and deviations of the `display` part (width,
    /// height); `None` if it hardly helps, as between frames of one scene in steady light.
    pub fn between(last: &Plane, current: &Plane, display: (usize, usize)) -> Option<Self> {
        let [last, current] = [last, current].map(|plane| Statistics::new(plane, display));
        let distance = |of: &dyn Fn(f32) -> f32| {
            let differences = last.means.iter().zip(&current.means).map(|(&last, current)| (of(last) - current).abs());
            differences.sum::<f32>() / last.means.len() as f32
        };
        let before = distance(&|mean| mean);
        if before < LEAST {
            return None;
        }
        let strong = last.deviation >= CONTRAST;
        let gain = if strong { (current.deviation / last.deviation * f64::from(1 << GAIN_LOG2)).round() } else { 256.0 };
        let gain = gain.clamp(0.0, f64::from((1 << GAIN_BITS) - 1));
        let offset = current.mean - f64::from(BLACK) - (last.mean - f64::from(BLACK)) * gain / f64::from(1 << GAIN_LOG2);
        let light = Self { gain: gain as u16, offset: offset.round().clamp(-128.0, 127.0) as i8 };
        let (gain, offset) = (f32::from(light.gain) / (1 << GAIN_LOG2) as f32, f32::from(light.offset));
        let after = distance(&|mean| (mean - BLACK as f32) * gain + BLACK as f32 + offset);
        (after < WORTH * before).then_some(light)
    }
}

/// Of luma's visible part.
struct Statistics {
    mean: f64,
    deviation: f64,
    /// Of areas of [`AREA`] samples a side, without those that are cut off; of the whole where there is none.
    means: Vec<f32>,
}

impl Statistics {
    fn new(plane: &Plane, (width, height): (usize, usize)) -> Self {
        let (mut sum, mut squares) = (0u64, 0u64);
        let cols = width / AREA;
        let mut means = vec![0u32; cols * (height / AREA)];
        for row in 0..height {
            let line = &plane.row(row)[..width];
            for (col, part) in line.chunks(AREA).enumerate() {
                let of_part: u32 = part.iter().map(|&sample| u32::from(sample)).sum();
                squares += u64::from(part.iter().map(|&sample| u32::from(sample).pow(2)).sum::<u32>());
                sum += u64::from(of_part);
                if let Some(mean) = means.get_mut(row / AREA * cols + col).filter(|_| col < cols) {
                    *mean += of_part;
                }
            }
        }
        let count = (width * height) as f64;
        let mean = sum as f64 / count;
        let deviation = (squares as f64 / count - mean * mean).max(0.0).sqrt();
        let mut means: Vec<f32> = means.into_iter().map(|sum| sum as f32 / (AREA * AREA) as f32).collect();
        if means.is_empty() {
            means.push(mean as f32);
        }
        Self { mean, deviation, means }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ramp with texture, changed by a function of its samples.
    fn plane(of: impl Fn(i32) -> i32) -> Plane {
        let sample = |i: usize| 40 + (i % 96) as i32 + 7 * (i as i32 % 5) + (i / 96) as i32 / 2;
        let samples = (0..96 * 80).map(|i| of(sample(i)).clamp(0, 255) as u8).collect();
        Plane::from_vec(samples, 96, 80).unwrap()
    }

    #[test]
    fn tables_are_as_specified() {
        let same = Light::new(256, 0);
        assert!((0..256).all(|v| same.luma()[v] == v as u8 && same.chroma()[v] == v as u8));
        let half = Light::new(128, -3);
        assert_eq!([0, 15, 16, 17, 18, 255].map(|v| half.luma()[v]), [5, 13, 13, 14, 14, 133]);
        assert_eq!([0, 127, 128, 129, 255].map(|v| half.chroma()[v]), [64, 128, 128, 129, 192]);
        let bright = Light::new(511, 127);
        assert_eq!((bright.luma()[16], bright.luma()[255], bright.chroma()[0]), (143, 255, 0));
        for light in [same, half, bright, Light::new(0, -128)] {
            let (gain, offset) = light.raw();
            assert_eq!(Light::from_raw(gain, offset), light);
        }
    }

    #[test]
    fn a_fade_is_found_and_steady_light_is_none() {
        let (last, display) = (plane(|v| v), (90, 77));
        assert_eq!(Light::between(&last, &last, display), None);
        let faded = plane(|v| 16 + (v - 16) * 9 / 10);
        let light = Light::between(&last, &faded, display).unwrap();
        assert!((228..=232).contains(&light.gain) && light.offset.abs() <= 1, "{light:?}");
        let brighter = plane(|v| v + 20);
        assert_eq!(Light::between(&last, &brighter, display), Some(Light::new(256, 20)));
        // Out of black: the means say all there is.
        let black = plane(|_| 16);
        assert_eq!(Light::between(&last, &black, display).unwrap().luma()[100], 16);
        assert_eq!(Light::between(&black, &plane(|_| 30), display), Some(Light::new(256, 14)));
        // A picture that moves keeps its light.
        let leaves = |at: usize| Plane::from_vec((at..at + 96 * 80).map(|i| (i * i * 7 % 211) as u8).collect(), 96, 80).unwrap();
        assert_eq!(Light::between(&leaves(0), &leaves(3), display), None);
        // Smaller than an area.
        assert_eq!(Light::between(&last, &brighter, (7, 5)), Some(Light::new(256, 20)));
    }
}
