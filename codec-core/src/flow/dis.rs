//! Dense inverse search (Kroeger, Timofte, Dai and Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016),
//! written from the paper, without its variational refinement.
//!
//! Per scale, from the coarsest: patches on a grid look for their place in the other image by inverse compositional
//! gradient descent (section 2.1), starting from the coarser scale's flow or a neighbour's; the patches' vectors are then
//! averaged, weighted by photometric error, into a dense field (section 2.2, equation 3).

mod densify;
mod patch;
mod pyramid;
mod search;
#[cfg(test)]
mod tests;

use self::densify::densify;
use self::pyramid::{Level, Pyramid};
use self::search::{Grid, Search, run_search};
use super::{FlowEstimator, FlowField, check_planes};
use crate::frame::Plane;
use crate::{Error, Result};

/// Settings of [`DisFlow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisConfig {
    /// The last scale searched, 1 (half resolution) or 2 (a quarter).
    pub finest_scale: usize,
    /// Gradient steps of a patch per scale, at least 1; with `propagate` shared by the two passes.
    pub iterations: usize,
    /// Subtract the mean difference of two patches before comparing them, against changes of brightness.
    pub mean_normalised: bool,
    /// Offer each patch its neighbours' vectors, in a pass downwards and one upwards.
    pub propagate: bool,
}

impl DisConfig {
    /// Down to half resolution: the encoder's default.
    pub const fn medium() -> Self {
        Self { finest_scale: 1, iterations: 2, mean_normalised: true, propagate: true }
    }

    /// Down to a quarter of the resolution: about a third of the time.
    pub const fn fast() -> Self {
        Self { finest_scale: 2, ..Self::medium() }
    }
}

impl Default for DisConfig {
    fn default() -> Self {
        Self::medium()
    }
}

/// Dense inverse search with buffers that are kept from frame to frame. Deterministic, on the calling thread.
#[derive(Debug, Default)]
pub struct DisFlow {
    config: DisConfig,
    current: Pyramid,
    previous: Pyramid,
    grid: Grid,
    field: DenseField,
    coarser: DenseField,
}

/// Flow of every pixel of a scale, in pixels of that scale, and the sum of its weights while it is being made.
#[derive(Debug, Default)]
struct DenseField {
    width: usize,
    height: usize,
    x: Vec<f32>,
    y: Vec<f32>,
    weight: Vec<f32>,
}

impl DenseField {
    fn reset(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        for values in [&mut self.x, &mut self.y, &mut self.weight] {
            values.clear();
            values.resize(width * height, 0.0);
        }
    }
}

impl DisFlow {
    /// With [`DisConfig::medium`].
    pub fn medium() -> Self {
        Self::default()
    }

    /// With [`DisConfig::fast`].
    pub fn fast() -> Self {
        Self { config: DisConfig::fast(), ..Self::default() }
    }

    /// # Errors
    /// [`Error::InvalidConfig`] if a value lies outside its range.
    pub fn new(config: DisConfig) -> Result<Self> {
        if !(1..=2).contains(&config.finest_scale) {
            return Err(Error::InvalidConfig(format!(
                "finest_scale of the motion estimation: {}, must be 1 or 2",
                config.finest_scale
            )));
        }
        if config.iterations == 0 {
            return Err(Error::InvalidConfig("iterations of the motion estimation: 0, must be at least 1".into()));
        }
        Ok(Self { config, ..Self::default() })
    }
}

impl FlowEstimator for DisFlow {
    fn estimate(&mut self, current: &Plane, previous: &Plane, lambda: f64) -> Result<FlowField> {
        check_planes(current, previous)?;
        let coarsest = coarsest_scale(current.width, current.height);
        self.current.build(current, coarsest);
        self.previous.build(previous, coarsest);
        for scale in (self.config.finest_scale..=coarsest).rev() {
            let (to, from): (&Level, &Level) = (self.current.level(scale), self.previous.level(scale));
            let coarser = (scale < coarsest).then_some(&self.coarser);
            self.grid.start(to, coarser);
            run_search(&mut self.grid, &Search::new(to, from, &self.config, least_gain(lambda)));
            self.field.reset(to.width, to.height);
            densify(&mut self.field, &self.grid, to, from);
            std::mem::swap(&mut self.field, &mut self.coarser);
        }
        Ok(quarter_field(&self.coarser, self.config.finest_scale))
    }
}

/// What a step of a vector must save in squared differences over its patch. Vectors that follow noise cost bits and predict
/// nothing; the estimator does not know the bits, so every step counts as one.
fn least_gain(lambda: f64) -> f32 {
    const BITS: f64 = 1.0;
    /// A sample of half the resolution stands for so many of the full one.
    const AREA: f64 = 4.0;
    (BITS / lambda * 255.0 * 255.0 / AREA) as f32
}

/// The scale at which the shorter side still has 12 pixels, but not beyond 6, where sides stop being whole.
fn coarsest_scale(width: usize, height: usize) -> usize {
    const SHORTEST: usize = 12;
    (1..=6).rev().find(|scale| width.min(height) >> scale >= SHORTEST).unwrap_or(1)
}

/// Brings the field of scale 1 or 2 to 1/4 and to pixels of the full resolution.
fn quarter_field(field: &DenseField, scale: usize) -> FlowField {
    let unit = (1 << scale) as f32;
    let interleaved = field.x.iter().zip(&field.y);
    let same =
        FlowField { rows: field.height, cols: field.width, data: interleaved.flat_map(|(x, y)| [x * unit, y * unit]).collect() };
    if scale == 2 { same } else { same.downsample2() }
}
