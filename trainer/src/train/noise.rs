//! Quantisation noise and random draws that depend on nothing but (seed, step, worker), so a resumed run repeats them.

use std::ops::Range;

use codec_core::training::nn::transfer::upload;
use tch::{Device, Kind, Tensor};

use crate::data::rng::Rng;

/// Noise that a GPU keeps ready: a step takes pieces of it from places that it draws, without a launch.
#[derive(Debug)]
pub struct NoisePool(Tensor);

impl NoisePool {
    /// 256 MiB: some hundred steps' worth, and pieces overlap by chance alone.
    const SIZE: i64 = 1 << 26;

    /// On a GPU; a CPU draws what it needs.
    pub fn new(seed: u64, device: Device) -> Option<Self> {
        device.is_cuda().then(|| Self::of_size(seed, Self::SIZE, device))
    }

    fn of_size(seed: u64, size: i64, device: Device) -> Self {
        tch::manual_seed(seed as i64);
        Self(Tensor::rand([size], (Kind::Float, device)) - 0.5)
    }

    /// The same memory.
    pub fn share(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

/// Some of the examples of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub examples: Range<usize>,
    /// Examples of the whole batch.
    pub of: usize,
}

impl Part {
    /// A batch of `of` examples in parts of about equal size, `most` examples at most and one at least.
    pub fn split(of: usize, most: usize) -> Vec<Self> {
        let parts = of.div_ceil(most.max(1)).max(1);
        (0..parts).map(|i| Self { examples: of * i / parts..of * (i + 1) / parts, of }).collect()
    }

    /// Its share of the batch.
    pub fn share(&self) -> f64 {
        self.examples.len() as f64 / self.of as f64
    }
}

/// The random draws of one worker in one step.
pub struct StepRng {
    rng: Rng,
    pool: Option<NoisePool>,
    part: Option<Part>,
}

impl StepRng {
    pub fn new(seed: u64, step: u64, worker: usize) -> Self {
        Self { rng: Rng::new(&[seed, step, worker as u64]), pool: None, part: None }
    }

    /// Takes noise from `pool`.
    #[must_use]
    pub fn with_pool(self, pool: Option<&NoisePool>) -> Self {
        Self { pool: pool.map(NoisePool::share), ..self }
    }

    /// The draws of a part of a batch: those that its examples have in the whole batch. What is drawn for all examples together is
    /// the same in every part.
    #[must_use]
    pub fn of_part(self, part: Part) -> Self {
        Self { part: Some(part), ..self }
    }

    /// Examples of the whole batch, and where `count` of them lie.
    fn place(&self, count: usize) -> Part {
        let part = self.part.clone().unwrap_or(Part { examples: 0..count, of: count });
        assert_eq!(part.examples.len(), count, "the examples of this part of a batch");
        part
    }

    /// Uniform noise in -0.5..0.5 of the given shape, whose first dimension are the examples.
    pub fn noise(&mut self, shape: &[i64], device: Device) -> Tensor {
        let Part { examples, of } = self.place(shape[0] as usize);
        let each = shape[1..].iter().product::<i64>() as usize;
        let (before, count, whole) = (examples.start * each, examples.len() * each, of * each);
        if let Some(NoisePool(pool)) = &self.pool
            && whole < pool.numel()
        {
            let start = self.rng.below(pool.numel() - whole) + before;
            return pool.narrow(0, start as i64, count as i64).view(shape);
        }
        let mut values: Vec<f32> = Vec::with_capacity(count);
        for i in 0..whole {
            let value = self.rng.unit() - 0.5;
            if (before..before + count).contains(&i) {
                values.push(value);
            }
        }
        upload(&Tensor::from_slice(&values).view(shape), device).expect("memory for noise")
    }

    /// What `draw` gives for each of `count` examples of a batch.
    pub fn of_examples<T>(&mut self, count: usize, mut draw: impl FnMut(&mut Rng) -> T) -> Vec<T> {
        let Part { examples, of } = self.place(count);
        let all: Vec<T> = (0..of).map(|_| draw(&mut self.rng)).collect();
        all.into_iter().skip(examples.start).take(count).collect()
    }

