//! From the float networks that are trained to the integer ones of the `rt` profile.

use std::collections::{BTreeMap, BTreeSet};

use tch::{Device, Kind, Tensor};

use crate::architecture::ModelConfig;
use crate::entropy::{ACTIVATION_FRACTION_BITS, QUALITIES, RawDtype, RawTensor, raw};
use crate::nn::ParamStore;
use crate::nn::fixed::{Fractions, OUTPUT_FRACTION, SAMPLE_FRACTION, Samples, Site};
use crate::nn::layers::knot_weights;
use crate::nn::transfer::{download, place};
use crate::rt::{GAIN_BITS, LATENT_GAIN_BITS, weights};
use crate::{Error, Result};

/// Values of twice the largest magnitude that was seen still fit.
const HEADROOM: f64 = 2.0;
/// Most fractional bits of latents: the mean of a block of 16 x 16 is up to 16 where a residual is as large as it can be.
const LATENT_FRACTION: u8 = 10;
/// Most fractional bits of any tensor: what is nearly silent needs no more.
const MAX_FRACTION: u8 = 13;

/// Chooses the fractional bits of all layers from the largest magnitudes that they wrote ([`peaks`](crate::nn::fixed::peaks)).
///
/// # Errors
/// [`Error::ModelMismatch`] naming a layer that was not seen.
pub fn fractions(config: &ModelConfig, peaks: &BTreeMap<String, f64>) -> Result<Fractions> {
    let mut plan = Plan { peaks, fractions: Fractions::new() };
    let branches = ["intra", "residual"];
    let latents: Vec<String> = branches
        .iter()
        .flat_map(|b| [format!("{b}.analysis.output"), format!("{b}.analysis.linear"), format!("{b}.coder.decoder_gain")])
        .collect();
    // One for all latents: the free latent goes where coded ones go.
    let latent = plan.least(latents.iter().filter(|name| peaks.contains_key(*name)))?.min(LATENT_FRACTION);
    for (branch, transform) in [("intra", &config.intra), ("residual", &config.residual)] {
        let at = |part: &str| format!("{branch}.analysis.{part}");
        let stem = plan.own(&at("input"))?;
        let shallow = plan.stack(&at("blocks"), transform.analysis_blocks, &[at("gain")])?;
        let deep = plan.stack(&at("deep"), transform.deep_blocks, &[at("down")])?;
        plan.set(&at("input"), SAMPLE_FRACTION, stem);
        plan.set(&at("gain"), stem, shallow);
        plan.set(&at("down"), shallow, deep);
        plan.set(&at("output"), deep, latent);
        plan.set(&at("linear"), SAMPLE_FRACTION, latent);

        let at = |part: &str| format!("{branch}.synthesis.{part}");
        let context = if branch == "residual" && config.context { vec![at("context")] } else { vec![] };
        let up = plan.own(&at("up"))?;
        let deep = plan.stack(&at("deep"), transform.deep_blocks, &[at("input")])?;
        let sources: Vec<String> = [at("gain")].into_iter().chain(context.iter().cloned()).collect();
        let shallow = plan.stack(&at("blocks"), transform.synthesis_blocks, &sources)?;
        plan.set(&at("input"), latent, deep);
        plan.set(&at("up"), deep, up);
        plan.set(&at("gain"), up, shallow);
        context.iter().for_each(|name| plan.set(name, SAMPLE_FRACTION, shallow));
        plan.set(&at("output"), shallow, OUTPUT_FRACTION);
        plan.set(&at("linear"), latent, OUTPUT_FRACTION);

        let latent_bits = ACTIVATION_FRACTION_BITS as u8;
        plan.set(&format!("{branch}.coder.decoder_gain"), latent_bits, latent);
        let mut from = latent_bits;
        for part in ["ha0", "ha1", "ha2", "ha3"] {
            let name = format!("{branch}.coder.entropy.{part}");
            let to = plan.own(&name)?;
            plan.set(&name, from, to);
            from = to;
        }
    }
    if let Some(postfilter) = &config.postfilter {
        let at = |part: &str| format!("postfilter.{part}");
        let inputs: Vec<String> =
            if postfilter.recurrent { vec![at("input"), at("recurrence.input")] } else { vec![at("input")] };
        let stem = plan.least(inputs.iter())?;
        inputs.iter().for_each(|name| plan.set(name, SAMPLE_FRACTION, stem));
        let stream = plan.stack(&at("blocks"), postfilter.blocks, &[at("gain")])?;
        plan.set(&at("gain"), stem, stream);
        for part in ["output", "recurrence.carry"].into_iter().take(1 + usize::from(postfilter.recurrent)) {
            let to = plan.own(&at(part))?;
            plan.set(&at(part), stream, to);
        }
    }
    Ok(plan.fractions)
}

