//! Muon on 1x1 matrices, AdamW on everything else (design section 11; recipe section 3).

use anyhow::Result;
use tch::Tensor;

use super::gan;

const MOMENTUM: f64 = 0.95;
const BETAS: (f64, f64) = (0.9, 0.99);
/// Discriminators follow a moving target: little momentum.
const DISCRIMINATOR_BETAS: (f64, f64) = (0.5, 0.9);
const EPSILON: f64 = 1e-8;
/// Muon's orthogonal steps are unit-norm, so they take a larger rate than Adam's.
const MATRIX_RATE: f64 = 10.0;
/// Relative to that, for the linear channels' bases: they are orthonormal from the start, and both sides of a branch must move
/// together, or one frame's overshoot feeds the next.
const BASIS_RATE: f64 = 0.05;
/// Gains live in the logarithm and barely move at the common rate.
const GAIN_RATE: f64 = 5.0;
/// Coefficients of the quintic Newton-Schulz iteration (Jordan et al., Muon).
const NEWTON_SCHULZ: (f64, f64, f64) = (3.4445, -4.7750, 2.0315);

enum Rule {
    Muon { momentum: Tensor, rate: f64 },
    Adam { first: Tensor, second: Tensor, rate: f64, betas: (f64, f64) },
}

struct Slot {
    name: String,
    param: Tensor,
    ema: Tensor,
    rule: Rule,
}

/// Learning rates relative to that of entropy models and gains.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub discriminators: f64,
    /// Of analysis and synthesis transforms but for their linear channels.
    pub transforms: f64,
}

/// How the names of the linear channels' bases end.
const BASIS: &str = ".linear.weight";

/// Whether the parameter belongs to an analysis or synthesis transform's networks.
fn is_transform(name: &str) -> bool {
    name.contains(".analysis.") || name.contains(".synthesis.")
}

/// Optimiser and moving average of one share of the parameters.
///
/// Parameters are updated in place, so replicas that share their storage see the update.
pub struct Optimiser {
    slots: Vec<Slot>,
    steps: u64,
    ema_decay: f64,
}

/// Cost of one Muon step on a parameter, for sharing the parameters out evenly.
fn cost(param: &Tensor) -> i64 {
    let size = param.size();
    if is_matrix(&size) {
        let (rows, cols) = (size[0], size[1]);
        rows.min(cols) * param.numel() as i64
    } else {
        param.numel() as i64 / 8
    }
}

fn is_matrix(size: &[i64]) -> bool {
    size.len() == 4 && size[2] == 1 && size[3] == 1 && size[0].min(size[1]) >= 8
}

/// Splits parameters over `shares` optimisers of about equal cost.
pub fn share_out(mut params: Vec<(String, Tensor)>, shares: usize) -> Vec<Vec<(String, Tensor)>> {
    params.sort_by_key(|(_, t)| -cost(t));
    let mut parts: Vec<(i64, Vec<(String, Tensor)>)> = (0..shares).map(|_| (0, Vec::new())).collect();
    for item in params {
        let lightest = parts.iter_mut().min_by_key(|(load, _)| *load).expect("at least one share");
        lightest.0 += cost(&item.1);
        lightest.1.push(item);
    }
    parts.into_iter().map(|(_, items)| items).collect()
}

