//! Quantisation noise and random draws that depend on nothing but (seed, step, worker), so a resumed run repeats them.

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

/// The random draws of one worker in one step.
pub struct StepRng(Rng, Option<NoisePool>);

impl StepRng {
    pub fn new(seed: u64, step: u64, worker: usize) -> Self {
        Self(Rng::new(&[seed, step, worker as u64]), None)
    }

    /// Takes noise from `pool`.
    #[must_use]
    pub fn with_pool(self, pool: Option<&NoisePool>) -> Self {
        Self(self.0, pool.map(NoisePool::share))
    }

    /// Uniform noise in -0.5..0.5 of the given shape.
    pub fn noise(&mut self, shape: &[i64], device: Device) -> Tensor {
        let count = shape.iter().product::<i64>() as usize;
        if let Some(NoisePool(pool)) = &self.1
            && count < pool.numel()
        {
            let start = self.0.below(pool.numel() - count);
            return pool.narrow(0, start as i64, count as i64).view(shape);
        }
        let values: Vec<f32> = (0..count).map(|_| self.0.unit() - 0.5).collect();
        Tensor::from_slice(&values).view(shape).to_device(device)
    }

    /// A quality index for each example of a batch, uniform in 0..=63.
    pub fn qualities(&mut self, batch: usize) -> Vec<u8> {
        (0..batch).map(|_| self.0.below(64) as u8).collect()
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.0.below(bound as usize) as u32
    }

    /// Chooses `count` of `of` things, each choice as likely as any other.
    pub fn choose(&mut self, count: usize, of: usize) -> Vec<bool> {
        let mut left = count;
        (0..of)
            .map(|i| {
                let chosen = self.0.below(of - i) < left;
                left -= usize::from(chosen);
                chosen
            })
            .collect()
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.chance(probability as f32)
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
