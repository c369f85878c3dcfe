//! Muon on 1x1 matrices, AdamW on everything else (Muon: Jordan et al., 2024; AdamW: Loshchilov and Hutter, ICLR 2019).

use std::ops::Range;

use anyhow::Result;
use codec_core::training::nn::{Form, Role};
use tch::{Device, Kind, Tensor};

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

/// How parameters move, and at which rate; equal ones lie together.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Rule {
    Adam { rate: f64, betas: (f64, f64) },
    Muon { rate: f64 },
}

impl Rule {
    fn of(role: Role, rates: Rates) -> Self {
        let part = if role.part.is_transform() { rates.transforms } else { 1.0 };
        if role.network.is_discriminator() {
            return Self::Adam { rate: rates.discriminators, betas: DISCRIMINATOR_BETAS };
        }
        match role.form {
            Form::Basis => Self::Muon { rate: MATRIX_RATE * BASIS_RATE },
            Form::Matrix => Self::Muon { rate: MATRIX_RATE * part },
            Form::Knots => Self::Adam { rate: part * GAIN_RATE, betas: BETAS },
            Form::Kernel | Form::Channels => Self::Adam { rate: part, betas: BETAS },
        }
    }
}

/// What an optimiser moves.
#[derive(Debug)]
pub struct Parameter {
    pub name: String,
    pub role: Role,
    pub tensor: Tensor,
}

/// A parameter's place in the flat tensors.
struct Slot {
    name: String,
    size: Vec<i64>,
    start: i64,
    rule: Rule,
}

impl Slot {
    fn length(&self) -> i64 {
        self.size.iter().product()
    }

    /// Its part of a flat tensor.
    fn of(&self, flat: &Tensor) -> Result<Tensor> {
        Ok(flat.f_narrow(0, self.start, self.length())?.f_view(self.size.as_slice())?)
    }
}

/// Learning rates relative to that of entropy models and gains.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub discriminators: f64,
    /// Of analysis and synthesis transforms but for their linear channels.
    pub transforms: f64,
}

/// Optimiser and moving average of one share of the parameters.
///
/// The parameters lie in one flat tensor, those of equal rules side by side, and so does what belongs to each of them: a step is
/// a few operations on long pieces, and one for all matrices of the same shape. Parameters are updated in place, so replicas
/// that share their storage see the update.
pub struct Optimiser {
    slots: Vec<Slot>,
    param: Tensor,
    ema: Tensor,
    /// First moment of Adam, momentum of Muon.
    first: Tensor,
    /// Second moment of Adam; Muon leaves its part alone.
    second: Tensor,
    steps: u64,
    ema_decay: f64,
}

/// Cost of one Muon step on a parameter, for sharing the parameters out evenly.
fn cost(Parameter { role, tensor, .. }: &Parameter) -> i64 {
    match (role.form, &tensor.size()[..]) {
        (Form::Matrix | Form::Basis, [rows, cols, ..]) => rows.min(cols) * tensor.numel() as i64,
        _ => tensor.numel() as i64 / 8,
    }
}

/// Splits parameters over `shares` optimisers of about equal cost.
pub fn share_out(mut params: Vec<Parameter>, shares: usize) -> Vec<Vec<Parameter>> {
    params.sort_by_key(|param| -cost(param));
    let mut parts: Vec<(i64, Vec<Parameter>)> = (0..shares).map(|_| (0, Vec::new())).collect();
    for item in params {
        let lightest = parts.iter_mut().min_by_key(|(load, _)| *load).expect("at least one share");
        lightest.0 += cost(&item);
        lightest.1.push(item);
    }
    parts.into_iter().map(|(_, items)| items).collect()
}

impl Optimiser {
    /// A fresh optimiser; the moving average starts at the parameters' values. Gives back the parameters where they lie from
    /// now on, in the order of [`Self::names`]: views that take the place of the given ones.
    pub fn new(params: Vec<Parameter>, ema_decay: f64, rates: Rates) -> Result<(Self, Vec<Parameter>)> {
        let mut params: Vec<(Rule, Parameter)> = params.into_iter().map(|param| (Rule::of(param.role, rates), param)).collect();
        params.sort_by(|(rule_a, a), (rule_b, b)| {
            let rules = rule_a.partial_cmp(rule_b).unwrap_or(std::cmp::Ordering::Equal);
            rules.then_with(|| a.tensor.size().cmp(&b.tensor.size())).then_with(|| a.name.cmp(&b.name))
        });
        tch::no_grad(|| {
            let flat = params.iter().map(|(_, p)| Ok(p.tensor.f_detach()?.f_reshape([-1])?)).collect::<Result<Vec<_>>>()?;
            let param = match flat.is_empty() {
                true => Tensor::f_zeros([0], (Kind::Float, Device::Cpu))?,
                false => Tensor::f_cat(&flat, 0)?,
            };
            let mut start = 0;
            let mut slots = Vec::with_capacity(params.len());
            let mut views = Vec::with_capacity(params.len());
            for (rule, Parameter { name, role, tensor: old }) in params {
                let slot = Slot { name: name.clone(), size: old.size(), start, rule };
                start += slot.length();
                let tensor = slot.of(&param)?.set_requires_grad(old.requires_grad());
                views.push(Parameter { name, role, tensor });
                slots.push(slot);
            }
            let zeros = || param.f_zeros_like();
            let (ema, first, second) = (param.copy(), zeros()?, zeros()?);
            Ok((Self { slots, param, ema, first, second, steps: 0, ema_decay }, views))
        })
    }

