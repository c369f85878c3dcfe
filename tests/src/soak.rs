//! A pipeline under random events: what applications do to elements over hours, in short.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Sizes that the video changes between.
const SIZES: [(i32, i32); 4] = [(160, 96), (96, 64), (65, 49), (192, 112)];
/// Nothing coming out for so long is a hang.
const STALL: Duration = Duration::from_secs(20);

/// What happened.
#[derive(Debug, Default)]
pub struct Outcome {
    pub frames_in: u64,
    pub frames_out: u64,
    pub corrupted: u64,
    pub events: u64,
}

struct Soak {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
    encoder: gst::Element,
    decoder: gst::Element,
    /// Units to damage: 1 flips a bit, 2 drops the unit.
    damage: Arc<AtomicU32>,
    random: ChaCha8Rng,
    size: (i32, i32),
    number: u64,
    outcome: Outcome,
}

/// Runs for `seconds`.
///
/// # Errors
/// What went wrong: an error message on the bus, a hang, a frame of a wrong size.
pub fn run(seconds: u64, seed: u64) -> Result<Outcome, String> {
    gst::init().map_err(|e| e.to_string())?;
    gstngc::plugin_register_static().map_err(|e| e.to_string())?;
    let mut soak = Soak::new(seed)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let result = soak.drive(end);
    let _ = soak.pipeline.set_state(gst::State::Null);
    result.map(|()| soak.outcome)
}

