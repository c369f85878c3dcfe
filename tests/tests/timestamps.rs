//! Presentation times through containers: gaps, far starts, standing still, going back, and none at all.

use gst::ClockTime;
use ngc_tests::pipes::{feed, shown};

/// Muxer, demuxer, and how exact its times are.
const CONTAINERS: [(&str, &str, ClockTime); 3] = [
    ("matroskamux", "matroskademux", ClockTime::from_mseconds(1)),
    ("mp4mux", "qtdemux", ClockTime::from_useconds(100)),
    ("mp4mux fragment-duration=500", "qtdemux", ClockTime::from_useconds(100)),
];

/// Writes frames with these times in milliseconds to a file, and says at which they are shown.
fn through(muxer: &str, demuxer: &str, rate: &str, times: &[Option<u64>]) -> Vec<ClockTime> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let times: Vec<_> = times.iter().map(|time| time.map(ClockTime::from_mseconds)).collect();
    feed(&times, rate, &format!("ngcparse ! {muxer} ! filesink location=\"{}\"", path.display())).unwrap();
    let source = format!("filesrc location=\"{}\" ! {demuxer} ! ngcparse ! ngcdec threads=1 device=cpu", path.display());
    shown(&source).unwrap().iter().map(|frame| frame.time).collect()
}

/// The times that went in come out of all containers. mp4mux starts all files at zero.
fn are_kept(rate: &str, times: &[u64]) {
    for (muxer, demuxer, exact) in CONTAINERS {
        let wanted: Vec<_> = times.iter().map(|&time| Some(time)).collect();
        let found = through(muxer, demuxer, rate, &wanted);
        assert_eq!(found.len(), times.len(), "{muxer}: {found:?}");
        let start = if muxer.starts_with("mp4mux") { times[0] } else { 0 };
        for (found, &wanted) in found.iter().zip(times) {
            let wanted = ClockTime::from_mseconds(wanted - start);
            assert!(found.absdiff(wanted) <= exact, "{muxer}: {found} and not {wanted}");
        }
    }
}

#[test]
fn frames_after_a_gap_keep_their_times() {
    are_kept("25/1", &[0, 40, 80, 400, 440, 480, 520, 800]);
}

#[test]
fn variable_frame_rates_are_kept_to_the_last_frame() {
    are_kept("0/1", &[0, 17, 90, 100, 350, 360]);
}

#[test]
fn hours_without_a_frame_are_kept() {
    are_kept("25/1", &[0, 40, 3 * 3_600_000, 3 * 3_600_000 + 40]);
}

#[test]
fn a_start_far_from_zero_is_kept() {
    are_kept("25/1", &[7_200_000, 7_200_040, 7_200_080, 7_200_500]);
}

#[test]
fn equal_times_lose_no_frame() {
    are_kept("25/1", &[0, 40, 40, 40, 80, 80, 120, 160]);
}

#[test]
fn times_that_go_back_lose_no_frame() {
    let times = [0, 40, 80, 40, 80, 120, 160, 200];
    let wanted = times.map(Some);
    for (muxer, demuxer, _) in CONTAINERS {
        let found = through(muxer, demuxer, "25/1", &wanted);
        assert_eq!(found.len(), times.len(), "{muxer}: {found:?}");
        assert!(found.windows(2).all(|pair| pair[0] <= pair[1]), "{muxer}: {found:?}");
    }
    // Matroska has one time a frame: the frames stand still until the time is beyond where it was.
    let matroska = through("matroskamux", "matroskademux", "25/1", &wanted);
    let milliseconds: Vec<_> = matroska.iter().map(|time| time.mseconds()).collect();
    assert_eq!(milliseconds, [0, 40, 80, 80, 80, 120, 160, 200]);
}

#[test]
fn frames_without_times_follow_each_other_at_the_frame_rate() {
    for (muxer, demuxer, _) in CONTAINERS {
        // An unknown frame rate counts as 25 a second.
        for (rate, times) in [("50/1", [None; 4].as_slice()), ("50/1", &[Some(0), None, None, None]), ("0/1", &[None; 4])] {
            let step = if rate == "50/1" { 20 } else { 40 };
            let found: Vec<_> = through(muxer, demuxer, rate, times).iter().map(|time| time.mseconds()).collect();
            assert_eq!(found, [0, step, 2 * step, 3 * step], "{muxer} {rate}");
        }
    }
}