impl Optimiser {
    /// A fresh optimiser; the moving average starts at the parameters' values.
    pub fn new(params: Vec<(String, Tensor)>, ema_decay: f64, rates: Rates) -> Self {
        let slots = params
            .into_iter()
            .map(|(name, param)| {
                let zeros = || param.detach().zeros_like();
                let adam = |rate, betas| Rule::Adam { first: zeros(), second: zeros(), rate, betas };
                let part = if is_transform(&name) { rates.transforms } else { 1.0 };
                let rule = if name.starts_with(gan::PREFIX) {
                    adam(rates.discriminators, DISCRIMINATOR_BETAS)
                } else if is_matrix(&param.size()) {
                    Rule::Muon { momentum: zeros(), rate: MATRIX_RATE * if name.ends_with(BASIS) { BASIS_RATE } else { part } }
                } else {
                    adam(part * if name.ends_with("knots") { GAIN_RATE } else { 1.0 }, BETAS)
                };
                Slot { ema: param.detach().copy(), name, param, rule }
            })
            .collect();
        Self { slots, steps: 0, ema_decay }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|s| s.name.as_str())
    }

    /// One step with learning rate `lr`; `gradients` in the order of [`Self::names`], `None` where nothing flowed.
    pub fn step(&mut self, gradients: &[Option<Tensor>], lr: f64) -> Result<()> {
        self.steps += 1;
        let steps = self.steps;
        // The average follows quickly at first, so that early exports are not the initial weights.
        let decay = self.ema_decay.min((1.0 + steps as f64) / (10.0 + steps as f64));
        tch::no_grad(|| {
            for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
                if let Some(gradient) = gradient {
                    slot.update(gradient, lr, steps)?;
                }
                let _ = slot.ema.f_lerp_(&slot.param, 1.0 - decay)?;
            }
            Ok(())
        })
    }

    /// State for a checkpoint: (name, tensor) pairs.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut out = Vec::new();
        for slot in &self.slots {
            let mut push = |kind: &str, t: &Tensor| out.push((format!("{kind}/{}", slot.name), t.shallow_clone()));
            push("ema", &slot.ema);
            match &slot.rule {
                Rule::Muon { momentum, .. } => push("momentum", momentum),
                Rule::Adam { first, second, .. } => {
                    push("first", first);
                    push("second", second);
                }
            }
        }
        out
    }

    /// Takes back what [`Self::state`] gave. Names that are absent keep their fresh state.
    pub fn restore(&mut self, steps: u64, lookup: &dyn Fn(&str) -> Option<Tensor>) -> Result<()> {
        self.steps = steps;
        tch::no_grad(|| {
            for slot in &mut self.slots {
                let name = slot.name.clone();
                let load = |kind: &str, target: &mut Tensor| -> Result<()> {
                    if let Some(value) = lookup(&format!("{kind}/{name}")) {
                        target.f_copy_(&value)?;
                    }
                    Ok(())
                };
                load("ema", &mut slot.ema)?;
                match &mut slot.rule {
                    Rule::Muon { momentum, .. } => load("momentum", momentum)?,
                    Rule::Adam { first, second, .. } => {
                        load("first", first)?;
                        load("second", second)?;
                    }
                }
            }
            Ok(())
        })
    }
}

impl Slot {
    fn update(&mut self, gradient: &Tensor, lr: f64, steps: u64) -> Result<()> {
        match &mut self.rule {
            Rule::Muon { momentum, rate } => {
                let _ = momentum.f_mul_scalar_(MOMENTUM)?.f_add_(gradient)?;
                let nesterov = gradient.f_add(&momentum.f_mul_scalar(MOMENTUM)?)?;
                let (rows, cols) = (nesterov.size()[0] as f64, nesterov.size()[1] as f64);
                let scale = (rows / cols).max(1.0).sqrt() * lr * *rate;
                let direction = orthogonalised(&nesterov.f_flatten(1, -1)?)?.f_mul_scalar(scale)?;
                let _ = self.param.f_sub_(&direction.f_view_as(&self.param)?)?;
            }
            Rule::Adam { first, second, rate, betas: (b1, b2) } => {
                let _ = first.f_lerp_(gradient, 1.0 - *b1)?;
                let _ = second.f_lerp_(&gradient.f_square()?, 1.0 - *b2)?;
                let (c1, c2) = (1.0 - b1.powf(steps as f64), 1.0 - b2.powf(steps as f64));
                let denominator = second.f_div_scalar(c2)?.f_sqrt()?.f_add_scalar(EPSILON)?;
                let _ = self.param.f_sub_(&first.f_mul_scalar(lr * *rate / c1)?.f_div(&denominator)?)?;
            }
        }
        Ok(())
    }
}

