//! The motion field and its bilinear upsampling, a row at a time.

use crate::kernels::simd::multiversion;

/// Flow beyond this many pixels is clamped; no frame is that large.
const FARTHEST: f32 = 65536.0;

/// One component of the motion field.
#[derive(Debug, Default)]
pub(crate) struct Component {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f32>,
}

/// The motion field by components, all numbers and in range.
#[derive(Debug, Default)]
pub(super) struct MotionField {
    pub dx: Component,
    pub dy: Component,
    pub sigma: Component,
}

impl MotionField {
    /// Takes NHWC `[rows][cols][3]`; what is no number becomes 0.
    pub fn load(&mut self, motion: &[f32], rows: usize, cols: usize) {
        let components = [&mut self.dx, &mut self.dy, &mut self.sigma];
        let ranges = [(-FARTHEST, FARTHEST), (-FARTHEST, FARTHEST), (0.0, 1.0)];
        for (i, (component, (low, high))) in components.into_iter().zip(ranges).enumerate() {
            (component.rows, component.cols) = (rows, cols);
            component.data.clear();
            let values = motion.iter().skip(i).step_by(3);
            let clean = |&value: &f32| {
                if value.is_nan() { 0.0 } else { value.clamp(low, high) }
            };
            component.data.extend(values.map(clean));
        }
    }
}

/// Buffers for one row of a component at `FACTOR` times its resolution.
pub(crate) struct UpsampledRow<const FACTOR: usize> {
    /// The row of the component, interpolated vertically, its first and last value repeated.
    blended: Vec<f32>,
    /// Starts FACTOR / 2 values before the row does.
    upsampled: Vec<f32>,
}

impl<const FACTOR: usize> UpsampledRow<FACTOR> {
    pub fn new(width: usize) -> Self {
        Self { blended: vec![0.0; width / FACTOR + 2], upsampled: vec![0.0; width + FACTOR] }
    }

    /// Interpolates a row, given in the resolution of the result, and scales its values by `unit`.
    pub fn sample(&mut self, component: &Component, row: usize, unit: f32) {
        let position = ((row as f32 + 0.5) / FACTOR as f32 - 0.5).max(0.0);
        let upper = position as usize;
        let fraction = position - upper as f32;
        let line = |row: usize| &component.data[row * component.cols..][..component.cols];
        let (a, b) = (line(upper), line((upper + 1).min(component.rows - 1)));
        let inner = &mut self.blended[1..=component.cols];
        for (value, (a, b)) in inner.iter_mut().zip(a.iter().zip(b)) {
            *value = (a * (1.0 - fraction) + b * fraction) * unit;
        }
        self.blended[0] = self.blended[1];
        self.blended[component.cols + 1] = self.blended[component.cols];
        if FACTOR == 8 {
            upsample8(&self.blended, &mut self.upsampled);
        } else {
            upsample4(&self.blended, &mut self.upsampled);
        }
    }

    pub fn values(&self) -> &[f32] {
        &self.upsampled[FACTOR / 2..self.upsampled.len() - FACTOR / 2]
    }
}

multiversion! {
    fn upsample8(blended: &[f32], upsampled: &mut [f32]) = upsample::<8>
}

multiversion! {
    fn upsample4(blended: &[f32], upsampled: &mut [f32]) = upsample::<4>
}

#[inline(always)]
fn upsample<const FACTOR: usize>(blended: &[f32], upsampled: &mut [f32]) {
    let groups = upsampled.as_chunks_mut::<FACTOR>().0;
    for (group, pair) in groups.iter_mut().zip(blended.windows(2)) {
        for (i, value) in group.iter_mut().enumerate() {
            let fraction = (i as f32 + 0.5) / FACTOR as f32;
            *value = pair[0] * (1.0 - fraction) + pair[1] * fraction;
        }
    }
}
