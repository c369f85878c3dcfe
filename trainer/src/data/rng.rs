//! Random numbers that depend on what they are for: seed, step, worker. Exact resume of a training run depends on that, so the
//! generator is one whose sequence is the same on every machine and with every version (ChaCha; `rand`'s own promise no such thing).

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// A generator of random numbers.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// A generator for what `key`, at most four numbers, names; equal keys give equal sequences, and other keys independent ones.
    pub fn new<const N: usize>(key: &[u64; N]) -> Self {
        const { assert!(N <= 4, "the seed has room for four numbers") };
        let mut seed = [0; 32];
        for (bytes, number) in seed.chunks_exact_mut(8).zip(key) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_stream(N as u64);
        Self(rng)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f32 {
        self.0.random()
    }

    /// Uniform in [low, high); `low` if there is nothing between.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform integer in 0..count; 0 if `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        self.0.random_range(0..count.max(1))
    }

    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Standard normal deviate.
    pub fn normal(&mut self) -> f32 {
        self.0.sample(StandardNormal)
    }

    /// One of `values`, which are not empty.
    pub fn choose<T: Copy>(&mut self, values: &[T]) -> T {
        *values.choose(&mut self.0).expect("there are values")
    }

    /// One of `items`, which are not empty, in proportion to its weight.
    pub fn choose_weighted<T: Copy>(&mut self, items: &[(T, f32)]) -> T {
        let chosen = items.choose_weighted(&mut self.0, |&(_, weight)| weight);
        // Without weights, each is as good as any other.
        chosen.map_or_else(|_| items[0].0, |&(item, _)| item)
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        list.shuffle(&mut self.0);
    }
}

/// 64-bit FNV-1a of a name, finished with SplitMix64's mixer: a stable rank for choosing subsets. It decides which sources are held out
/// of training, so it must never change: a model would be measured on what it has learned from.
pub fn name_hash(seed: u64, name: &str) -> u64 {
    let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    mix(fnv ^ mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_names_never_change() {
        assert_eq!([1, 2].map(|seed| name_hash(seed, "flower")), [0x30ac_0ada_6d92_b20f, 0xdbd5_2c31_4fdd_0fa7]);
    }

    #[test]
    fn keys_name_streams() {
        fn draw<const N: usize>(key: [u64; N]) -> f32 {
            Rng::new(&key).unit()
        }
        assert_eq!(draw([1, 2, 3]), draw([1, 2, 3]));
        assert_ne!(draw([1, 2, 3]), draw([1, 3, 2]));
        assert_ne!(draw([1, 0]), draw([1]));
    }

    #[test]
    fn draws_are_in_range_and_fair() {
        let mut r = Rng::new(&[7]);
        let n = 20_000;
        let mut counts = [0; 5];
        (0..n).for_each(|_| counts[r.below(5)] += 1);
        assert!(counts.iter().all(|c| (3700..4300).contains(c)), "{counts:?}");
        assert_eq!((r.below(0), r.range(2.0, 2.0)), (0, 2.0));
        let mut counts = [0; 3];
        (0..n).for_each(|_| counts[r.choose_weighted(&[(0, 1.0), (1, 0.0), (2, 3.0)])] += 1);
        assert!((4700..5300).contains(&counts[0]) && counts[1] == 0, "{counts:?}");
        assert_eq!(r.choose_weighted(&[(9, 0.0), (8, 0.0)]), 9);
        let normals: Vec<f32> = (0..n).map(|_| r.normal()).collect();
        let variance = normals.iter().map(|x| x * x).sum::<f32>() / n as f32;
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }
}
