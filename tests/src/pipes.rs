//! Pipelines of the tests: run one, feed one with given times, and what comes out.

use std::sync::Once;

use gst::prelude::*;

/// Longest that anything here may take.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// What [`finish`] says where a pipeline does not end in time.
const NO_END: &str = "no end";

/// GStreamer with the plugin.
pub fn init() {
    // Registering a plugin again frees the factories of elements that live.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer");
        gstngc::plugin_register_static().expect("the plugin");
    });
}

/// A pipeline from its text.
pub fn launch(text: &str) -> gst::Pipeline {
    init();
    let element = gst::parse::launch(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    element.downcast().unwrap_or_else(|_| panic!("{text}: not a pipeline"))
}

/// Waits for the end, and stops the pipeline.
///
/// # Errors
/// The text of the first error message, with its details.
pub fn finish(pipeline: &gst::Pipeline) -> Result<(), String> {
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let message = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Eos, gst::MessageType::Error]);
    let _ = pipeline.set_state(gst::State::Null);
    match message {
        Some(message) if message.type_() == gst::MessageType::Eos => Ok(()),
        Some(message) => Err(text_of(&message)),
        None => Err(NO_END.into()),
    }
}

fn text_of(message: &gst::Message) -> String {
    match message.view() {
        gst::MessageView::Error(e) => format!("{} ({:?})", e.error(), e.debug()),
        other => format!("{other:?}"),
    }
}

/// Runs a pipeline to its end.
///
/// # Errors
/// As [`finish`].
pub fn run(text: &str) -> Result<(), String> {
    let attempt = || {
        let pipeline = launch(text);
        let _ = pipeline.set_state(gst::State::Playing);
        finish(&pipeline)
    };
    let mut result = attempt();
    // GStreamer 1.22's splitmuxsink at times does not tell that it has ended, whatever the encoder.
    for _ in 0..3 {
        if text.contains("splitmuxsink") && result.as_ref().is_err_and(|error| error == NO_END) {
            result = attempt();
        }
    }
    result
}

/// Encodes 64x48 frames with the given presentation times (`None`: without) at a frame rate, and passes them on to `tail`.
///
/// # Errors
/// As [`finish`].
pub fn feed(times: &[Option<gst::ClockTime>], rate: &str, tail: &str) -> Result<(), String> {
    let pipeline = launch(&format!(
        "appsrc name=in format=time caps=video/x-raw,format=I420,width=64,height=48,framerate={rate} \
         ! ngcenc threads=1 device=cpu speed-preset=fast ! {tail}"
    ));
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().expect("the source");
    let _ = pipeline.set_state(gst::State::Playing);
    for (number, time) in times.iter().enumerate() {
        let mut buffer = gst::Buffer::from_mut_slice(vec![number as u8 * 20; 64 * 48 * 3 / 2]);
        buffer.get_mut().expect("a new buffer").set_pts(*time);
        if source.push_buffer(buffer).is_err() {
            break;
        }
    }
    let _ = source.end_of_stream();
    finish(&pipeline)
}

/// A frame that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub time: gst::ClockTime,
    /// A sum over the samples: equal for equal frames.
    pub sum: u64,
}

impl Shown {
    /// # Panics
    /// If the sample has no time.
    pub fn of(sample: &gst::Sample) -> Self {
        let buffer = sample.buffer().expect("a buffer");
        let map = buffer.map_readable().expect("readable");
        let sum = map.iter().fold(0u64, |sum, &v| sum.wrapping_mul(31).wrapping_add(v.into()));
        Self { time: buffer.pts().expect("a time"), sum }
    }
}

/// Plays a source and gives back all frames.
///
/// # Errors
/// As [`finish`].
pub fn shown(source: &str) -> Result<Vec<Shown>, String> {
    let pipeline = launch(&format!("{source} ! videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false"));
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("the sink");
    let _ = pipeline.set_state(gst::State::Playing);
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let slice = gst::ClockTime::from_mseconds(500);
    let (mut frames, mut waited) = (Vec::new(), gst::ClockTime::ZERO);
    let mut error = None;
    while error.is_none() && waited < PATIENCE && !sink.is_eos() {
        match sink.try_pull_sample(slice) {
            Some(sample) => frames.push(Shown::of(&sample)),
            None => {
                waited += slice;
                error = bus.pop_filtered(&[gst::MessageType::Error]);
            }
        }
    }
    error = error.or_else(|| bus.pop_filtered(&[gst::MessageType::Error]));
    let ended = sink.is_eos();
    let _ = pipeline.set_state(gst::State::Null);
    if let Some(message) = error {
        return Err(text_of(&message));
    }
    if !ended {
        return Err("no end".into());
    }
    Ok(frames)
}
