//! The filter between a decoded frame and the screen.

use super::gains::Gain;
use super::reader::Reader;
use crate::Result;
use crate::architecture::{CARRY_START, PostfilterConfig, STRENGTHS, TEXTURE_SCALE};
use crate::entropy::{QUALITIES, RawDtype};
use crate::integer::{Activation, Area, Block, Machine, Pointwise};
use crate::kernels::PACKED_CHANNELS;
use crate::kernels::sharpen::{BANDS, CHANNELS};
use crate::quality::QualityGrid;

/// Says where luma of a decoded frame is to be sharpened, how much, and at which of two scales, and what texture is to be added.
///
/// Outside the loop: another implementation may differ.
#[derive(Clone, Debug)]
pub struct Postfilter {
    input: Pointwise,
    gain: Gain,
    blocks: Vec<Block>,
    output: Pointwise,
    output_fraction: u8,
    recurrence: Option<Recurrence>,
    /// `[64][2]`.
    start: Vec<f32>,
}

/// The layers of a filter that looks back.
#[derive(Clone, Debug)]
struct Recurrence {
    input: Pointwise,
    carry: Pointwise,
    carry_fraction: u8,
}

/// Memory of a postfilter.
#[derive(Clone, Debug, Default)]
pub struct PostfilterScratch {
    a: Vec<i16>,
    b: Vec<i16>,
    of_luma: Vec<i16>,
    carry: Vec<i16>,
}

/// What a postfilter works on.
#[derive(Clone, Copy, Debug)]
pub struct PostfilterInput<'a> {
    /// The packed decoded frame, `[rows][cols][96]`.
    pub decoded: &'a [i16],
    /// The packed difference between the frame and the past, if there is one.
    pub news: Option<&'a [i16]>,
    /// Cells at 1/8 at which it works. Those beside them are to it as if outside the picture.
    pub area: &'a Area,
    /// Where its work is to show, and how much.
    pub share: Share<'a>,
}

/// How much of a postfilter's work is to show.
#[derive(Clone, Copy, Debug)]
pub struct Share<'a> {
    /// Quality indices of the frame, 0..=63.
    pub quality: QualityGrid<'a>,
    /// Share of the full strength, 0 to 1.
    pub strength: f32,
    /// What it is multiplied by in each cell at 1/8, in row order; `None`: 1.
    pub factors: Option<&'a [f32]>,
}

impl<'a> Share<'a> {
    /// `detail`: the stream's strength in steps of 1/255. `factors`: see [`Self::factors`].
    pub fn new(quality: QualityGrid<'a>, detail: u8, factors: Option<&'a [f32]>) -> Self {
        Self { quality, strength: f32::from(detail) / 255.0, factors }
    }
}

impl Postfilter {
    /// Reads the filter whose tensors lie below the reader's prefix.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`](crate::Error::ModelMismatch) naming the tensor that is missing or does not fit.
    pub fn read(reader: &Reader, config: &PostfilterConfig) -> Result<Self> {
        let c = config.width as usize;
        let layer = |reader: &Reader, part: &str, inputs, outputs, activation| -> Result<Pointwise> {
            Pointwise::new(reader.sub(part).name(), inputs, outputs, &reader.layer(part, outputs, inputs)?, activation)
        };
        let recurrence = || -> Result<Recurrence> {
            let reader = reader.sub("recurrence");
            Ok(Recurrence {
                input: layer(&reader, "input", PACKED_CHANNELS, c, Activation::None)?,
                carry: layer(&reader, "carry", c, BANDS, Activation::None)?,
                carry_fraction: reader.fractions("carry")?[1],
            })
        };
        Ok(Self {
            input: layer(reader, "input", PACKED_CHANNELS, c, Activation::None)?,
            gain: Gain::read(reader, "gain", c)?,
            blocks: reader.blocks("blocks", c, config.blocks)?,
            output: layer(reader, "output", c, CHANNELS, Activation::None)?,
            output_fraction: reader.fractions("output")?[1],
            recurrence: config.recurrent.then(recurrence).transpose()?,
            start: reader.values("start.table", RawDtype::F32, QUALITIES * BANDS, f32::from_le_bytes)?,
        })
    }

