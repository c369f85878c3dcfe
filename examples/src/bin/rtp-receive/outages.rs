//! How long pictures were damaged.

/// Frames as they are shown.
#[derive(Clone, Debug, Default)]
pub struct Outages {
    pub frames: u64,
    pub damaged: u64,
    /// Times from the last whole picture to the next, in nanoseconds: how many, the longest, all together.
    pub count: u64,
    pub longest: u64,
    pub total: u64,
    since: Option<u64>,
    whole: Option<u64>,
}

impl Outages {
    /// Notes a frame that is shown at `time`, in nanoseconds.
    pub fn frame(&mut self, time: u64, damaged: bool) {
        self.frames += 1;
        if damaged {
            self.damaged += 1;
            // Lost frames need not be shown at all: it began with the last whole one.
            self.since.get_or_insert(self.whole.unwrap_or(time));
            return;
        }
        self.whole = Some(time);
        if let Some(since) = self.since.take() {
            let outage = time.saturating_sub(since);
            self.count += 1;
            self.total += outage;
            self.longest = self.longest.max(outage);
        }
    }

    /// Milliseconds of the mean outage.
    pub fn mean(&self) -> f64 {
        self.total as f64 / self.count.max(1) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::Outages;

    #[test]
    fn outages_go_from_a_whole_frame_to_the_next() {
        let mut outages = Outages::default();
        for (time, damaged) in [(0, false), (40, true), (80, true), (120, false), (160, true), (200, false), (240, true)] {
            outages.frame(time * 1_000_000, damaged);
        }
        assert_eq!((outages.frames, outages.damaged, outages.count), (7, 4, 2));
        assert_eq!((outages.longest, outages.total), (120_000_000, 200_000_000));
        assert!((outages.mean() - 100.0).abs() < 1e-9);
    }
}