    /// A quality index for each example of a batch, uniform in 0..=63.
    pub fn qualities(&mut self, batch: usize) -> Vec<u8> {
        self.of_examples(batch, |rng| rng.below(64) as u8)
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.rng.below(bound as usize) as u32
    }

    /// Chooses `count` of `of` things, each choice as likely as any other.
    pub fn choose(&mut self, count: usize, of: usize) -> Vec<bool> {
        let mut left = count;
        (0..of)
            .map(|i| {
                let chosen = self.rng.below(of - i) < left;
                left -= usize::from(chosen);
                chosen
            })
            .collect()
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.rng.chance(probability as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_of_a_pool_depends_on_the_step_alone() {
        let pool = {
            let _generator = crate::testing::seeded(0);
            NoisePool::of_size(7, 1 << 12, Device::Cpu)
        };
        let draw = |step| {
            let mut rng = StepRng::new(1, step, 0).with_pool(Some(&pool));
            (rng.noise(&[2, 3, 16, 16], Device::Cpu), rng.noise(&[2, 3, 16, 16], Device::Cpu))
        };
        let ((a, b), (c, _)) = (draw(1), draw(2));
        assert_eq!(draw(1), (a.shallow_clone(), b.shallow_clone()));
        assert!(a != b && a != c && a.size() == [2, 3, 16, 16]);
        assert!(a.abs().max().double_value(&[]) <= 0.5 && a.mean(Kind::Float).abs().double_value(&[]) < 0.05);
    }

    #[test]
    fn parts_of_a_batch_draw_what_the_whole_batch_draws() {
        let pool = {
            let _generator = crate::testing::seeded(0);
            NoisePool::of_size(7, 1 << 12, Device::Cpu)
        };
        for pool in [None, Some(&pool)] {
            let rng = || StepRng::new(1, 2, 3).with_pool(pool);
            let draw = |mut rng: StepRng, n: usize| {
                let (first, qualities) = (rng.noise(&[n as i64, 3, 4, 4], Device::Cpu), rng.qualities(n));
                let together = (rng.below(1 << 20), rng.choose(2, 5), rng.chance(0.5));
                (first, qualities, together, rng.noise(&[n as i64, 7], Device::Cpu))
            };
            let whole = draw(rng(), 5);
            for part in Part::split(5, 2) {
                let (at, n) = (part.examples.clone(), part.examples.len());
                let (first, qualities, together, second) = draw(rng().of_part(part), n);
                assert_eq!(first, whole.0.narrow(0, at.start as i64, n as i64));
                assert_eq!((&qualities[..], &together), (&whole.1[at.clone()], &whole.2));
                assert_eq!(second, whole.3.narrow(0, at.start as i64, n as i64));
            }
        }
    }

    #[test]
    fn parts_are_about_equal_and_complete() {
        let sizes = |of, most| Part::split(of, most).iter().map(|part| part.examples.len()).collect::<Vec<_>>();
        assert_eq!((sizes(4, 4), sizes(4, usize::MAX), sizes(6, 4), sizes(64, 4)), (vec![4], vec![4], vec![3, 3], vec![4; 16]));
        assert_eq!((sizes(5, 2), sizes(3, 0)), (vec![1, 2, 2], vec![1; 3]));
        assert!((Part::split(5, 2).iter().map(Part::share).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn choices_are_of_the_right_number_and_fair() {
        let mut rng = StepRng::new(1, 2, 3);
        let mut counts = [0; 4];
        for _ in 0..2000 {
            let chosen = rng.choose(2, 4);
            assert_eq!(chosen.iter().filter(|&&c| c).count(), 2);
            counts.iter_mut().zip(chosen).for_each(|(n, c)| *n += usize::from(c));
        }
        assert!(counts.iter().all(|n| (900..1100).contains(n)), "{counts:?}");
        assert_eq!((rng.choose(3, 3), rng.choose(0, 2)), (vec![true; 3], vec![false; 2]));
    }
}
