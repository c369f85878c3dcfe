//! Video that was encoded in parts, put together again without coding it anew.

use gst::prelude::*;
use ngc_examples::{Failure, Kind, drop_gaps, make, nowhere};

use crate::convert::{Chain, link, queue};
use crate::plan::Part;

/// Bytes that wait between the parts and the muxer.
const AHEAD: u64 = 1 << 20;

/// Longest wait for a unit.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Gives the frames of the parts, one part after the other. Each begins with a keyframe.
///
/// # Errors
/// [`Kind::Plugin`].
pub fn chain(pipeline: &gst::Pipeline, parts: &[Part]) -> Result<Chain, Failure> {
    let source = gst_app::AppSrc::builder().format(gst::Format::Time).max_bytes(AHEAD).block(true).build();
    let exit = queue()?;
    link(pipeline, &[source.clone().upcast(), make("ngcparse")?, exit.clone()])?;
    // Nothing is taken before the first call.
    let mut parts = Some(parts.to_vec());
    let callbacks = gst_app::AppSrcCallbacks::builder();
    source.set_callbacks(
        callbacks
            .need_data(move |source, _| {
                if let Some(parts) = parts.take() {
                    let source = source.clone();
                    std::thread::spawn(move || feed(&parts, &source));
                }
            })
            .build(),
    );
    Ok(Chain { entrance: None, exit })
}

fn feed(parts: &[Part], source: &gst_app::AppSrc) {
    for part in parts {
        match pass(part, source) {
            Ok(true) => {}
            // The pipeline stops.
            Ok(false) => return,
            Err(failure) => {
                gst::element_error!(source, gst::ResourceError::Read, ("{}: {failure}", part.file.display()));
                return;
            }
        }
    }
    let _ = source.end_of_stream();
}

/// Passes the frames of a part on; `false` if nobody takes them any more.
fn pass(part: &Part, source: &gst_app::AppSrc) -> Result<bool, Failure> {
    let failed = |text: &str| Failure::new(Kind::Input, text);
    let pipeline = gst::Pipeline::new();
    let (file, parse) = (make("filesrc")?, make("parsebin")?);
    file.set_property("location", &part.file);
    let caps = gst::Caps::builder("video/x-ngc").build();
    let sink = gst_app::AppSink::builder().caps(&caps).sync(false).max_buffers(8).build();
    pipeline.add_many([&file, &parse, sink.upcast_ref()]).map_err(|e| failed(&e.message))?;
    file.link(&parse).map_err(|e| failed(&e.message))?;
    let (weak, target) = (pipeline.downgrade(), sink.static_pad("sink"));
    if let Some(pad) = &target {
        drop_gaps(pad, true);
    }
    parse.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        let video = target.as_ref().filter(|target| !target.is_linked() && pad.can_link(*target));
        if let Some(target) = video.cloned().or_else(|| nowhere(&pipeline)) {
            let _ = pad.link(&target);
        }
    });
    let _ = pipeline.set_state(gst::State::Playing);
    let result = units(part, &pipeline, &sink, source);
    let _ = pipeline.set_state(gst::State::Null);
    result
}

fn units(part: &Part, pipeline: &gst::Pipeline, sink: &gst_app::AppSink, source: &gst_app::AppSrc) -> Result<bool, Failure> {
    let failed = |text: &str| Failure::new(Kind::Input, text);
    let slice = gst::ClockTime::from_mseconds(200);
    let (mut first, mut waited) = (None, gst::ClockTime::ZERO);
    loop {
        let Some(sample) = sink.try_pull_sample(slice) else {
            let message = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
            if let Some(gst::MessageView::Error(error)) = message.as_ref().map(|m| m.view()) {
                return Err(Failure::from_message(error, Kind::Input));
            }
            if sink.is_eos() {
                return if first.is_some() { Ok(true) } else { Err(failed("it holds no frame of NGC")) };
            }
            waited += slice;
            if waited > PATIENCE {
                return Err(failed("no more frames come"));
            }
            continue;
        };
        waited = gst::ClockTime::ZERO;
        let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>()).ok_or_else(|| failed("no times"))?;
        let mut buffer = sample.buffer_owned().ok_or_else(|| failed("an empty frame"))?;
        let time = segment.to_running_time(buffer.pts()).ok_or_else(|| failed("a frame without a time"))?;
        if first.is_none() {
            if buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                return Err(failed("it does not begin with a keyframe"));
            }
            source.set_caps(sample.caps_owned().as_ref());
        }
        let begin = *first.get_or_insert(time);
        let data = buffer.make_mut();
        data.set_pts(part.time + time.saturating_sub(begin));
        data.set_dts(gst::ClockTime::NONE);
        if source.push_buffer(buffer).is_err() {
            return Ok(false);
        }
    }
}
