//! What errors of a prediction cost, whether they are coded or not.
//!
//! An error that stays is distortion, but one that is coded costs a few bits, however large it is. So the errors of each cell are
//! transformed (Hadamard, 8x8), and no coefficient counts for much more than it takes to code one. Of two predictions with the same squared
//! error, the one whose error takes fewer coefficients wins.

use super::goal::{AREA, Goal};
use super::surface::Surface;
use crate::motion::CELL;

/// A coefficient is taken to cost at most so many bits; beyond that, its cost grows by a share of what it did before.
const BITS: f64 = 5.3;
const GROWTH: f64 = 0.2;

/// A plane and how far from their places the samples lie that predict in it.
pub(super) type Moved<'a> = (&'a Surface, (i32, i32));

/// How the cost of a coefficient is bounded; in units of the Hadamard transform without any scale, whose squares are 64 times too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ceiling {
    /// Up to this magnitude the cost is the square.
    pub threshold: i16,
    /// What each unit beyond it costs.
    pub slope: u32,
}

impl Ceiling {
    /// `price`: of a bit, in squared grey levels.
    pub fn of(price: u64) -> Self {
        let threshold = (AREA as f64 * BITS * price as f64).sqrt().min(i16::MAX.into());
        Self { threshold: threshold as i16, slope: (2.0 * GROWTH * threshold) as u32 }
    }
}

/// Costs of the errors (target - weight * prediction) over all goals, in 1/64 of a squared grey level; anything from `limit` on once it is
/// reached. The prediction is `a`, or the mean of `a` and `b`.
pub(super) fn costs_any(goals: &[Goal], a: Moved, b: Option<Moved>, ceiling: Ceiling, limit: u64) -> u64 {
    const MISSING: &str = "rows are longer than blocks";
    let mut sum = 0;
    for goal in goals {
        let block = |(samples, way): Moved| -> [[u8; CELL]; CELL] {
            let block = samples.block(goal.x + way.0, goal.y + way.1);
            std::array::from_fn(|row| *block[row * samples.stride..].first_chunk().expect(MISSING))
        };
        let mut samples = block(a);
        if let Some(b) = b {
            for (a, b) in samples.as_flattened_mut().iter_mut().zip(block(b).as_flattened()) {
                *a = (u16::from(*a) + u16::from(*b)).div_ceil(2) as u8;
            }
        }
        let mut values = [0i16; AREA];
        let parts = goal.target.iter().zip(&goal.weight).zip(samples.as_flattened());
        for (value, ((&target, &weight), &sample)) in values.iter_mut().zip(parts) {
            *value = target.wrapping_sub(weight.wrapping_mul(sample.into())) >> 6;
        }
        sum += cost_of(&mut values, ceiling);
        if sum >= limit {
            break;
        }
    }
    sum
}

/// The cost of a cell's errors, which do not stay.
fn cost_of(values: &mut [i16; AREA], ceiling: Ceiling) -> u64 {
    // One of 64 values is one of 8 by 8.
    let mut distance = AREA / 2;
    while distance > 0 {
        for group in values.chunks_exact_mut(2 * distance) {
            let (first, second) = group.split_at_mut(distance);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        distance /= 2;
    }
    let (mut squares, mut beyond) = (0u32, 0u32);
    for value in values {
        let size = value.unsigned_abs();
        let within = size.min(ceiling.threshold.unsigned_abs());
        squares += u32::from(within) * u32::from(within);
        beyond += u32::from(size - within);
    }
    u64::from(squares) + u64::from(ceiling.slope) * u64::from(beyond)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Plane;
    use crate::motion::search::goal::HALF_ERROR;
    use crate::motion::search::kernels::Kernels;
    use rand::prelude::*;

    /// By the matrix, in floats.
    fn plain_cost(errors: &[[f64; CELL]; CELL], ceiling: Ceiling) -> f64 {
        let sign = |i: usize, k: usize| if (i & k).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
        let places = || (0..CELL).flat_map(|y| (0..CELL).map(move |x| (y, x)));
        let coefficient =
            |(v, u): (usize, usize)| places().map(|(y, x)| sign(y, v) * sign(x, u) * errors[y][x]).sum::<f64>().abs();
        let threshold = f64::from(ceiling.threshold);
        places()
            .map(coefficient)
            .map(|size| size.min(threshold).powi(2) + f64::from(ceiling.slope) * (size - threshold).max(0.0))
            .sum()
    }

    fn surface(rng: &mut SmallRng) -> Surface {
        let samples = (0..64 * 40).map(|_| rng.random()).collect();
        let mut surface = Surface::default();
        surface.load(&Plane::from_vec(samples, 64, 40).unwrap(), (64, 40), 1);
        surface
    }

    #[test]
    fn vector_code_equals_plain_code() {
        let mut rng = SmallRng::seed_from_u64(5);
        let (a, b) = (surface(&mut rng), surface(&mut rng));
        let kernels = Kernels::detect();
        for price in [1, 40, 2_000, 1_000_000] {
            let ceiling = Ceiling::of(price);
            let current: [[i16; CELL]; CELL] = std::array::from_fn(|_| std::array::from_fn(|_| rng.random_range(0..256)));
            // A leaf that predicts its cell alone.
            let mut goal = Goal { x: 16, y: 8, ..Goal::default() };
            goal.weight.fill(64);
            goal.target = std::array::from_fn(|i| 64 * current[i / CELL][i % CELL] + HALF_ERROR as i16);
            let ways = [(3, -2), (-9, 11)];
            for mixed in [None, Some((&b, ways[1]))] {
                let at = |(surface, way): Moved, row: usize, col: usize| {
                    i16::from(surface.block(16 + way.0, 8 + way.1)[row * surface.stride + col])
                };
                let predicted = |row, col| match mixed {
                    None => at((&a, ways[0]), row, col),
                    Some(b) => (at((&a, ways[0]), row, col) + at(b, row, col) + 1) / 2,
                };
                let error = |row: usize, col: usize| f64::from(current[row][col] - predicted(row, col));
                let errors = std::array::from_fn(|row| std::array::from_fn(|col| error(row, col)));
                let wanted = plain_cost(&errors, ceiling) as u64;
                let goals = [goal.clone(), goal.clone()];
                // All goals, and the first alone.
                for (limit, wanted) in [(u64::MAX, 2 * wanted), (1, wanted)] {
                    let by_kernel = kernels.costs(&goals, (&a, ways[0]), mixed, ceiling, limit);
                    assert_eq!([by_kernel, costs_any(&goals, (&a, ways[0]), mixed, ceiling, limit)], [wanted; 2], "{price}");
                }
            }
        }
    }

    #[test]
    fn what_is_coded_costs_bits_and_what_stays_its_square() {
        let ceiling = Ceiling::of(100);
        let cost = |errors: &mut [i16; AREA]| cost_of(errors, ceiling) / 64;
        // Small errors everywhere are not worth their bits, so they stay.
        let mut small: [i16; AREA] = std::array::from_fn(|i| [1, -1, 1, 1, -1][i % 5]);
        assert_eq!(cost(&mut small), 64);
        // A step of 20 in all samples is a single coefficient, at little more than its bits, where its square is 25 600.
        assert!((530..3200).contains(&cost(&mut [20; AREA])));
        // One sample that is off by as much as 255 has many.
        let mut dot = [0; AREA];
        dot[9] = 255;
        assert!(cost(&mut dot) > 20_000);
        assert_eq!(Ceiling::of(1_000_000).threshold, 18_417);
    }
}