    /// One that moves nothing.
    pub fn empty() -> Self {
        let none = || Tensor::zeros([0], (Kind::Float, Device::Cpu));
        Self { slots: Vec::new(), param: none(), ema: none(), first: none(), second: none(), steps: 0, ema_decay: 1.0 }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|s| s.name.as_str())
    }

    /// Number of values of all parameters.
    pub fn length(&self) -> i64 {
        self.slots.last().map_or(0, |s| s.start + s.length())
    }

    /// One step with learning rate `lr` along a flat gradient of [`Self::length`] values. `present` says for each of
    /// [`Self::names`] whether anything flowed; the others stay as they are. `proceed`, a scalar on the device that is 1 or 0: at 0
    /// nothing changes.
    pub fn step(&mut self, gradient: &Tensor, present: &[bool], lr: f64, proceed: Option<&Tensor>) -> Result<()> {
        if self.slots.is_empty() {
            return Ok(());
        }
        self.steps += 1;
        let steps = self.steps;
        // The average follows quickly at first, so that early exports are not the initial weights.
        let decay = self.ema_decay.min((1.0 + steps as f64) / (10.0 + steps as f64));
        tch::no_grad(|| {
            let mut at = 0;
            while at < self.slots.len() {
                let rule = self.slots[at].rule;
                let run = (at..self.slots.len()).take_while(|&i| self.slots[i].rule == rule && present[i] == present[at]).count();
                if present[at] {
                    self.update(at..at + run, gradient, lr, proceed)?;
                }
                at += run;
            }
            approach(&mut self.ema, &self.param, 1.0 - decay, proceed)
        })
    }

    /// Moves neighbours of one rule.
    fn update(&mut self, slots: Range<usize>, gradient: &Tensor, lr: f64, proceed: Option<&Tensor>) -> Result<()> {
        let slots = &self.slots[slots];
        let start = slots[0].start;
        let length = slots.iter().map(Slot::length).sum();
        let part = |flat: &Tensor| flat.f_narrow(0, start, length);
        let (gradient, mut param, mut first) = (part(gradient)?, part(&self.param)?, part(&self.first)?);
        let change = match slots[0].rule {
            Rule::Adam { rate, betas: (b1, b2) } => {
                let mut second = part(&self.second)?;
                approach(&mut first, &gradient, 1.0 - b1, proceed)?;
                approach(&mut second, &gradient.f_square()?, 1.0 - b2, proceed)?;
                let steps = self.steps as f64;
                let (c1, c2) = (1.0 - b1.powf(steps), 1.0 - b2.powf(steps));
                let denominator = second.f_div_scalar(c2)?.f_sqrt_()?.f_add_scalar_(EPSILON)?;
                first.f_mul_scalar(lr * rate / c1)?.f_div_(&denominator)?
            }
            Rule::Muon { rate } => {
                let _ = match proceed {
                    // Momentum stays as it is where the gradient has been put to zero.
                    Some(proceed) => {
                        first.f_mul_(&proceed.f_mul_scalar(MOMENTUM - 1.0)?.f_add_scalar_(1.0)?)?.f_add_(&gradient)?
                    }
                    None => first.f_mul_scalar_(MOMENTUM)?.f_add_(&gradient)?,
                };
                let nesterov = first.f_mul_scalar(MOMENTUM)?.f_add_(&gradient)?;
                let mut change = Vec::new();
                let mut at = 0;
                while at < slots.len() {
                    let (rows, cols) = (slots[at].size[0], slots[at].size[1]);
                    let count = slots[at..].iter().take_while(|s| s.size[0] == rows && s.size[1] == cols).count();
                    let stack = nesterov.f_narrow(0, slots[at].start - start, count as i64 * rows * cols)?;
                    let scale = (rows as f64 / cols as f64).max(1.0).sqrt() * lr * rate;
                    let direction = orthogonalised(&stack.f_view([count as i64, rows, cols])?)?;
                    change.push(direction.f_mul_scalar(scale)?.f_reshape([-1])?);
                    at += count;
                }
                Tensor::f_cat(&change, 0)?
            }
        };
        let change = match proceed {
            Some(proceed) => change.f_mul(proceed)?,
            None => change,
        };
        let _ = param.f_sub_(&change)?;
        Ok(())
    }

    /// State for a checkpoint: (name, tensor) pairs.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut out = Vec::new();
        for slot in &self.slots {
            let mut push = |kind: &str, flat: &Tensor| -> Result<()> {
                out.push((format!("{kind}/{}", slot.name), slot.of(flat)?));
                Ok(())
            };
            push("ema", &self.ema)?;
            match slot.rule {
                Rule::Muon { .. } => push("momentum", &self.first)?,
                Rule::Adam { .. } => {
                    push("first", &self.first)?;
                    push("second", &self.second)?;
                }
            }
        }
        Ok(out)
    }

    /// Takes back what [`Self::state`] gave. Names that are absent keep their fresh state.
    pub fn restore(&mut self, steps: u64, lookup: &dyn Fn(&str) -> Option<Tensor>) -> Result<()> {
        self.steps = steps;
        let state = self.state()?;
        tch::no_grad(|| {
            for (name, mut target) in state {
                if let Some(value) = lookup(&name) {
                    target.f_copy_(&value)?;
                }
            }
            Ok(())
        })
    }
}

