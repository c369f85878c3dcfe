//! Presentation times of input that leaves some out.
//!
//! Frames are coded in order of presentation, so a demuxer that knows only the decoding time (Matroska's, for codecs that it does
//! not know) knows both. Where there is neither, the frame rate carries on.

/// Times of the buffers of an input that has times.
#[derive(Debug, Default)]
pub struct InputTimes {
    next: Option<gst::ClockTime>,
}

impl InputTimes {
    /// Forgets what came before, as after a seek.
    pub fn reset(&mut self) {
        self.next = None;
    }

    /// Presentation time of the next buffer, which has the given times; `start` is that of a first one without.
    pub fn of(
        &mut self,
        pts: Option<gst::ClockTime>,
        dts: Option<gst::ClockTime>,
        start: gst::ClockTime,
        step: gst::ClockTime,
    ) -> gst::ClockTime {
        let time = pts.or(dts).or(self.next).unwrap_or(start);
        self.next = Some(time.saturating_add(step));
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_taken_and_the_rest_carried_on() {
        let ms = |n| gst::ClockTime::from_mseconds(n);
        let mut times = InputTimes::default();
        let mut of = |pts: Option<u64>, dts: Option<u64>| times.of(pts.map(ms), dts.map(ms), ms(7), ms(40)).mseconds();
        assert_eq!([of(None, None), of(None, None), of(Some(200), Some(100)), of(None, Some(300))], [7, 47, 200, 300]);
        // Going back and standing still are left as they are.
        assert_eq!([of(Some(100), None), of(Some(100), None), of(None, None)], [100, 100, 140]);
    }
}