    /// Whether it takes a past.
    pub fn looks_back(&self) -> bool {
        self.recurrence.is_some()
    }

    /// The map that [`sharpen`](crate::kernels::sharpen::sharpen) takes, at the cells of the area; elsewhere `map` stays as it is, unless it
    /// is of another size.
    pub fn run(&self, machine: Machine, input: PostfilterInput, scratch: &mut PostfilterScratch, map: &mut Vec<f32>) {
        let PostfilterInput { decoded, news, area, share } = input;
        let PostfilterScratch { a, b, of_luma, carry } = scratch;
        machine.run_in(&self.input, decoded, area, a);
        let recurrence = self.recurrence.as_ref().zip(news);
        if let Some((layers, news)) = recurrence {
            machine.run_adding_in(&layers.input, news, a, area, b);
            std::mem::swap(a, b);
        }
        let channels = self.input.outputs();
        machine.for_spans(a, channels, area, |_, x| x.iter_mut().for_each(|x| *x = leaky(*x)));
        self.gain.apply(machine, a, area, share.quality);
        machine.blocks(&self.blocks, a, area, b);
        machine.run_in(&self.output, a, area, of_luma);
        if let Some((layers, _)) = recurrence {
            machine.run_in(&layers.carry, a, area, carry);
        }
        let carry = recurrence.map(|_| |cell: usize| &carry[cell * BANDS..][..BANDS]);
        self.map(|cell| &of_luma[cell * CHANNELS..][..CHANNELS], carry, (share, area), map);
    }

    /// The map that [`sharpen`](crate::kernels::sharpen::sharpen) takes, of what the last layers wrote for a cell, by its number in row order:
    /// strengths and texture and, with a past, what of it is carried on. See [`Self::run`].
    pub fn map<'v>(
        &self,
        of_luma: impl Fn(usize) -> &'v [i16],
        carry: Option<impl Fn(usize) -> &'v [i16]>,
        (share, area): (Share, &Area),
        map: &mut Vec<f32>,
    ) {
        let Share { quality, strength, factors } = share;
        let unit = (-f32::from(self.output_fraction)).exp2();
        let carry = self.recurrence.as_ref().map(|layers| (-f32::from(layers.carry_fraction)).exp2()).zip(carry);
        let channels = CHANNELS + if carry.is_some() { BANDS } else { 0 };
        let (rows, cols) = area.size();
        map.resize(rows * cols * channels, 0.0);
        for cell in area.cells() {
            let start = &self.start[usize::from(quality.at_eighth(cell)) * BANDS..][..BANDS];
            let share = strength * factors.map_or(1.0, |factors| factors[cell]);
            let (strengths, texture) = of_luma(cell).split_at(BANDS);
            let of_band =
                |(&v, start): (&i16, &f32)| share * (f32::from(v) * unit + start).clamp(STRENGTHS.0 as f32, STRENGTHS.1 as f32);
            let carried = carry.as_ref().map(|(unit, carry)| {
                carry(cell).iter().map(move |&v| share * (f32::from(v) * unit + CARRY_START as f32).clamp(0.0, 1.0))
            });
            let values = strengths.iter().zip(start).map(of_band);
            let values = values.chain(texture.iter().map(|&v| f32::from(v) * (unit * share * TEXTURE_SCALE as f32)));
            let values = values.chain(carried.into_iter().flatten());
            map[cell * channels..][..channels].iter_mut().zip(values).for_each(|(to, value)| *to = value);
        }
    }
}

/// LeakyReLU with a slope of 13/128.
fn leaky(x: i16) -> i16 {
    x.max(((13 * i32::from(x) + 64) >> 7) as i16)
}
