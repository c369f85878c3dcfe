//! RTP with lost packets: no error, nothing damaged passes for whole, and one request brings a keyframe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use ngc_tests::decode;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One packet in twenty.
const LOSS: u32 = 20;

fn frames() -> u32 {
    // A minute at 25 frames a second, or ten seconds.
    if std::env::var_os("NGC_LONG").is_some() { 1500 } else { 250 }
}

/// Units with their times, shared with a pad's probe.
type Units = Arc<Mutex<Vec<(gst::ClockTime, Vec<u8>)>>>;

/// Remembers the units that pass a pad, by their times.
fn record(pad: &gst::Pad) -> Units {
    let units = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&units);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let buffer = info.buffer().unwrap();
        store.lock().unwrap().push((buffer.pts().unwrap(), buffer.map_readable().unwrap().to_vec()));
        gst::PadProbeReturn::Ok
    });
    units
}

/// Drops packets at random, the same ones every time; counts them.
fn lose(pad: &gst::Pad) -> Arc<Mutex<u32>> {
    let lost = Arc::new(Mutex::new(0));
    let count = Arc::clone(&lost);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut keep = move || !random.random_ratio(1, LOSS);
    let filter = Mutex::new(move |number: &mut u32| {
        *number += 1;
        // The first packets carry the caps and the first keyframe; a receiver that misses them has to wait.
        *number < 10 || keep()
    });
    let number = Mutex::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let pass = || {
            let kept = filter.lock().unwrap()(&mut number.lock().unwrap());
            *count.lock().unwrap() += u32::from(!kept);
            kept
        };
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(_)) if !pass() => return gst::PadProbeReturn::Drop,
            Some(gst::PadProbeData::BufferList(list)) => {
                let mut kept = gst::BufferList::new();
                list.iter_owned().filter(|_| pass()).for_each(|b| kept.get_mut().unwrap().add(b));
                *list = kept;
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    lost
}

#[test]
fn five_percent_loss_is_survived() {
    gst::init().unwrap();
    gstngc::plugin_register_static().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc num-buffers={} pattern=smpte horizontal-speed=3 ! video/x-raw,format=I420,width=160,height=96,framerate=25/1 \
         ! ngcenc name=enc threads=1 device=cpu key-int-max=0 quality=30 lookahead=0 ! ngcparse \
         ! rtpgstpay name=pay config-interval=1 mtu=1400 ! rtpgstdepay ! ngcparse \
         ! ngcdec name=dec threads=1 device=cpu ! appsink name=out sync=false",
        frames()
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let pad = |element: &str, name: &str| pipeline.by_name(element).unwrap().static_pad(name).unwrap();
    let units = record(&pad("enc", "src"));
    let lost = lose(&pad("pay", "src"));
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut shown = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let buffer = sample.buffer_owned().unwrap();
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let corrupted = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
        let luma = buffer.map_readable().unwrap()[..info.stride()[0] as usize * 96].to_vec();
        shown.push((buffer.pts().unwrap(), corrupted, luma));
    }
    let error = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(error.is_none(), "{error:?}");

    let units = units.lock().unwrap();
    let lost = *lost.lock().unwrap();
    assert_eq!(units.len() as u32, frames());
    assert!(lost > frames() / 60, "{lost} packets lost");
    // What the decoder shows as whole is what it would show without any loss.
    let reference: HashMap<gst::ClockTime, Vec<u8>> = units
        .iter()
        .zip(decode(1, units.iter().map(|(_, data)| data.as_slice())))
        .map(|((time, _), frame)| (*time, frame.frame.plane(0).data.clone()))
        .collect();
    let (mut whole, mut run, mut longest) = (0, 0, 0);
    for (time, corrupted, luma) in &shown {
        if *corrupted {
            run += 1;
            longest = longest.max(run);
            continue;
        }
        run = 0;
        whole += 1;
        assert_eq!(luma, &reference[time], "the frame at {time} is damaged and not flagged");
    }
    let keyframes = units.iter().filter(|(_, data)| data[3] == 0x81).count() as u32;
    assert!(keyframes > 1 && keyframes <= lost + 2, "{keyframes} keyframes for {lost} lost packets");
    // The request reaches the encoder before the next frame, unless the keyframe is lost as well.
    assert!(longest <= 6, "{longest} frames in a row were damaged");
    let share = f64::from(whole) / f64::from(frames());
    assert!(share > 0.75, "{whole} whole frames of {}", frames());
    println!(
        "{} frames, {lost} packets lost, {whole} whole, {} concealed, {keyframes} keyframes",
        frames(),
        shown.len() - whole as usize
    );
}
