//! Quality by activity and by importance: bits go from busy places, where errors hide, to smooth ones, where they show, and from places
//! that are soon gone to those that later frames inherit.
//!
//! As x264's variance-based adaptive quantisation and its macroblock tree, but on the grid of quality maps: each place gets an index by the
//! logarithms of its activity and its importance beside the means of the picture. So that a map does not flicker, it keeps to the one before.

use crate::frame::Plane;
use crate::lookahead::Importance;
use crate::quality::QualityMap;

/// Side of the blocks whose variance is taken: what is larger than a block is no texture.
const BLOCK: usize = 8;
/// Added to variances, so that the noise of smooth places counts for little.
const FLOOR: f32 = 1.0;
/// The largest change, in steps of a map.
const LARGEST: f32 = 3.0;
/// Quality indices for each doubling of a place's importance for later frames.
const IMPORTANCE: f32 = 6.0;
/// The largest change for want of importance, in steps of a map: what moves fast is of little use to later frames, but eyes follow it.
const UNIMPORTANT: f32 = 1.25;
/// Between keyframes, which code the whole map anyway, a cell keeps its value while what it should have is at most so many steps away.
const INERTIA: f32 = 1.0;

/// Makes the map of each frame of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct AdaptiveQuality {
    /// Quality indices for each doubling of the activity; 0: nothing varies.
    strength: f32,
    /// The last frame's map.
    values: Vec<f32>,
    activity: Vec<f32>,
}

impl AdaptiveQuality {
    /// The largest strength that makes sense: it separates a smooth from a busy place by the largest change either way.
    pub const MAX_STRENGTH: f32 = 8.0;

    pub fn new(strength: f32) -> Self {
        Self { strength, ..Self::default() }
    }

    /// Another strength from the next frame on.
    pub fn set_strength(&mut self, strength: f32) {
        self.strength = strength;
    }

    /// The map of a frame of coded size, of which `display` is seen, added to the `wanted` one. `keyframe`: nothing is to be gained by keeping to
    /// the last map. `importance`: of the cells that are seen, where it is known.
    pub fn add_to(
        &mut self,
        wanted: Option<QualityMap>,
        luma: &Plane,
        display: (usize, usize),
        keyframe: bool,
        importance: Option<&Importance>,
    ) -> Option<QualityMap> {
        if self.strength == 0.0 && importance.is_none() {
            return wanted;
        }
        let map = wanted.unwrap_or_else(|| QualityMap::zero(display.0 as u32, display.1 as u32));
        let seen = [display.1, display.0].map(|length| length.div_ceil(QualityMap::CELL));
        self.update(luma, (seen[0], seen[1]), display, if keyframe { 0.0 } else { INERTIA }, importance);
        let cols = map.size().1;
        // What nobody sees goes on as its neighbour, so that it costs nothing.
        let value = |cell: usize| self.values[(cell / cols).min(seen[0] - 1) * seen[1] + (cell % cols).min(seen[1] - 1)];
        let sum = map.changed(|cell, own| own + value(cell) as i32);
        (!sum.is_zero()).then_some(sum)
    }

    /// Values of all cells that are seen.
    fn update(
        &mut self,
        luma: &Plane,
        (rows, cols): (usize, usize),
        display: (usize, usize),
        inertia: f32,
        importance: Option<&Importance>,
    ) {
        let cells = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        self.activity.clear();
        self.activity.extend(cells.map(|(row, col)| (activity(luma, row, col, display) + FLOOR).log2()));
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let usual = mean(&self.activity);
        let usual_importance = importance.map_or(0.0, |importance| mean(importance));
        if self.values.len() != self.activity.len() {
            self.values = vec![0.0; self.activity.len()];
        }
        for (cell, (value, activity)) in self.values.iter_mut().zip(&self.activity).enumerate() {
            let steps = |indices: f32| indices / QualityMap::STEP as f32;
            let by_activity = steps(self.strength * (activity - usual)).clamp(-LARGEST, LARGEST);
            let lack = importance.map_or(0.0, |importance| usual_importance - importance[cell]);
            let target = by_activity + steps(IMPORTANCE * lack).clamp(-LARGEST, UNIMPORTANT);
            if (target - *value).abs() > inertia {
                *value = target.round();
            }
        }
    }
}

/// The mean variance of the blocks of a map's cell that are seen.
fn activity(luma: &Plane, row: usize, col: usize, (width, height): (usize, usize)) -> f32 {
    let inside = |cell: usize, end: usize| (cell * QualityMap::CELL..((cell + 1) * QualityMap::CELL).min(end)).step_by(BLOCK);
    let (mut sum, mut count) = (0.0, 0.0);
    for y in inside(row, height) {
        for x in inside(col, width) {
            sum += variance(luma, y, x);
            count += 1.0;
        }
    }
    sum / count
}