struct Plan<'a> {
    peaks: &'a BTreeMap<String, f64>,
    fractions: Fractions,
}

impl Plan<'_> {
    /// The most fractional bits that leave room for what a layer writes.
    fn own(&self, name: &str) -> Result<u8> {
        let peak =
            self.peaks.get(name).ok_or_else(|| Error::ModelMismatch(format!("layer {name} was not seen in calibration")))?;
        if !peak.is_finite() {
            return Err(Error::ModelMismatch(format!("layer {name} writes values that are not finite")));
        }
        let bits = (f64::from(i16::MAX) / (HEADROOM * peak.max(1e-9))).log2().floor();
        if bits < 0.0 {
            return Err(Error::ModelMismatch(format!("layer {name} writes values up to {peak}, too large for 16 bits")));
        }
        Ok(bits.min(f64::from(MAX_FRACTION)) as u8)
    }

    /// The most that leave room for all of them.
    fn least<'n>(&self, names: impl Iterator<Item = &'n String>) -> Result<u8> {
        names.map(|name| self.own(name)).try_fold(MAX_FRACTION, |least, bits| Ok(least.min(bits?)))
    }

    fn set(&mut self, name: &str, from: u8, to: u8) {
        self.fractions.insert(name.to_owned(), [from, to]);
    }

    /// Plans a stack of blocks whose stream `sources` write to. Gives back the stream's fractional bits.
    fn stack(&mut self, prefix: &str, count: usize, sources: &[String]) -> Result<u8> {
        let within = (0..count).flat_map(|i| ["mix_out", "project"].map(|part| format!("{prefix}.{i}.{part}")));
        let names: Vec<String> = sources.iter().cloned().chain(within).collect();
        let stream = self.least(names.iter())?;
        for i in 0..count {
            let at = |part: &str| format!("{prefix}.{i}.{part}");
            let [mixed, deep, wide] = ["mix_in", "depthwise", "expand"].map(|part| self.own(&at(part)));
            let (mixed, deep, wide) = (mixed?, deep?, wide?);
            self.set(&at("mix_in"), stream, mixed);
            self.set(&at("depthwise"), mixed, deep);
            self.set(&at("mix_out"), deep, stream);
            self.set(&at("expand"), stream, wide);
            self.set(&at("project"), wide, stream);
        }
        Ok(stream)
    }
}

/// Which end of a layer holds samples.
fn samples(name: &str) -> Samples {
    let read = ["analysis.input", "analysis.linear", "synthesis.context", "postfilter.input", "recurrence.input"];
    let written = ["synthesis.output", "synthesis.linear"];
    if read.iter().any(|end| name.ends_with(end)) {
        Samples::Read
    } else if written.iter().any(|end| name.ends_with(end)) {
        Samples::Written
    } else {
        Samples::None
    }
}

/// The integer networks of a model as tensors of its file.
#[derive(Default)]
pub struct Integers {
    /// By their names.
    pub tensors: Vec<(String, RawTensor)>,
    /// Names of the float parameters that they stand for.
    pub replaced: BTreeSet<String>,
}

