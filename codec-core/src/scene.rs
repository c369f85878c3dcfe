//! Scene cuts, by what prediction costs.

/// A new scene starts where the prediction from the last frame costs this share of what the frame costs by itself.
///
/// Fast motion, fades and flashes stay below: their structure is still found in the last frame.
const CUT_SHARE: f64 = 0.9;

/// Whether a frame starts a new scene. `inter_cost` and `intra_cost`: see [`Found`](crate::motion::Found).
pub fn starts_anew(inter_cost: u64, intra_cost: u64) -> bool {
    inter_cost > 0 && inter_cost as f64 >= CUT_SHARE * intra_cost as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_nothing_predicts_starts_a_scene() {
        assert!(starts_anew(1000, 1000) && starts_anew(900, 1000) && !starts_anew(899, 1000));
        // A black frame after a black frame costs nothing either way.
        assert!(!starts_anew(0, 0));
    }
}