/// The nearest semi-orthogonal matrix, approximately: five Newton-Schulz iterations.
fn orthogonalised(gradient: &Tensor) -> Result<Tensor> {
    let (a, b, c) = NEWTON_SCHULZ;
    let tall = gradient.size()[0] > gradient.size()[1];
    let mut x = if tall { gradient.f_tr()? } else { gradient.shallow_clone() };
    x = x.f_div(&x.f_norm()?.f_add_scalar(1e-7)?)?;
    for _ in 0..5 {
        let gram = x.f_matmul(&x.f_tr()?)?;
        let polynomial = gram.f_mul_scalar(b)?.f_add(&gram.f_matmul(&gram)?.f_mul_scalar(c)?)?;
        x = x.f_mul_scalar(a)?.f_add(&polynomial.f_matmul(&x)?)?;
    }
    Ok(if tall { x.f_tr()? } else { x })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    const EVEN: Rates = Rates { discriminators: 1.0, transforms: 1.0 };

    #[test]
    fn transforms_learn_at_a_rate_of_their_own() {
        let names = [
            "residual.synthesis.up.weight",
            "residual.synthesis.up.bias",
            "residual.coder.entropy.h1.weight",
            "residual.coder.entropy.h1.bias",
        ];
        let moved = |rates| {
            let params: Vec<_> = names
                .iter()
                .map(|name| {
                    let shape: &[i64] = if name.ends_with("weight") { &[16, 16, 1, 1] } else { &[16] };
                    ((*name).to_owned(), Tensor::ones(shape, (Kind::Float, Device::Cpu)))
                })
                .collect();
            let gradients: Vec<_> = params.iter().map(|(_, t)| Some(t.copy())).collect();
            let values: Vec<_> = params.iter().map(|(_, t)| t.shallow_clone()).collect();
            Optimiser::new(params, 0.9, rates).step(&gradients, 1e-3).unwrap();
            values.iter().map(|t| (t - 1.0).abs().max().double_value(&[])).collect::<Vec<_>>()
        };
        let (even, slow) = (moved(EVEN), moved(Rates { transforms: 0.1, ..EVEN }));
        for (i, wanted) in [0.1, 0.1, 1.0, 1.0].into_iter().enumerate() {
            assert!((slow[i] / even[i] - wanted).abs() < 1e-2, "{}: {} of {}", names[i], slow[i], even[i]);
        }
    }

    #[test]
    fn orthogonal_directions_have_singular_values_near_one() {
        let _generator = crate::testing::seeded(1);
        let x = Tensor::randn([32, 16], (Kind::Float, Device::Cpu));
        let o = orthogonalised(&x).unwrap();
        let gram = o.tr().matmul(&o);
        let off = (&gram - gram.diag(0).diag(0)).abs().max().double_value(&[]);
        let diagonal = gram.diag(0);
        assert!(off < 0.35, "off-diagonal {off}");
        assert!(diagonal.min().double_value(&[]) > 0.4 && diagonal.max().double_value(&[]) < 1.6, "{diagonal}");
    }

    #[test]
    fn minimises_a_quadratic_and_restores_exactly() {
        let make = || {
            let target = Tensor::arange(64 * 8, (Kind::Float, Device::Cpu)).view([64, 8, 1, 1]) / 256.0;
            let param = Tensor::zeros([64, 8, 1, 1], (Kind::Float, Device::Cpu));
            let gain = Tensor::zeros([8, 4], (Kind::Float, Device::Cpu));
            (target, param, gain)
        };
        let (target, param, gain) = make();
        let loss = |p: &Tensor| (p - &target).square().mean(Kind::Float).double_value(&[]);
        let named = |p: &Tensor, g: &Tensor| vec![("w".to_owned(), p.shallow_clone()), ("a.knots".to_owned(), g.shallow_clone())];
        let mut optimiser = Optimiser::new(named(&param, &gain), 0.9, EVEN);
        let gradients = |p: &Tensor, g: &Tensor| vec![Some((p - &target) * 2.0), Some(g - 1.0)];
        let before = loss(&param);
        for _ in 0..100 {
            optimiser.step(&gradients(&param, &gain), 1e-2).unwrap();
        }
        assert!(loss(&param) < before * 0.1, "{} of {before}", loss(&param));
        assert!(gain.min().double_value(&[]) > 0.5, "gains move at five times the rate");

        let (p2, g2) = (param.copy(), gain.copy());
        let mut second = Optimiser::new(named(&p2, &g2), 0.9, EVEN);
        let state = optimiser.state();
        second.restore(100, &|name| state.iter().find(|(n, _)| n == name).map(|(_, t)| t.copy())).unwrap();
        for _ in 0..3 {
            optimiser.step(&gradients(&param, &gain), 2e-3).unwrap();
            second.step(&gradients(&p2, &g2), 2e-3).unwrap();
        }
        assert_eq!(param, p2);
        assert_eq!(gain, g2);
    }
}
