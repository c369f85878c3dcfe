//! The search's inner loops with NEON, which every aarch64 processor has. Where compilers do as well from the plain code, there is
//! none here.

use std::arch::aarch64::*;

use super::goal::{Block, Goal, HALF_ERROR, Parts};
use super::pair::{Pair, square};
use super::window::{Best, Window};
use crate::motion::CELL;

const HALF: usize = CELL / 2;

#[target_feature(enable = "neon")]
#[inline]
fn eight(samples: &[u8; 8]) -> uint8x8_t {
    // SAFETY: the reference is to as many bytes as are read.
    unsafe { vld1_u8(samples.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn sixteen(samples: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the reference is to as many bytes as are read.
    unsafe { vld1q_u8(samples.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn counts(counts: &[u16; 8]) -> uint16x8_t {
    // SAFETY: the reference is to as many values as are read.
    unsafe { vld1q_u16(counts.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn put_values(to: &mut [i16; 8], values: int16x8_t) {
    // SAFETY: the reference is to as many values as are written.
    unsafe { vst1q_s16(to.as_mut_ptr(), values) }
}

#[target_feature(enable = "neon")]
#[inline]
fn put_counts(to: &mut [u16; 8], counts: uint16x8_t) {
    // SAFETY: the reference is to as many values as are written.
    unsafe { vst1q_u16(to.as_mut_ptr(), counts) }
}

/// Samples as signed values.
#[target_feature(enable = "neon")]
#[inline]
fn wide(samples: &[u8; 8]) -> int16x8_t {
    vreinterpretq_s16_u16(vmovl_u8(eight(samples)))
}

/// A row of a cell.
#[inline]
fn line((block, stride): Block<'_>, row: usize) -> &[u8; CELL] {
    block[row * stride..].first_chunk().expect("blocks are complete")
}

/// Squared differences of sixteen samples, each pair of neighbours added to the sum of its eight.
#[target_feature(enable = "neon")]
#[inline]
fn add_squares(sums: &mut [uint32x4_t; 2], a: &[u8; 16], b: &[u8; 16]) {
    let difference = vabdq_u8(sixteen(a), sixteen(b));
    let low = vget_low_u8(difference);
    sums[0] = vpadalq_u16(sums[0], vmull_u8(low, low));
    sums[1] = vpadalq_u16(sums[1], vmull_high_u8(difference, difference));
}

/// As [`Kernels::squares`](super::kernels::Kernels::squares).
#[target_feature(enable = "neon")]
pub(super) fn squares(pair: &Pair) -> u32 {
    let (mut sums, mut rest) = ([vdupq_n_u32(0); 2], 0);
    for (a, b) in pair.rows() {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        a.iter().zip(b).for_each(|(a, b)| add_squares(&mut sums, a, b));
        let ((a, a_rest), (b, b_rest)) = (a_rest.as_chunks::<8>(), b_rest.as_chunks::<8>());
        for (a, b) in a.iter().zip(b) {
            let difference = vabd_u8(eight(a), eight(b));
            sums[0] = vpadalq_u16(sums[0], vmull_u8(difference, difference));
        }
        rest += a_rest.iter().zip(b_rest).map(|(&a, &b)| square(a, b)).sum::<u32>();
    }
    vaddvq_u32(vaddq_u32(sums[0], sums[1])) + rest
}

/// As [`Kernels::cells`](super::kernels::Kernels::cells).
#[target_feature(enable = "neon")]
pub(super) fn cells(pair: &Pair, sums: &mut [u32; 64]) {
    for (row, sums) in sums.as_chunks_mut::<CELL>().0.iter_mut().enumerate() {
        let mut cells = [[vdupq_n_u32(0); 2]; CELL / 2];
        for (a, b) in pair.rows().skip(row * CELL).take(CELL) {
            let blocks = a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0);
            cells.iter_mut().zip(blocks).for_each(|(cells, (a, b))| add_squares(cells, a, b));
        }
        *sums = std::array::from_fn(|col| vaddvq_u32(cells[col / 2][col % 2]));
    }
}

/// As [`goal_any`](super::goal::goal_any).
#[target_feature(enable = "neon")]
pub(super) fn goal(parts: &Parts, goal: &mut Goal) {
    let h = wide(&parts.weights[1]);
    let [left, right] = parts.horizontal_open.map(|open| vdup_n_s16(-i16::from(open)));
    let open = vandq_s16(h, vcombine_s16(left, right));
    let (scaled, rest_of_h) = (vshlq_n_s16::<9>(h), vsubq_s16(vdupq_n_s16(64), h));
    let goals = goal.target.as_chunks_mut::<CELL>().0.iter_mut().zip(goal.weight.as_chunks_mut::<CELL>().0);
    for (row, (target, weights)) in goals.enumerate() {
        let v = i16::from(parts.weights[0][row]);
        let share = (64 - v) * i16::from(parts.own_open) + v * i16::from(parts.vertical_open[row / HALF]);
        let (own, vertical) = (wide(line(parts.own, row)), wide(line(parts.vertical[row / HALF], row % HALF)));
        let [left, right] = parts.horizontal.map(|block| wide(line(block, row)));
        let horizontal = vcombine_s16(vget_low_s16(left), vget_high_s16(right));
        let current = wide(line(parts.current, row));
        let first = vmlaq_n_s16(vmulq_n_s16(own, 64 - v), vertical, v);
        // (2 d (h * 512) + 2^15) >> 16 is (d * h + 32) >> 6.
        let difference = vsubq_s16(vshlq_n_s16::<6>(horizontal), first);
        let blended = vaddq_s16(first, vqrdmulhq_s16(difference, scaled));
        let weight = vaddq_s16(vrshrq_n_s16::<6>(vmulq_n_s16(rest_of_h, share)), open);
        // The sums wrap to what fits 16 bits again.
        let wanted = vmulq_s16(current, vaddq_s16(weight, vdupq_n_s16(64)));
        put_values(target, vaddq_s16(vsubq_s16(wanted, blended), vdupq_n_s16(HALF_ERROR as i16)));
        put_values(weights, weight);
    }
}

/// As [`run_any`](super::coarse::run_any).
#[target_feature(enable = "neon")]
pub(super) fn coarse(current: (&[u8], usize), reference: (&[u8], usize), window: &Window, best: &mut Best) {
    let columns = window.column_costs.len();
    for (row, &row_cost) in window.row_costs.iter().enumerate() {
        for (group, costs) in window.column_costs.as_chunks::<8>().0.iter().enumerate() {
            let costs = vqaddq_u16(counts(costs), vdupq_n_u16(row_cost));
            let place = vdupq_n_u16((row * (columns / 8) + group) as u16);
            let mut take = |i: usize, sums: [uint16x8_t; 2]| {
                let old_costs = best.costs[i].as_chunks_mut::<8>().0.iter_mut();
                let old_places = best.places[i].as_chunks_mut::<8>().0.iter_mut();
                for ((old_cost, old_place), sum) in old_costs.zip(old_places).zip(sums) {
                    let (old, new) = (counts(old_cost), vqaddq_u16(costs, sum));
                    put_counts(old_place, vbslq_u16(vcltq_u16(new, old), place, counts(old_place)));
                    put_counts(old_cost, vminq_u16(new, old));
                }
            };
            let mut halves = [[vdupq_n_u16(0); 2]; 2];
            for four in 0..4 {
                // Of four 4x4 blocks side by side, each of eight displacements.
                let mut blocks = [vdupq_n_u16(0); 4];
                for line in 4 * four..4 * four + 4 {
                    let own: &[u8; 16] = current.0[line * current.1..].first_chunk().expect("a group's row");
                    let samples = &reference.0[(row + line) * reference.1 + 8 * group..];
                    let samples: &[u8; 24] = samples.first_chunk().expect("a window's row");
                    for (x, &own) in own.iter().enumerate() {
                        let samples = samples[x..].first_chunk().expect("24 samples");
                        blocks[x / 4] = vabal_u8(blocks[x / 4], eight(samples), vdup_n_u8(own));
                    }
                }
                let registers = [[blocks[0], blocks[2]], [blocks[1], blocks[3]]];
                if window.fours {
                    take(2 * four, registers[0]);
                    take(2 * four + 1, registers[1]);
                }
                for (side, half) in halves[four / 2].iter_mut().enumerate() {
                    *half = vaddq_u16(*half, vaddq_u16(registers[0][side], registers[1][side]));
                }
            }
            let sides = [0, 1].map(|side| vaddq_u16(halves[0][side], halves[1][side]));
            take(8, halves[0]);
            take(9, halves[1]);
            take(10, [vaddq_u16(sides[0], sides[1]); 2]);
        }
    }
}
