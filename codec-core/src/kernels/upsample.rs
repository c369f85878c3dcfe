//! Bilinear upsampling of a map by 8, a row at a time.

use super::simd::multiversion;

/// Samples of the result to one of the map.
const FACTOR: usize = 8;

/// One component of a map.
#[derive(Debug, Default)]
pub(super) struct Component {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f32>,
}

/// Buffers for one row of a component at `FACTOR` times its resolution.
pub(super) struct UpsampledRow {
    /// The row of the component, interpolated vertically, its first and last value repeated.
    blended: Vec<f32>,
    /// Starts FACTOR / 2 values before the row does.
    upsampled: Vec<f32>,
}

impl UpsampledRow {
    pub fn new(width: usize) -> Self {
        Self { blended: vec![0.0; width / FACTOR + 2], upsampled: vec![0.0; width + FACTOR] }
    }

    /// Interpolates a row, given in the resolution of the result.
    pub fn sample(&mut self, component: &Component, row: usize) {
        let position = ((row as f32 + 0.5) / FACTOR as f32 - 0.5).max(0.0);
        let upper = position as usize;
        let fraction = position - upper as f32;
        let line = |row: usize| &component.data[row * component.cols..][..component.cols];
        let (a, b) = (line(upper), line((upper + 1).min(component.rows - 1)));
        let inner = &mut self.blended[1..=component.cols];
        for (value, (a, b)) in inner.iter_mut().zip(a.iter().zip(b)) {
            *value = a * (1.0 - fraction) + b * fraction;
        }
        self.blended[0] = self.blended[1];
        self.blended[component.cols + 1] = self.blended[component.cols];
        upsample(&self.blended, &mut self.upsampled);
    }

    pub fn values(&self) -> &[f32] {
        &self.upsampled[FACTOR / 2..self.upsampled.len() - FACTOR / 2]
    }
}

multiversion! {
    fn upsample(blended: &[f32], upsampled: &mut [f32]) = upsample_all
}

#[inline(always)]
fn upsample_all(blended: &[f32], upsampled: &mut [f32]) {
    let groups = upsampled.as_chunks_mut::<FACTOR>().0;
    for (group, pair) in groups.iter_mut().zip(blended.windows(2)) {
        for (i, value) in group.iter_mut().enumerate() {
            let fraction = (i as f32 + 0.5) / FACTOR as f32;
            *value = pair[0] * (1.0 - fraction) + pair[1] * fraction;
        }
    }
}