/// Of a block, in squared grey levels.
fn variance(luma: &Plane, y: usize, x: usize) -> f32 {
    const COUNT: u32 = (BLOCK * BLOCK) as u32;
    let (mut sum, mut squares) = (0, 0);
    for row in y..y + BLOCK {
        for &sample in &luma.row(row)[x..x + BLOCK] {
            let sample = u32::from(sample);
            sum += sample;
            squares += sample * sample;
        }
    }
    (COUNT * squares - sum * sum) as f32 / (COUNT * COUNT) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smooth on the left, busy on the right; `contrast` of the busy part.
    fn picture(contrast: u8) -> Plane {
        let mut plane = Plane::new(128, 64);
        for row in 0..64 {
            for (x, sample) in plane.row_mut(row).iter_mut().enumerate() {
                let busy = (row + x) % 2 == 1;
                *sample = 100 + if x < 64 { u8::from(busy) } else { contrast * u8::from(busy) };
            }
        }
        plane
    }

    fn values(adaptive: &mut AdaptiveQuality, plane: &Plane) -> Vec<i8> {
        frame(adaptive, plane, true)
    }

    fn frame(adaptive: &mut AdaptiveQuality, plane: &Plane, keyframe: bool) -> Vec<i8> {
        adaptive.add_to(None, plane, (128, 64), keyframe, None).map_or(vec![0; 8], |map| map.values().to_vec())
    }

    #[test]
    fn variances_are_those_of_blocks() {
        let plane = picture(40);
        assert_eq!((variance(&plane, 0, 0), variance(&plane, 8, 64)), (0.25, 400.0));
    }

    #[test]
    fn smooth_places_get_a_better_quality_than_busy_ones() {
        // log2 of 1.25 and of 401: 8.3 doublings apart, so 4.2 either way.
        let wanted = |step: i8| [-step, -step, step, step, -step, -step, step, step];
        for (strength, step) in [(0.0, 0), (1.0, 1), (1.5, 2), (2.0, 2), (4.0, 3)] {
            assert_eq!(values(&mut AdaptiveQuality::new(strength), &picture(40)), wanted(step), "{strength}");
        }
        assert_eq!(values(&mut AdaptiveQuality::new(1.5), &picture(1)), [0; 8]);
    }

    #[test]
    fn small_changes_leave_the_map_as_it_is() {
        let mut adaptive = AdaptiveQuality::new(1.5);
        let map = values(&mut adaptive, &picture(40));
        // A doubling more and two less.
        for contrast in [56, 20, 40] {
            assert_eq!(frame(&mut adaptive, &picture(contrast), false), map, "{contrast}");
        }
        // Far less, and slowly all the way back; at the next keyframe it is right again.
        assert_ne!(frame(&mut adaptive, &picture(2), false), map);
        for contrast in 2..=40 {
            frame(&mut adaptive, &picture(contrast), false);
        }
        let settled = frame(&mut adaptive, &picture(40), false);
        assert!(settled.iter().zip(&map).all(|(a, b)| (a - b).abs() <= 1), "{settled:?}");
        assert_eq!(frame(&mut adaptive, &picture(40), true), map);
    }

    #[test]
    fn a_wanted_map_counts_on_top() {
        let wanted = QualityMap::new(128, 64, vec![-15, 0, 0, 5, 0, 0, 15, 0]).unwrap();
        let sum = AdaptiveQuality::new(1.5).add_to(Some(wanted.clone()), &picture(40), (128, 64), false, None).unwrap();
        assert_eq!(sum.values(), [-15, -2, 2, 7, -2, -2, 15, 2]);
        let same = AdaptiveQuality::new(0.0).add_to(Some(wanted.clone()), &picture(40), (128, 64), false, None);
        assert_eq!(same, Some(wanted));
    }

    #[test]
    fn what_later_frames_inherit_gets_a_better_quality() {
        let importance = vec![2.0, 2.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0];
        let values = |strength, contrast| {
            let mut adaptive = AdaptiveQuality::new(strength);
            let map = adaptive.add_to(None, &picture(contrast), (128, 64), true, Some(&importance));
            map.unwrap().values().to_vec()
        };
        // A doubling either way is a step and a half, but at most one and a quarter for the worse.
        assert_eq!(values(0.0, 1), [-2, -2, 1, 1, -2, -2, 1, 1]);
        // 1.6 steps more by activity.
        assert_eq!(values(1.5, 40), [-3, -3, 3, 3, -3, -3, 3, 3]);
    }

    #[test]
    fn what_nobody_sees_is_like_its_neighbour() {
        let map = AdaptiveQuality::new(1.5).add_to(None, &picture(40), (90, 20), true, None).unwrap();
        assert_eq!(map.values()[..4], map.values()[4..]);
        assert_eq!(map.values()[2], map.values()[3]);
    }
}
