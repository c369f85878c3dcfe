//! Notices a discriminator that has run away.

use anyhow::{Result, bail};

/// Steps over which its loss is averaged, about.
const MEMORY: f64 = 300.0;
/// Steps before anything is judged.
const PATIENCE: u64 = 600;
/// ln 2 is a discriminator that guesses. One that is nearly always right teaches nothing any more; one that is nearly
/// always wrong has diverged.
const CERTAIN: f64 = 0.01;
const LOST: f64 = 3.0;

/// Follows the discriminators' loss.
#[derive(Debug)]
pub struct DivergenceWatch {
    mean: f64,
    steps: u64,
}

impl Default for DivergenceWatch {
    fn default() -> Self {
        Self { mean: std::f64::consts::LN_2, steps: 0 }
    }
}

impl DivergenceWatch {
    /// # Errors
    /// If the balance is lost, with what to do about it.
    pub fn observe(&mut self, loss: f64) -> Result<()> {
        self.steps += 1;
        self.mean += (loss - self.mean) / MEMORY;
        if self.steps < PATIENCE {
            return Ok(());
        }
        if self.mean < CERTAIN {
            bail!(
                "the discriminator tells all frames apart (loss {:.4}): lower --discriminator-rate or --adversarial",
                self.mean
            );
        }
        if self.mean > LOST {
            bail!("the discriminator has diverged (loss {:.2}): lower optimiser.learning-rate or discriminators.rate", self.mean);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lasting_imbalance_stops() {
        let mut watch = DivergenceWatch::default();
        assert!((0..2000).all(|i| watch.observe(if i % 10 == 0 { 5.0 } else { 0.4 }).is_ok()));
        let stop = |loss: f64| {
            (0..5000).map(|_| ()).scan(DivergenceWatch::default(), |w, ()| Some(w.observe(loss))).find_map(Result::err)
        };
        assert!(stop(0.0).unwrap().to_string().contains("tells all frames apart"));
        assert!(stop(8.0).unwrap().to_string().contains("diverged"));
        assert!(stop(0.5).is_none());
    }
}