/// The integer networks that calibrated parameters make.
///
/// # Errors
/// [`Error::ModelMismatch`] naming a parameter that is missing.
pub fn to_integers(params: &ParamStore) -> Result<Integers> {
    let Integers { mut tensors, mut replaced } = Integers::default();
    for (name, &[from, to]) in &params.fractions {
        let find = |part: &str| params.get(&format!("{name}.{part}"));
        if let (Some(weight), Some(bias)) = (find("weight"), find("bias")) {
            let site = Site::new(name.clone(), Some([from, to]), samples(name));
            let Some(integers) = site.quantise(weight, bias)? else { continue };
            let shape: Vec<usize> = weight.size().iter().map(|&s| s as usize).collect();
            let outputs = vec![shape[0]];
            let weight: Vec<i16> = values(&integers.weight)?.iter().map(|&v| v as i16).collect();
            let bias: Vec<i32> = values(&integers.bias)?.iter().map(|&v| v as i32).collect();
            let shift: Vec<u8> = values(&integers.shift)?.iter().map(|&v| v as u8).collect();
            let packed = weights::pack(&weight, weight.len() / shape[0]);
            // A dimension more tells a depthwise layer.
            let bytes = packed.len() / shape[0];
            let packed_shape = if shape[2] == 1 { vec![shape[0], bytes] } else { vec![shape[0], 1, bytes] };
            tensors.push((format!("{name}.weight"), raw(RawDtype::U8, packed_shape, &packed, u8::to_le_bytes)));
            tensors.push((format!("{name}.bias"), raw(RawDtype::I32, outputs.clone(), &bias, i32::to_le_bytes)));
            tensors.push((format!("{name}.shift"), raw(RawDtype::U8, outputs, &shift, u8::to_le_bytes)));
            replaced.extend([format!("{name}.weight"), format!("{name}.bias")]);
        } else if name.ends_with("decoder_gain") {
            let encoder = name.replace("decoder_gain", "encoder_gain");
            for name in [name, &encoder] {
                let table = gain_table(params, name, LATENT_GAIN_BITS, f64::from(u32::MAX))?;
                let table: Vec<u32> = table.iter().map(|&v| v as u32).collect();
                let shape = vec![QUALITIES, table.len() / QUALITIES];
                tensors.push((format!("{name}.table"), raw(RawDtype::U32, shape, &table, u32::to_le_bytes)));
                replaced.insert(format!("{name}.knots"));
            }
        } else {
            let table = gain_table(params, name, GAIN_BITS, f64::from(u16::MAX))?;
            let table: Vec<u16> = table.iter().map(|&v| v as u16).collect();
            let shape = vec![QUALITIES, table.len() / QUALITIES];
            tensors.push((format!("{name}.table"), raw(RawDtype::U16, shape, &table, u16::to_le_bytes)));
            replaced.insert(format!("{name}.knots"));
        }
        tensors.push((format!("{name}.fractions"), raw(RawDtype::U8, vec![2], &[from, to], u8::to_le_bytes)));
    }
    if let Some(knots) = params.get(START).filter(|_| !params.fractions.is_empty()) {
        let table: Vec<f32> = values(&knot_weights().f_matmul(&host(knots)?)?)?.iter().map(|&v| v as f32).collect();
        let shape = vec![QUALITIES, table.len() / QUALITIES];
        tensors.push((START.replace("knots", "table"), raw(RawDtype::F32, shape, &table, f32::to_le_bytes)));
        replaced.insert(START.to_owned());
    }
    Ok(Integers { tensors, replaced })
}

/// Strengths of the postfilter where it says nothing.
const START: &str = "postfilter.start.knots";

/// Gains of all quality indices as whole numbers.
fn gain_table(params: &ParamStore, name: &str, bits: u32, most: f64) -> Result<Vec<f64>> {
    let knots = params.get(&format!("{name}.knots"));
    let knots = knots.ok_or_else(|| Error::ModelMismatch(format!("tensor {name}.knots is missing")))?;
    let gains = knot_weights().f_matmul(&host(knots)?)?.f_exp()?.f_to_kind(Kind::Double)?;
    values(&gains.f_mul_scalar(f64::from(bits).exp2())?.f_round()?.f_clamp(0.0, most)?)
}

fn host(tensor: &Tensor) -> Result<Tensor> {
    Ok(place(&tensor.f_detach()?, Device::Cpu)?.f_to_kind(Kind::Float)?)
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    download(&tensor.f_detach()?.f_to_kind(Kind::Double)?)
}