impl Soak {
    fn new(seed: u64) -> Result<Self, String> {
        let pipeline = gst::parse::launch(
            "appsrc name=in format=time max-buffers=4 block=true ! ngcenc name=enc threads=1 device=cpu ! ngcparse name=parse \
             ! ngcdec name=dec threads=1 device=cpu ! appsink name=out sync=false max-buffers=1000",
        )
        .map_err(|e| e.to_string())?
        .downcast::<gst::Pipeline>()
        .map_err(|_| "not a pipeline")?;
        let named = |name: &str| pipeline.by_name(name).ok_or("an element is missing");
        let damage = Arc::new(AtomicU32::new(0));
        let order = Arc::clone(&damage);
        let pad = named("parse")?.static_pad("src").ok_or("the parser has a source pad")?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| match order.swap(0, Ordering::Relaxed) {
            1 => {
                if let Some(buffer) = info.buffer_mut()
                    && let Ok(mut map) = buffer.make_mut().map_writable()
                {
                    let middle = map.len() / 2;
                    map[middle] ^= 0x10;
                }
                gst::PadProbeReturn::Ok
            }
            2 => gst::PadProbeReturn::Drop,
            _ => gst::PadProbeReturn::Ok,
        });
        let soak = Self {
            source: named("in")?.downcast().map_err(|_| "not an appsrc")?,
            sink: named("out")?.downcast().map_err(|_| "not an appsink")?,
            encoder: named("enc")?,
            decoder: named("dec")?,
            pipeline,
            damage,
            random: ChaCha8Rng::seed_from_u64(seed),
            size: SIZES[0],
            number: 0,
            outcome: Outcome::default(),
        };
        soak.set_caps();
        soak.pipeline.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
        Ok(soak)
    }

    fn set_caps(&self) {
        let caps = gst_video::VideoCapsBuilder::new()
            .format(gst_video::VideoFormat::I420)
            .width(self.size.0)
            .height(self.size.1)
            .framerate(gst::Fraction::new(25, 1))
            .build();
        self.source.set_caps(Some(&caps));
    }

    fn drive(&mut self, end: Instant) -> Result<(), String> {
        let mut last_out = Instant::now();
        while Instant::now() < end {
            self.push()?;
            if self.take()? > 0 {
                last_out = Instant::now();
            } else if last_out.elapsed() > STALL {
                return Err(format!("nothing comes out any more after {} frames", self.number));
            }
            if self.random.random_range(0..8) == 0 {
                self.event()?;
                self.outcome.events += 1;
            }
            self.check_bus()?;
        }
        self.source.end_of_stream().map_err(|e| format!("end of stream: {e}"))?;
        while let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::from_seconds(20)) {
            self.count(&sample)?;
        }
        if !self.sink.is_eos() {
            return Err("the end of the stream does not arrive".into());
        }
        self.check_bus()
    }

    fn push(&mut self) -> Result<(), String> {
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, self.size.0 as u32, self.size.1 as u32)
            .build()
            .map_err(|e| e.to_string())?;
        let number = self.number;
        let data: Vec<u8> = (0..info.size() as u64).map(|i| (((i / 5 + number * 3) % 90) * 2 + 40) as u8).collect();
        let mut buffer = gst::Buffer::from_mut_slice(data);
        let target = buffer.get_mut().ok_or("a new buffer")?;
        target.set_pts(gst::ClockTime::from_mseconds(40 * number));
        target.set_duration(gst::ClockTime::from_mseconds(40));
        self.number += 1;
        self.outcome.frames_in += 1;
        self.source.push_buffer(buffer).map(|_| ()).map_err(|e| format!("frame {number}: {e}"))
    }

    /// Takes what has come out; gives back how many frames.
    fn take(&mut self) -> Result<usize, String> {
        let mut count = 0;
        while let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::ZERO) {
            self.count(&sample)?;
            count += 1;
        }
        Ok(count)
    }

    fn count(&mut self, sample: &gst::Sample) -> Result<(), String> {
        let (caps, buffer) = (sample.caps().ok_or("no caps")?, sample.buffer().ok_or("no buffer")?);
        let info = gst_video::VideoInfo::from_caps(caps).map_err(|e| e.to_string())?;
        if !SIZES.contains(&(info.width() as i32, info.height() as i32)) || buffer.size() < info.size() {
            return Err(format!("a frame of {} bytes with caps {caps}", buffer.size()));
        }
        self.outcome.frames_out += 1;
        self.outcome.corrupted += u64::from(buffer.flags().contains(gst::BufferFlags::CORRUPTED));
        Ok(())
    }

    fn event(&mut self) -> Result<(), String> {
        let choose = |random: &mut ChaCha8Rng, values: &[&'static str]| values[random.random_range(0..values.len())];
        match self.random.random_range(0..11) {
            0 => {
                self.size = SIZES[self.random.random_range(0..SIZES.len())];
                self.set_caps();
            }
            1 => {
                let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
                self.sink.static_pad("sink").ok_or("a sink pad")?.push_event(event);
            }
            2 => {
                // A flush from the source, as a seek makes it.
                self.source.send_event(gst::event::FlushStart::new());
                self.source.send_event(gst::event::FlushStop::builder(false).build());
            }
            3 => self.encoder.set_property("quality", self.random.random_range(0..64u32)),
            4 => self.encoder.set_property_from_str("rate-control", choose(&mut self.random, &["quality", "vbr", "cbr"])),
            5 => self.encoder.set_property("bitrate", 20 + self.random.random_range(0..500u32)),
            6 => self.encoder.set_property("key-int-max", self.random.random_range(0..40u32)),
            7 => self.decoder.set_property_from_str("conceal", choose(&mut self.random, &["none", "freeze", "predict"])),
            8 => self.damage.store(1, Ordering::Relaxed),
            9 => self.damage.store(2, Ordering::Relaxed),
            _ => {
                for state in [gst::State::Paused, gst::State::Playing] {
                    self.pipeline.set_state(state).map_err(|e| e.to_string())?;
                }
            }
        }
        Ok(())
    }

    fn check_bus(&self) -> Result<(), String> {
        let bus = self.pipeline.bus().ok_or("a pipeline has a bus")?;
        match bus.pop_filtered(&[gst::MessageType::Error]).as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(e)) => Err(format!("after {} frames: {} {:?}", self.number, e.error(), e.debug())),
            _ => Ok(()),
        }
    }
}
