//! What changes while a stage runs: learning rate, unroll length, budgets.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// How long a stage lasts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    Steps(u64),
    /// Wall-clock seconds, counted over all runs.
    Seconds(f64),
}

impl Budget {
    /// Share of the stage that is done, from 0; the stage ends at 1.
    pub fn fraction(&self, steps: u64, seconds: f64) -> f64 {
        match *self {
            Self::Steps(total) => steps as f64 / total as f64,
            Self::Seconds(total) => seconds / total,
        }
    }
}

/// Parses a duration such as `90s`, `20m`, `1h 30m`.
pub fn parse_seconds(text: &str) -> Result<f64, String> {
    let duration = humantime::parse_duration(text).map_err(|e| format!("{text}: {e}; write 90s, 20m or 1h 30m"))?;
    if duration.is_zero() { Err(format!("{text}: no time at all")) } else { Ok(duration.as_secs_f64()) }
}

/// Learning rate relative to its peak: 3 % linear warm-up, then a cosine down to 2 %.
pub fn rate_factor(fraction: f64) -> f64 {
    const WARM_UP: f64 = 0.03;
    if fraction < WARM_UP {
        fraction / WARM_UP
    } else {
        0.02 + 0.98 * 0.5 * (1.0 + (std::f64::consts::PI * fraction.min(1.0)).cos())
    }
}

/// Unroll lengths T (frames per clip, I-frame included) with their shares of the stage: the article's staged unrolling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unroll(Vec<(usize, f64)>);

impl Unroll {
    /// Parses `2:1,3:1.5,4:2`: T and share.
    pub fn parse(text: &str) -> Result<Self> {
        let mut stages = Vec::new();
        for part in text.split(',') {
            let (frames, share) = part.split_once(':').unwrap_or((part, "1"));
            let (Ok(frames), Ok(share)) = (frames.trim().parse::<usize>(), share.trim().parse::<f64>()) else {
                bail!("unroll {part:?}: write T:share, such as 2:1,3:1.5,6:2");
            };
            if !(2..=64).contains(&frames) || share.is_nan() || share <= 0.0 {
                bail!("unroll {part:?}: T lies in 2..=64 and the share is positive");
            }
            stages.push((frames, share));
        }
        Ok(Self(stages))
    }

    /// T at this share of the stage.
    pub fn at(&self, fraction: f64) -> usize {
        let total: f64 = self.0.iter().map(|(_, share)| share).sum();
        let mut end = 0.0;
        for (frames, share) in &self.0 {
            end += share / total;
            if fraction < end {
                return *frames;
            }
        }
        self.0.last().expect("parse leaves at least one").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unroll_follows_its_shares() {
        let unroll = Unroll::parse("2:1,3:1,6:2").unwrap();
        assert_eq!([0.0, 0.24, 0.26, 0.49, 0.51, 1.0].map(|f| unroll.at(f)), [2, 2, 3, 3, 6, 6]);
        assert!(Unroll::parse("1:1").is_err());
        assert!(Unroll::parse("a").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_seconds("90s"), Ok(90.0));
        assert_eq!(parse_seconds("1.5h"), Ok(5400.0));
        assert_eq!(parse_seconds("1h 30m"), Ok(5400.0));
        assert!(["90", "0s", "m", "1x"].iter().all(|text| parse_seconds(text).is_err()));
        assert!(parse_seconds("-3m").is_err());
    }

    #[test]
    fn rate_warms_up_and_decays() {
        assert_eq!(rate_factor(0.0), 0.0);
        assert!((rate_factor(0.03) - 1.0).abs() < 0.01);
        assert!((rate_factor(1.0) - 0.02).abs() < 1e-9);
    }
}