/// Moves `x` by `share` of the way to `end`; not at all where `proceed` is 0.
fn approach(x: &mut Tensor, end: &Tensor, share: f64, proceed: Option<&Tensor>) -> Result<()> {
    let _ = match proceed {
        Some(proceed) => x.f_lerp_tensor_(end, &proceed.f_mul_scalar(share)?)?,
        None => x.f_lerp_(end, share)?,
    };
    Ok(())
}

/// The nearest semi-orthogonal matrices, approximately, of a stack `[N, rows, cols]`: five Newton-Schulz iterations.
fn orthogonalised(stack: &Tensor) -> Result<Tensor> {
    let (a, b, c) = NEWTON_SCHULZ;
    let size = stack.size();
    let tall = size[1] > size[2];
    let mut x = if tall { stack.f_transpose(1, 2)? } else { stack.shallow_clone() };
    let norm = x.f_square()?.f_sum_dim_intlist(&[1i64, 2][..], true, Kind::Float)?.f_sqrt_()?.f_add_scalar_(1e-7)?;
    x = x.f_div(&norm)?;
    for _ in 0..5 {
        let gram = x.f_bmm(&x.f_transpose(1, 2)?)?;
        let polynomial = gram.f_baddbmm(&gram, &gram, b, c)?;
        x = x.f_baddbmm(&polynomial, &x, a, 1.0)?;
    }
    Ok(if tall { x.f_transpose(1, 2)? } else { x })
}

#[cfg(test)]
mod roles;

#[cfg(test)]
mod tests {
    use super::*;
    use codec_core::training::nn::{Network, Part};

    const EVEN: Rates = Rates { discriminators: 1.0, transforms: 1.0 };

    #[test]
    fn transforms_learn_at_a_rate_of_their_own() {
        let role = |part, form| Role { network: Network::Residual, part, form };
        let roles = [Part::Synthesis, Part::Entropy].map(|part| [Form::Matrix, Form::Channels].map(|form| role(part, form)));
        let names = ["a", "b", "c", "d"];
        let moved = |rates| {
            let params: Vec<_> = names
                .iter()
                .zip(roles.concat())
                .map(|(name, role)| {
                    let shape: &[i64] = if role.form == Form::Matrix { &[16, 16, 1, 1] } else { &[16] };
                    let tensor = Tensor::ones(shape, (Kind::Float, Device::Cpu));
                    Parameter { name: (*name).to_owned(), role, tensor }
                })
                .collect();
            let (mut optimiser, views) = Optimiser::new(params, 0.9, rates).unwrap();
            let gradient = Tensor::ones([optimiser.length()], (Kind::Float, Device::Cpu));
            optimiser.step(&gradient, &[true; 4], 1e-3, None).unwrap();
            let value = |name: &str| &views.iter().find(|p| p.name == name).unwrap().tensor;
            names.map(|name| (value(name) - 1.0).abs().max().double_value(&[]))
        };
        let (even, slow) = (moved(EVEN), moved(Rates { transforms: 0.1, ..EVEN }));
        for (i, wanted) in [0.1, 0.1, 1.0, 1.0].into_iter().enumerate() {
            assert!((slow[i] / even[i] - wanted).abs() < 1e-2, "{}: {} of {}", names[i], slow[i], even[i]);
        }
    }

