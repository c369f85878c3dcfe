//! Steps from a vector to its neighbours.

use crate::motion::{MAX_COMPONENT, MotionVector};

/// Tries the neighbours of a vector at a distance of `step` quarter samples: along both axes, then the diagonal one between the
/// better ones of both. `cost` is called with each and says what it costs.
pub(super) fn try_around(centre: MotionVector, step: i16, mut cost: impl FnMut(MotionVector) -> u64) {
    let mut at = |dx: i16, dy: i16| moved(centre, step * dx, step * dy).map_or(u64::MAX, &mut cost);
    let [up, left, right, down] = [at(0, -1), at(-1, 0), at(1, 0), at(0, 1)];
    at(if left < right { -1 } else { 1 }, if up < down { -1 } else { 1 });
}

/// A vector's neighbour, if vectors reach that far.
fn moved(vector: MotionVector, dx: i16, dy: i16) -> Option<MotionVector> {
    let moved = MotionVector { x: vector.x + dx, y: vector.y + dy };
    (moved.x.abs().max(moved.y.abs()) <= MAX_COMPONENT).then_some(moved)
}
