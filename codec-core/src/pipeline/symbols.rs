//! From a latent of the analysis transforms to symbols, within a bound if there is one.

use std::time::{Duration, Instant};

use super::engine::{Part, Predict, Scaled};
use super::reconstruct::Reconstructor;
use crate::Result;
use crate::bitstream::QUALITY_MAX;
use crate::entropy::{EntropyModel, LatentContext, LatentGrid, LatentInput, Scratch, SymbolWriter};
use crate::quality::{CellQualities, FrameQuality, QualityGrid, QualityMap, RestMap};
use crate::rate::LOG_SIZE_PER_STEP;

/// After so many attempts the worst quality is taken.
const MAX_ATTEMPTS: usize = 4;

/// Bits of a frame's symbols.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// Beyond these a worse quality is taken.
    pub wanted: f64,
    /// Beyond these nothing but zeros is coded.
    pub most: f64,
}

impl Bound {
    /// A share of both.
    pub fn part(self, share: f64) -> Self {
        Self { wanted: self.wanted * share, most: self.most * share }
    }
}

/// The latent that an engine analysed last, and what is needed to code it.
#[derive(Clone, Copy)]
pub(super) struct LatentJob<'a> {
    pub part: Part,
    pub entropy: &'a EntropyModel,
    pub prior: Option<&'a LatentGrid>,
    /// `None`: zero everywhere.
    pub map: Option<&'a QualityMap>,
    /// Areas that rest, on that grid.
    pub rest: Option<&'a RestMap>,
    /// How the grid is rotated (rows, columns, in luma samples).
    pub shift: (i32, i32),
}

impl<'a> LatentJob<'a> {
    fn cells(self, index: u8) -> CellQualities {
        FrameQuality { index, map: self.map.cloned(), rest: self.rest.cloned() }.cells(self.shift)
    }

    fn context(self, quality: QualityGrid<'a>, (rows, cols): (usize, usize)) -> LatentContext<'a> {
        LatentContext { model: self.entropy, quality, rows, cols, prior: self.prior }
    }
}

/// A latent that was coded.
pub(super) struct Coded {
    /// What the decoder will see.
    pub latent: LatentGrid,
    /// The quality that it took.
    pub quality: u8,
    /// No quality fitted, so zeros alone were coded.
    pub is_silence: bool,
}

/// The symbols of a frame, and the memory that coding them needs.
pub(super) struct FrameSymbols {
    pub writer: SymbolWriter,
    scratch: Scratch,
    scaled: Scaled,
}

impl FrameSymbols {
    /// For networks on so many threads.
    pub fn new(threads: usize) -> Self {
        Self { writer: SymbolWriter::new(), scratch: Scratch::with_threads(threads), scaled: Scaled::default() }
    }

    /// Codes a latent at `quality`, or at the best quality that keeps all symbols so far within the wanted bits of `bound`;
    /// what no quality can hold within the most becomes the cheapest latent.
    ///
    /// The analysis is not run again: the same latent is scaled by the gains of another quality.
    pub fn code(
        &mut self,
        job: LatentJob,
        quality: u8,
        bound: Option<Bound>,
        reconstructor: &mut Reconstructor,
    ) -> Result<Coded> {
        let before = self.writer.bits();
        let mut quality = quality;
        for attempt in 1.. {
            let mark = self.writer.mark();
            let latent = self.quantise(job, quality, reconstructor)?;
            let bits = self.writer.bits();
            let Some(bound) = bound.filter(|bound| bits > bound.wanted) else {
                return Ok(Coded { latent, quality, is_silence: false });
            };
            if quality == QUALITY_MAX && bits <= bound.most {
                return Ok(Coded { latent, quality, is_silence: false });
            }
            self.writer.rewind(mark);
            if quality == QUALITY_MAX {
                break;
            }
            let own = bits - before;
            let steps = ((own / (own - (bits - bound.wanted)).max(1.0)).ln() / LOG_SIZE_PER_STEP).ceil();
            quality = match attempt {
                MAX_ATTEMPTS.. => QUALITY_MAX,
                _ => (f64::from(quality) + steps.max(1.0)).min(QUALITY_MAX.into()) as u8,
            };
        }
        let cells = job.cells(QUALITY_MAX);
        let context = job.context(cells.grid(), reconstructor.grid(16));
        let (writer, scratch) = (&mut self.writer, &mut self.scratch);
        let latent = reconstructor.times.measure("entropy", || context.encode_silence(writer, scratch))?;
        Ok(Coded { latent, quality: QUALITY_MAX, is_silence: true })
    }

    fn quantise(&mut self, job: LatentJob, quality: u8, reconstructor: &mut Reconstructor) -> Result<LatentGrid> {
        let cells = job.cells(quality);
        let context = job.context(cells.grid(), reconstructor.grid(16));
        let (engine, times) = (&mut reconstructor.engine, &mut reconstructor.times);
        let threads = self.scratch.threads();
        let (mut modes, mut searching) = (None, Duration::ZERO);
        let mut predict = |y: &mut [f32]| {
            let start = Instant::now();
            modes = context.predict(y, threads)?;
            searching = start.elapsed();
            Ok(())
        };
        let predict: Option<Predict> = if job.entropy.config().intra_prediction { Some(&mut predict) } else { None };
        let start = Instant::now();
        engine.scale(job.part, cells.grid(), predict, &mut self.scaled)?;
        times.add("hyper analysis", start.elapsed().saturating_sub(searching));
        if modes.is_some() {
            times.add("intra prediction", searching);
        }
        let input =
            LatentInput { z: &self.scaled.z, y: &self.scaled.y, prices: engine.bit_prices(job.part), modes: modes.as_ref() };
        let (writer, scratch) = (&mut self.writer, &mut self.scratch);
        times.measure("entropy", || context.encode(&input, writer, scratch))
    }
}
