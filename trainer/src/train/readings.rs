//! What steps report, kept on the device until it is read.

use std::collections::BTreeMap;

use anyhow::Result;
use codec_core::training::nn::transfer::download;
use tch::{Device, Kind, Tensor};

use super::step::Rates;
use super::worker::StepReport;

/// Steps between readings on a GPU, where a reading waits until everything before it is computed.
const INTERVAL: usize = 16;

/// Name of the norm of the codec's gradient before clipping.
pub const GRADIENT_NORM: &str = "gradient_norm";

/// What the steps since the last reading have reported.
pub struct Readings {
    interval: usize,
    steps: Vec<Step>,
}

#[derive(Default)]
struct Step {
    /// Names and scalars of all workers.
    values: Vec<(&'static str, Tensor)>,
    rates: Vec<Rates>,
}

/// One step's report, read: for each name the sum over workers and their number; each example's quality and bits per pixel.
pub struct Reading {
    pub sums: BTreeMap<&'static str, (f64, f64)>,
    pub rates: Vec<(u8, f64)>,
}

impl Readings {
    /// `every_step`: something learns from each step's values, or processes must read at the same time.
    pub fn new(device: Device, every_step: bool) -> Self {
        Self { interval: if device.is_cuda() && !every_step { INTERVAL } else { 1 }, steps: Vec::new() }
    }

    /// Adds a step's reports, but for their gradients; `norm` is that of the gradient.
    pub fn add(&mut self, reports: Vec<StepReport>, norm: Tensor) {
        let mut step = Step::default();
        for report in reports {
            step.values.extend(report.metrics);
            step.values.push(("loss", report.loss));
            step.rates.push(report.rates);
        }
        step.values.push((GRADIENT_NORM, norm));
        self.steps.push(step);
    }

    /// Whether it is time to read.
    pub fn are_due(&self) -> bool {
        self.steps.len() >= self.interval
    }

    /// Reads everything, step by step; waits for the device once. Rates are read where `with_rates` is set.
    pub fn read(&mut self, with_rates: bool) -> Result<Vec<Reading>> {
        let steps = std::mem::take(&mut self.steps);
        let all: Vec<&Tensor> = steps.iter().flat_map(|step| step.values.iter().map(|(_, t)| t)).collect();
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = download::<f64>(&Tensor::f_stack(&all, 0)?.f_to_kind(Kind::Double)?)?.into_iter();
        steps
            .iter()
            .map(|step| {
                let mut sums: BTreeMap<&'static str, (f64, f64)> = BTreeMap::new();
                for ((name, _), value) in step.values.iter().zip(&mut values) {
                    let (sum, count) = sums.entry(name).or_default();
                    *sum += value;
                    *count += 1.0;
                }
                let mut rates = Vec::new();
                for part in step.rates.iter().filter(|_| with_rates) {
                    rates.extend(part.read()?);
                }
                Ok(Reading { sums, rates })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::worker::Gradient;
    use super::*;

    #[test]
    fn steps_come_back_one_by_one() {
        let scalar = |v: f64| Tensor::from(v as f32);
        let report = |loss: f64, psnr: f64| StepReport {
            loss: scalar(loss),
            metrics: vec![("psnr", scalar(psnr)), ("psnr", scalar(psnr + 2.0))],
            rates: Rates { qualities: vec![7], bpp: Tensor::from_slice(&[loss as f32]) },
            gradient: Gradient { values: scalar(0.0), present: Vec::new() },
        };
        let mut readings = Readings { interval: 2, steps: Vec::new() };
        readings.add(vec![report(1.0, 30.0), report(3.0, 40.0)], scalar(0.5));
        assert!(!readings.are_due());
        readings.add(vec![report(5.0, 20.0)], scalar(f64::INFINITY));
        assert!(readings.are_due());
        let read = readings.read(true).unwrap();
        assert_eq!((read[0].sums["loss"], read[0].sums["psnr"]), ((4.0, 2.0), (144.0, 4.0)));
        assert_eq!((read[0].rates.clone(), read[0].sums[GRADIENT_NORM]), (vec![(7, 1.0), (7, 3.0)], (0.5, 1.0)));
        assert!(read[1].sums[GRADIENT_NORM].0.is_infinite() && read[1].sums["loss"] == (5.0, 1.0));
        assert!(readings.read(true).unwrap().is_empty());
    }
}
