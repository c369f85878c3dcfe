//! Four leaves of a B-frame joined to one where that pays.

use super::offer::{Offer, put};
use super::{ANY, Between};
use crate::motion::coding::GoldenTrack;
use crate::motion::search::costs::BIT;
use crate::motion::search::decide::Inputs;
use crate::motion::search::polish::for_quarters;
use crate::motion::{BlockField, Leaf, Motion};

impl Between {
    /// Joins leaves of a root, smallest first, by the overlapped prediction.
    pub fn join(&mut self, inputs: &Inputs, track: &GoldenTrack, field: &mut BlockField, row: usize, col: usize) {
        for_quarters(inputs, field, row, col, |field, whole, quarters| self.join_one(inputs, track, field, whole, quarters));
    }

    fn join_one(
        &mut self,
        inputs: &Inputs,
        track: &GoldenTrack,
        field: &mut BlockField,
        whole: Leaf,
        quarters: [(usize, usize); 4],
    ) {
        let old = quarters.map(|(row, col)| {
            let motion = field.motion(row, col);
            (Leaf { row, col, log2: whole.log2 - 1, vector: motion.vector }, motion)
        });
        let split = |leaf: &Leaf, split| inputs.coder.split(field, leaf.row, leaf.col, leaf.log2, split);
        let bits = |(leaf, motion): &(Leaf, Motion)| Offer::new(inputs, track, field, *leaf).bits(*motion) + split(leaf, false);
        let bits = split(&whole, true) + old.iter().map(bits).sum::<u64>();
        let before = BIT * self.goals.present_error(inputs, field, &whole) + inputs.price * bits;
        let (offer, flag) = (Offer::new(inputs, track, field, whole), split(&whole, false));
        self.tried.clear();
        self.tried.extend(old.map(|(_, motion)| motion));
        self.tried.extend(offer.merges().flat_map(|vector| ANY.map(|from| from.even(vector))));
        field.set(whole);
        self.goals.load_all(inputs, field, &whole);
        let mut best = (before, None);
        for (i, &motion) in self.tried.iter().enumerate() {
            let rate = inputs.price * (offer.bits(motion) + flag);
            if rate >= best.0 || self.tried[..i].contains(&motion) {
                continue;
            }
            let cost = rate + BIT * self.goals.error_of(inputs, motion, (best.0 - rate).div_ceil(BIT));
            if cost < best.0 {
                best = (cost, Some(motion));
            }
        }
        match best.1 {
            Some(motion) => put(field, track, whole, motion),
            None => old.into_iter().for_each(|(leaf, motion)| put(field, track, leaf, motion)),
        }
    }
}
