//! Interlaced and mixed video: every frame's flags come back as they went in, through every container.

use gst::ClockTime;
use gst::prelude::*;
use gst_video::VideoBufferFlags as Flags;
use gst_video::prelude::*;
use ngc_tests::pipes::{finish, launch};

/// Top field first, bottom field first with a repeated field, progressive, one field of either kind.
fn flags() -> [Flags; 6] {
    let interlaced = Flags::INTERLACED;
    [
        Flags::empty(),
        interlaced | Flags::TFF,
        interlaced | Flags::RFF,
        interlaced | Flags::TFF | Flags::RFF,
        interlaced | Flags::ONEFIELD | Flags::TFF,
        interlaced | Flags::ONEFIELD,
    ]
}

fn encode(mode: &str, tail: &str) {
    let pipeline = launch(&format!(
        "appsrc name=in format=time caps=video/x-raw,format=I420,width=64,height=48,framerate=25/1,interlace-mode={mode} \
         ! ngcenc threads=1 device=cpu ! {tail}"
    ));
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (number, flags) in flags().into_iter().enumerate() {
        let mut buffer = gst::Buffer::from_mut_slice(vec![40 * number as u8; 64 * 48 * 3 / 2]);
        let target = buffer.get_mut().unwrap();
        target.set_pts(number as u64 * 40 * ClockTime::MSECOND);
        target.set_video_flags(flags);
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    finish(&pipeline).unwrap();
}

/// Flags of the frames that a file shows.
fn shown(source: &str) -> Vec<Flags> {
    let pipeline = launch(&format!("{source} ! ngcdec threads=1 device=cpu ! appsink name=out sync=false"));
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let all = Flags::INTERLACED | Flags::TFF | Flags::RFF | Flags::ONEFIELD;
    let found =
        std::iter::from_fn(|| sink.pull_sample().ok()).map(|sample| sample.buffer().unwrap().video_flags() & all).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    found
}

#[test]
fn flags_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    for mode in ["mixed", "interleaved"] {
        for (write, read) in [
            ("", "ngcparse"),
            ("ngcparse ! mp4mux !", "qtdemux ! ngcparse"),
            ("ngcparse ! matroskamux !", "matroskademux ! ngcparse"),
        ] {
            encode(mode, &format!("{write} filesink location=\"{}\"", file.display()));
            assert_eq!(shown(&format!("filesrc location=\"{}\" ! {read}", file.display())), flags(), "{mode}, {read}");
        }
    }
}

#[test]
fn progressive_video_has_no_flags() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file.ngc");
    encode("progressive", &format!("filesink location=\"{}\"", file.display()));
    assert_eq!(shown(&format!("filesrc location=\"{}\" ! ngcparse", file.display())), [Flags::empty(); 6]);
}
