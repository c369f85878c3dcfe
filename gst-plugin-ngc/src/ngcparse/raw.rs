//! Raw files: times from places, and exact seeks.

use std::collections::BTreeSet;

use gst::subclass::prelude::*;
use gst_base::BaseParseFrame;
use gst_base::prelude::*;

use super::imp::{CAT, NgcParse, Times};
use super::index::{Index, Key};

/// An entry here in the base class's index keeps it from adding its own, which hold delta units too and lead seeks to them.
const BEYOND: u64 = i64::MAX as u64 / 2;

/// What is known of a raw file.
#[derive(Default)]
pub struct Raw {
    index: Index,
    /// Keyframes that the base class has been told of.
    announced: BTreeSet<u64>,
    /// Number in the header of the first frame.
    first: Option<u32>,
}

/// Reads from a pad that is pulled from, else nothing.
fn reader(pad: &gst::Pad) -> impl FnMut(u64, u32) -> Option<Vec<u8>> + use<> {
    let pad = pad.clone();
    move |offset, size| {
        if pad.mode() != gst::PadMode::Pull {
            return None;
        }
        let buffer = pad.pull_range(offset, size).ok()?;
        Some(buffer.map_readable().ok()?.to_vec())
    }
}

impl NgcParse {
    /// Times of a frame of a raw file, by where it lies. `None`: a delta unit of an unknown place.
    pub(super) fn placed(&self, frame: &BaseParseFrame, keyframe: bool) -> Option<Times> {
        let buffer = frame.buffer()?;
        let (offset, size) = (frame.offset(), buffer.size() as u64);
        let key = keyframe.then(|| self.raw_rate());
        let mut read = reader(self.obj().sink_pad());
        let mut state = self.state.lock().unwrap();
        let number = state.frame_number;
        let raw = &mut state.raw;
        let first = *raw.first.get_or_insert(number);
        let placed = raw.index.place(offset, size, key, &mut read);
        // In a source that cannot be read here and there, a keyframe's own number tells.
        let by_number = || key.map(|rate| raw.index.put(offset, size, number.saturating_sub(first).into(), Some(rate)));
        let frame_number = placed.or_else(by_number)?;
        let pts = raw.index.time_of(frame_number);
        let duration = raw.index.time_of(frame_number + 1).checked_sub(pts);
        drop(state);
        if keyframe {
            self.announce([Key { offset, time: pts }]);
        }
        Some(Times { pts, dts: pts, duration })
    }

    /// Tells the base class of keyframes that it does not know yet.
    fn announce(&self, keys: impl IntoIterator<Item = Key>) {
        let element = self.obj();
        let mut told = false;
        for key in keys {
            if self.state.lock().unwrap().raw.announced.insert(key.offset) {
                told |= element.add_index_entry(key.offset, key.time, true, true);
            }
        }
        if told && element.sink_pad().mode() == gst::PadMode::Pull {
            element.add_index_entry(BEYOND, gst::ClockTime::from_nseconds(BEYOND), true, true);
        }
    }

    /// A seek in a raw file as the base class does it exactly: it knows the keyframe to start from, and a seek to a keyframe names
    /// its time. Other events pass unchanged.
    pub(super) fn prepare_seek(&self, event: gst::Event) -> gst::Event {
        let gst::EventView::Seek(seek) = event.view() else { return event };
        let (rate, flags, start_type, start, stop_type, stop) = seek.get();
        let (gst::GenericFormattedValue::Time(Some(start)), gst::GenericFormattedValue::Time(stop)) = (start, stop) else {
            return event;
        };
        let sink = self.obj().sink_pad().clone();
        // What the base class refuses is left to it.
        let possible = start_type == gst::SeekType::Set && matches!(stop_type, gst::SeekType::Set | gst::SeekType::None);
        if !possible || sink.mode() != gst::PadMode::Pull || !self.state.lock().unwrap().started {
            return event;
        }
        let seqnum = event.seqnum();
        // The file is read below, so the streaming thread must not do so at the same time. It is stopped as the base class does it,
        // which ends the flush.
        let flush = flags.contains(gst::SeekFlags::FLUSH);
        if flush {
            let stop = gst::event::FlushStart::builder().seqnum(seqnum).build();
            self.obj().src_pad().push_event(stop.clone());
            sink.push_event(stop);
        } else if let Err(e) = sink.pause_task() {
            gst::debug!(CAT, imp = self, "pausing for a seek: {}", e);
        }
        let _stopped = sink.stream_lock();
        if flush {
            sink.push_event(gst::event::FlushStop::builder(true).seqnum(seqnum).build());
        }
        let snap_after = flags.contains(gst::SeekFlags::SNAP_AFTER);
        let keys = {
            let mut state = self.state.lock().unwrap();
            let until = if rate < 0.0 { stop } else { Some(start).filter(|_| !snap_after) };
            state.raw.index.extend_to(until, &mut reader(&sink));
            state.raw.index.keys().collect::<Vec<_>>()
        };
        self.announce(keys.iter().copied());
        let mut target = start;
        if flags.contains(gst::SeekFlags::KEY_UNIT) && rate > 0.0 {
            target = snap(&keys, start, flags);
        }
        gst::debug!(CAT, imp = self, "seek to {} starts at {}", start, target);
        let flags = (flags | gst::SeekFlags::ACCURATE) - gst::SeekFlags::KEY_UNIT - gst::SeekFlags::SNAP_NEAREST;
        gst::event::Seek::builder(rate, flags, start_type, target, stop_type, stop).seqnum(seqnum).build()
    }
}

/// Time of the keyframe that a seek to `time` with these flags goes to.
fn snap(keys: &[Key], time: gst::ClockTime, flags: gst::SeekFlags) -> gst::ClockTime {
    let before = keys.iter().rev().find(|key| key.time <= time).map(|key| key.time);
    let after = keys.iter().find(|key| key.time >= time).map(|key| key.time);
    let (before_wanted, after_wanted) = (flags.contains(gst::SeekFlags::SNAP_BEFORE), flags.contains(gst::SeekFlags::SNAP_AFTER));
    match (before, after) {
        (Some(before), Some(after)) if before_wanted && after_wanted => {
            if after - time < time - before {
                after
            } else {
                before
            }
        }
        (_, Some(after)) if after_wanted && !before_wanted => after,
        (before, after) => before.or(after).unwrap_or(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeks_to_keyframes_heed_the_side() {
        let keys = [0, 1000, 2000].map(|ms| Key { offset: ms, time: gst::ClockTime::from_mseconds(ms) });
        let to = |ms, flags| snap(&keys, gst::ClockTime::from_mseconds(ms), flags).mseconds();
        use gst::SeekFlags as F;
        assert_eq!([to(1700, F::empty()), to(1700, F::SNAP_BEFORE), to(1700, F::SNAP_AFTER)], [1000, 1000, 2000]);
        assert_eq!([to(1700, F::SNAP_NEAREST), to(1300, F::SNAP_NEAREST), to(1000, F::SNAP_AFTER)], [2000, 1000, 1000]);
        // Behind the last one there is none.
        assert_eq!(to(2500, F::SNAP_AFTER), 2000);
    }
}