/// Fills in the float parameters that the integer tensors of a model file stand for.
///
/// # Errors
/// [`Error::ModelMismatch`] naming a tensor that does not fit.
pub fn to_floats(tensors: &BTreeMap<String, RawTensor>, params: &mut ParamStore) -> Result<()> {
    let bad = |name: &str| Error::ModelMismatch(format!("tensor {name} does not fit the layer's other tensors"));
    for (full, raw) in tensors.iter().filter(|(name, _)| name.ends_with(".fractions")) {
        let name = full.trim_end_matches(".fractions");
        let &[from, to] = &raw.data[..] else { return Err(bad(full)) };
        params.fractions.insert(name.to_owned(), [from, to]);
        let Some(weight) = tensors.get(&format!("{name}.weight")) else { continue };
        let (Some(bias), Some(shift)) = (tensors.get(&format!("{name}.bias")), tensors.get(&format!("{name}.shift"))) else {
            return Err(bad(full));
        };
        let biases: Vec<f64> = bias.data.as_chunks::<4>().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect();
        let outputs = shift.data.len();
        let bytes = weight.shape.last().copied().unwrap_or(0);
        if outputs == 0 || bytes < 2 || biases.len() != outputs || weight.data.len() != outputs * bytes {
            return Err(bad(full));
        }
        let per_output = weights::weights_in(bytes);
        let integers = weights::unpack(&weight.data, per_output);
        let depthwise = weight.shape.len() == 3;
        if depthwise && per_output != 9 {
            return Err(bad(full));
        }
        let unit = match samples(name) {
            Samples::None => [1.0, 1.0],
            Samples::Read => [255.0 / 256.0, 1.0],
            Samples::Written => [256.0 / 255.0; 2],
        };
        let step = |output: usize| (-f64::from(shift.data[output])).exp2();
        let scale = f64::from(i32::from(from) - i32::from(to)).exp2() * unit[0];
        let floats: Vec<f32> =
            integers.iter().enumerate().map(|(i, &w)| (f64::from(w) * step(i / per_output) * scale) as f32).collect();
        let one = (-f64::from(to)).exp2() * unit[1];
        let bias: Vec<f32> = biases.iter().enumerate().map(|(i, &b)| (b * step(i) * one) as f32).collect();
        let outputs = outputs as i64;
        let shape = if depthwise { [outputs, 1, 3, 3] } else { [outputs, per_output as i64, 1, 1] };
        params.insert(format!("{name}.weight"), Tensor::f_from_slice(&floats)?.f_view(&shape[..])?);
        params.insert(format!("{name}.bias"), Tensor::f_from_slice(&bias)?);
    }
    for (full, raw) in tensors.iter().filter(|(name, _)| name.ends_with(".table")) {
        let name = full.trim_end_matches(".table");
        let one = |bits: u32| (-f64::from(bits)).exp2();
        let gains: Vec<f64> = match raw.dtype {
            RawDtype::U16 => u16s(&raw.data).map(|v| f64::from(v) * one(GAIN_BITS)).collect(),
            RawDtype::U32 => u32s(&raw.data).map(|v| f64::from(v) * one(LATENT_GAIN_BITS)).collect(),
            RawDtype::F32 => u32s(&raw.data).map(|bits| f64::from(f32::from_bits(bits)).exp()).collect(),
            _ => return Err(bad(full)),
        };
        let channels = (gains.len() / QUALITIES) as i64;
        params.tables.insert(name.to_owned(), Tensor::f_from_slice(&gains)?.f_view([-1, channels])?);
        let rows: Vec<f64> = gains.iter().map(|gain| gain.max(LEAST_GAIN).ln()).collect();
        // Knots lie at every ninth quality index.
        let knots: Vec<f32> = rows.chunks_exact(channels.max(1) as usize).step_by(9).flatten().map(|&v| v as f32).collect();
        params.insert(format!("{name}.knots"), Tensor::f_from_slice(&knots)?.f_view([-1, channels])?);
    }
    Ok(())
}

/// What stands for a gain of 0 among logarithms.
const LEAST_GAIN: f64 = 1e-6;

fn u16s(data: &[u8]) -> impl Iterator<Item = u16> + '_ {
    data.as_chunks::<2>().0.iter().map(|&bytes| u16::from_le_bytes(bytes))
}

fn u32s(data: &[u8]) -> impl Iterator<Item = u32> + '_ {
    data.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes))
}