    #[test]
    fn orthogonal_directions_have_singular_values_near_one() {
        let _generator = crate::testing::seeded(1);
        let stack = Tensor::randn([3, 32, 16], (Kind::Float, Device::Cpu));
        let one = orthogonalised(&stack.narrow(0, 1, 1)).unwrap();
        let o = orthogonalised(&stack).unwrap().select(0, 1);
        assert!((&o - one.select(0, 0)).abs().max().double_value(&[]) < 1e-5, "matrices of a stack do not mix");
        let gram = o.tr().matmul(&o);
        let off = (&gram - gram.diag(0).diag(0)).abs().max().double_value(&[]);
        let diagonal = gram.diag(0);
        assert!(off < 0.35, "off-diagonal {off}");
        assert!(diagonal.min().double_value(&[]) > 0.4 && diagonal.max().double_value(&[]) < 1.6, "{diagonal}");
    }

    /// A matrix and gains, and the optimiser that they lie in.
    fn quadratic() -> (Optimiser, Tensor, Tensor) {
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
        let parameter = |name: &str, form, size: &[i64]| {
            let role = Role { network: Network::Intra, part: Part::Entropy, form };
            Parameter { name: name.to_owned(), role, tensor: zeros(size) }
        };
        let params = vec![parameter("w", Form::Matrix, &[64, 8, 1, 1]), parameter("gain", Form::Knots, &[8, 4])];
        let (optimiser, views) = Optimiser::new(params, 0.9, EVEN).unwrap();
        let value = |name: &str| views.iter().find(|p| p.name == name).unwrap().tensor.shallow_clone();
        assert!(optimiser.names().eq(["gain", "w"]));
        (optimiser, value("w"), value("gain"))
    }

    fn target() -> Tensor {
        Tensor::arange(64 * 8, (Kind::Float, Device::Cpu)).view([64, 8, 1, 1]) / 256.0
    }

    /// Flat, in the order of the optimiser's names.
    fn gradient(w: &Tensor, gain: &Tensor) -> Tensor {
        Tensor::cat(&[(gain - 1.0).reshape([-1]), ((w - target()) * 2.0).reshape([-1])], 0)
    }

    #[test]
    fn minimises_a_quadratic_and_restores_exactly() {
        let (mut optimiser, w, gain) = quadratic();
        let loss = |w: &Tensor| (w - target()).square().mean(Kind::Float).double_value(&[]);
        let before = loss(&w);
        for _ in 0..100 {
            optimiser.step(&gradient(&w, &gain), &[true; 2], 1e-2, None).unwrap();
        }
        assert!(loss(&w) < before * 0.1, "{} of {before}", loss(&w));
        assert!(gain.min().double_value(&[]) > 0.5, "gains move at five times the rate");

        let (mut second, mut w2, mut gain2) = quadratic();
        w2.copy_(&w);
        gain2.copy_(&gain);
        let state = optimiser.state().unwrap();
        second.restore(100, &|name| state.iter().find(|(n, _)| n == name).map(|(_, t)| t.copy())).unwrap();
        for _ in 0..3 {
            optimiser.step(&gradient(&w, &gain), &[true; 2], 2e-3, None).unwrap();
            second.step(&gradient(&w2, &gain2), &[true; 2], 2e-3, None).unwrap();
        }
        assert_eq!((w, gain), (w2, gain2));
    }

    #[test]
    fn what_no_gradient_reaches_and_what_must_not_proceed_stays() {
        let snapshot = |o: &Optimiser| o.state().unwrap().into_iter().map(|(n, t)| (n, t.copy())).collect::<Vec<_>>();
        let scalar = |v: f64| Tensor::full([] as [i64; 0], v, (Kind::Float, Device::Cpu));
        let (mut optimiser, w, gain) = quadratic();
        optimiser.step(&gradient(&w, &gain), &[true; 2], 1e-2, None).unwrap();
        let before = (snapshot(&optimiser), w.copy(), gain.copy());
        optimiser.step(&gradient(&w, &gain).zeros_like(), &[true; 2], 1e-2, Some(&scalar(0.0))).unwrap();
        assert_eq!((snapshot(&optimiser), w.copy(), gain.copy()), before);
        optimiser.step(&gradient(&w, &gain), &[false, true], 1e-2, Some(&scalar(1.0))).unwrap();
        assert!(gain == before.2 && w != before.1);
        let moment = |state: &[(String, Tensor)]| state.iter().find(|(n, _)| n == "first/gain").unwrap().1.copy();
        assert_eq!(moment(&snapshot(&optimiser)), moment(&before.0));
    }
}
