//! Scene cuts, by what prediction costs.

/// A new scene starts where the prediction from the last frame costs this share of what the frame costs by itself.
///
/// Fast motion, fades and flashes stay below: their structure is still found in the last frame.
const CUT_SHARE: f64 = 0.9;

/// ... and where prediction leaves so much for each luma sample at least, about two grey levels: the noise of a picture that fades to
/// black is no scene.
const LEAST_COST: f64 = 3.0;

/// Whether a frame of `samples` visible luma samples starts a new scene. `inter_cost` and `intra_cost`: see
/// [`Found`](crate::motion::Found).
pub fn starts_anew(inter_cost: u64, intra_cost: u64, samples: usize) -> bool {
    let inter_cost = inter_cost as f64;
    inter_cost >= CUT_SHARE * intra_cost as f64 && inter_cost > LEAST_COST * samples as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_nothing_predicts_starts_a_scene() {
        assert!(starts_anew(1000, 1000, 100) && starts_anew(900, 1000, 100) && !starts_anew(899, 1000, 100));
        // Next to nothing is to be seen.
        assert!(!starts_anew(1000, 1000, 400) && !starts_anew(0, 0, 100));
    }
}
