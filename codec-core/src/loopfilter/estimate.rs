//! The encoder's choice of a filter for one plane.

use super::classes::ClassMap;
use super::coding::{DifferenceCosts, PlaneState};
use super::kernel::Filter;
use super::moments::{Gatherer, Moments, Subject};
use super::params::{PlaneFilter, Set};
use super::samples::Samples;
use super::solve::{least_squares, quantised, refined};
use crate::entropy::{Encoding, SymbolWriter};
use crate::frame::Plane;

/// What a coefficient's bits count for in the choice of sets: later frames use them, too, and are predicted from this one. Over 20 frames
/// this costs nothing and gains some error. Whether a plane is filtered is decided at the full price.
const INVESTMENT: f64 = 0.6;
/// A filter must gain more than sums are rounded by.
const LEAST_CHANGE: f64 = -1e-6;
/// Times that sets are fitted to the areas which the sets before them helped.
const PASSES: usize = 2;

/// What a plane's filter is chosen from.
pub(super) struct Choice<'a, const K: usize, const C: usize> {
    pub samples: &'a Samples,
    pub original: &'a Plane,
    pub classes: &'a ClassMap,
    /// Side of a class's block in this plane's samples.
    pub block: usize,
    pub state: &'a PlaneState<K, C>,
    /// Squared error that a bit is worth.
    pub price: f64,
    /// How many threads may work.
    pub threads: usize,
}

/// A plane's filter.
pub(super) struct Found<const K: usize, const C: usize> {
    pub filter: PlaneFilter<K, C>,
    /// Change of the squared error.
    pub change: i64,
    /// The same, and the price of the bits beyond those of no filter.
    cost: f64,
}

impl<const K: usize, const C: usize> Choice<'_, K, C> {
    /// The best filter found, if it is better than none.
    pub fn make(&self, gatherer: &mut Gatherer) -> Option<Found<K, C>> {
        let subject = Subject { samples: self.samples, original: self.original, classes: self.classes, block: self.block };
        let mut fitted_to = vec![true; self.state.areas()];
        let mut best: Option<Found<K, C>> = None;
        for _ in 0..PASSES {
            let moments = gatherer.gather(&subject, C, &fitted_to, self.threads);
            let found = self.judged(self.sets(&moments));
            let settled = found.filter.areas == fitted_to || !found.filter.areas.contains(&true);
            fitted_to.clone_from(&found.filter.areas);
            if best.as_ref().is_none_or(|best| found.cost < best.cost) {
                best = Some(found);
            }
            if settled {
                break;
            }
        }
        let good = |found: &Found<K, C>| found.cost < LEAST_CHANGE;
        let last = &self.state.last;
        // New sets, which were chosen at a lower price, may not be worth their bits where those of the last frame are.
        let kept = || last.iter().flatten().any(|&c| c != 0).then(|| self.judged(*last)).filter(good);
        best.filter(good).or_else(kept)
    }

    /// Where to use the sets, and what comes of it.
    fn judged(&self, sets: [Set<K>; C]) -> Found<K, C> {
        let everywhere = vec![true; self.state.areas()];
        let mut changes = vec![0; everywhere.len()];
        let filter = Filter::new(self.samples, &sets, (self.classes, self.block), &everywhere);
        filter.error_changes(self.original, &mut changes, self.threads);
        let areas = self.areas(&changes);
        let change: i64 = changes.iter().zip(&areas).filter(|(_, on)| **on).map(|(change, _)| change).sum();
        let filter = PlaneFilter { sets, areas };
        let cost = change as f64 + self.price * (self.bits(Some(&filter)) - self.bits(None));
        Found { filter, change, cost }
    }

    /// What coding a filter takes.
    fn bits(&self, filter: Option<&PlaneFilter<K, C>>) -> f64 {
        let mut writer = SymbolWriter::new();
        self.state.clone().code(&mut Encoding(&mut writer), filter);
        writer.bits()
    }

    /// The sets that lower error + price * bits most.
    fn sets(&self, moments: &[Moments<K>]) -> [Set<K>; C] {
        let (state, price, costs) = (self.state, INVESTMENT * self.price, self.state.costs());
        // The best sets of the classes before each, and their total.
        let mut best: Vec<(f64, [Set<K>; C])> = vec![(price * state.kept_bits(false), state.last)];
        for class in 0..C {
            let mut options = Vec::with_capacity(class + 2);
            let (before, sets) = &best[class];
            options.push((before + moments[class].change(&state.last[class]) + price * state.again_bits(class), *sets));
            // The classes from `first` on share a new set.
            let mut shared = Moments::default();
            let mut alike = 0.0;
            for first in (0..=class).rev() {
                shared.add(&moments[first]);
                let (before, sets) = &best[first];
                let (set, cost) = self.new_set(&shared, &costs, first, sets);
                let mut sets = *sets;
                sets[first..=class].fill(set);
                options.push((before + cost + price * alike, sets));
                alike += state.alike_bits(first);
            }
            let least = options.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
            best.extend(least);
        }
        let kept: f64 = moments.iter().zip(&state.last).map(|(moments, set)| moments.change(set)).sum();
        match best.last() {
            Some((cost, sets)) if *cost < kept + price * state.kept_bits(true) => *sets,
            _ => state.last,
        }
    }

    /// A new set for moments of classes from `first` on, given the sets before it, and its cost.
    fn new_set(&self, moments: &Moments<K>, costs: &DifferenceCosts<K>, first: usize, sets: &[Set<K>; C]) -> (Set<K>, f64) {
        let price = INVESTMENT * self.price;
        let start = quantised(&least_squares(moments));
        let mut found: Option<(Set<K>, f64)> = None;
        let before = first.checked_sub(1).map(|before| (sets[before], true));
        for (predicted, follows) in [Some((self.state.last[first], false)), before].into_iter().flatten() {
            let bits = |k: usize, value: i8| costs.bits(k, value, predicted[k]);
            let (set, cost) = refined(moments, start, &predicted, price, bits);
            let cost = cost + price * self.state.new_bits(first, follows);
            if found.is_none_or(|(_, least)| cost < least) {
                found = Some((set, cost));
            }
        }
        found.unwrap_or((start, f64::INFINITY))
    }

    /// The areas to be filtered, by their changes of the squared error.
    fn areas(&self, changes: &[i64]) -> Vec<bool> {
        let mut areas = vec![false; changes.len()];
        let mut cost = self.price * self.state.whole_bits(false);
        for (at, &change) in changes.iter().enumerate() {
            let [off, on] = [false, true].map(|on| self.price * self.state.area_bits(&areas, at, on));
            let on = on + change as f64;
            areas[at] = on < off;
            cost += on.min(off);
        }
        let whole = changes.iter().sum::<i64>() as f64 + self.price * self.state.whole_bits(true);
        if whole < cost { vec![true; changes.len()] } else { areas }
    }
}
