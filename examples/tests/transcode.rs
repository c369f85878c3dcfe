//! `ngc-transcode`: what is kept, what comes out of odd inputs, and how it fails.

mod common;

use std::process::{Command, Output};

use common::{Folder, flash_and_beep, program, text};
use gst::prelude::*;
use serde_json::Value;

fn command(folder: &Folder, input: &str, output: &str, options: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_ngc-transcode"));
    command.args([folder.name(input), folder.name(output)]).args(["--json"]).args(options);
    command
}

fn transcode(folder: &Folder, input: &str, output: &str, options: &[&str]) -> Output {
    command(folder, input, output, options).output().unwrap()
}

/// Runs it, and gives its line of JSON.
fn result(folder: &Folder, input: &str, output: &str, options: &[&str]) -> Value {
    let ran = transcode(folder, input, output, options);
    assert!(ran.status.success(), "{input} {output}: {}", text(&ran));
    let lines = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    serde_json::from_str(&lines).unwrap()
}

const FAST: [&str; 4] = ["--set", "threads=1", "--set", "speed-preset=fast"];
const CHECKED: [&str; 5] = ["--set", "threads=1", "--set", "speed-preset=fast", "--verify"];

/// Ten frames of a size and format.
fn frames(caps: &str) -> String {
    format!("videotestsrc num-buffers=10 pattern=ball ! video/x-raw,width=64,height=48,framerate=25/1{caps} ! videoconvert ")
}

/// Ten frames, two tracks of sound in codecs that MP4 takes and does not take, subtitles, tags and two chapters.
fn film(folder: &Folder) {
    std::fs::write(folder.path("text.srt"), "1\n00:00:00,100 --> 00:00:00,200\nTom & <i>Ann</i>\n\n").unwrap();
    let pipeline = ngc_tests::pipes::launch(&format!(
        "{} ! x264enc ! h264parse ! matroskamux name=m ! filesink location=\"{}\" \
         audiotestsrc num-buffers=20 ! audioconvert ! avenc_aac ! taginject tags=\"language-code=en\" ! aacparse ! m.audio_0 \
         audiotestsrc num-buffers=20 ! audioconvert ! vorbisenc ! taginject tags=\"language-code=de\" ! m.audio_1 \
         filesrc location=\"{}\" ! subparse ! text/x-raw,format=pango-markup ! capssetter caps=text/x-raw,format=utf8 join=false replace=true ! m.",
        frames(",format=I420"),
        folder.name("film.mkv"),
        folder.name("text.srt")
    ));
    let muxer = pipeline.by_name("m").unwrap();
    let mut toc = gst::Toc::new(gst::TocScope::Global);
    for number in 0..2i64 {
        let mut chapter = gst::TocEntry::new(gst::TocEntryType::Chapter, &format!("c{number}"));
        chapter.get_mut().unwrap().set_start_stop_times(number * 200_000_000, (number + 1) * 200_000_000);
        let mut tags = gst::TagList::new();
        tags.get_mut().unwrap().add::<gst::tags::Title>(&format!("Part {number}").as_str(), gst::TagMergeMode::Append);
        chapter.get_mut().unwrap().set_tags(tags);
        toc.get_mut().unwrap().append_entry(chapter);
    }
    muxer.dynamic_cast_ref::<gst::TocSetter>().unwrap().set_toc(Some(&toc));
    muxer.dynamic_cast_ref::<gst::TagSetter>().unwrap().add_tag::<gst::tags::Title>(&"My film", gst::TagMergeMode::Replace);
    pipeline.set_state(gst::State::Playing).unwrap();
    ngc_tests::pipes::finish(&pipeline).unwrap();
}

/// The titles in a file, and the texts of its subtitles.
fn titles_and_text(file: &str, demuxer: &str) -> (Vec<String>, String) {
    let pipeline = ngc_tests::pipes::launch(&format!(
        "filesrc location=\"{file}\" ! {demuxer} name=d d.video_0 ! queue ! fakesink d.subtitle_0 ! queue ! appsink name=out sync=false"
    ));
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let sample = sink.pull_sample().unwrap();
    let words = String::from_utf8(sample.buffer().unwrap().map_readable().unwrap().to_vec()).unwrap();
    let mut titles = Vec::new();
    while let Some(message) = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Tag]) {
        if let gst::MessageView::Tag(tag) = message.view()
            && let Some(found) = tag.tags().get::<gst::tags::Title>()
        {
            titles.push(found.get().to_owned());
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    (titles, words)
}

#[test]
fn tracks_subtitles_tags_and_chapters_are_kept() {
    let folder = Folder::new();
    film(&folder);
    let counts =
        |v: &Value| ["frames", "keyframes", "audio_tracks", "subtitle_tracks", "chapters"].map(|n| v[n].as_u64().unwrap());
    let first = result(&folder, "film.mkv", "a.mkv", &CHECKED);
    assert_eq!(counts(&first), [10, 1, 2, 1, 2], "{first}");
    assert_eq!(first["warnings"].as_array().unwrap().len(), 0, "{first}");
    // What was written holds all of it: it is read, and written again as MP4.
    let second = result(&folder, "a.mkv", "b.mp4", &CHECKED);
    assert_eq!(counts(&second), [10, 1, 2, 1, 0], "{second}");
    assert!(second["warnings"][0].as_str().unwrap().contains("chapters"), "{second}");
    // Tracks have titles, too.
    let has_title = |titles: &[String]| titles.iter().any(|title| title == "My film");
    let (titles, words) = titles_and_text(&folder.name("a.mkv"), "matroskademux");
    assert!(has_title(&titles), "{titles:?}");
    assert!(words.contains("Ann"), "{words}");
    let (titles, words) = titles_and_text(&folder.name("b.mp4"), "qtdemux");
    assert!(has_title(&titles), "{titles:?}");
    assert_eq!(words.trim_end_matches('\0'), "Tom & Ann");
    assert_eq!(folder.names(), ["a.mkv", "b.mp4", "film.mkv", "text.srt"]);
}

/// A flash and a beep at 0.6 s, in frames that come irregularly, all of it two seconds late.
fn irregular(folder: &Folder, name: &str) {
    const LATE: u64 = 2_000_000_000;
    let pipeline = ngc_tests::pipes::launch(&format!(
        "appsrc name=v format=time caps=video/x-raw,format=I420,width=64,height=48,framerate=0/1 ! x264enc bframes=2 ! h264parse ! queue ! m. \
         appsrc name=a format=time caps=audio/x-raw,format=S16LE,rate=48000,channels=1,layout=interleaved ! audioconvert ! avenc_aac ! aacparse \
         ! queue ! matroskamux name=m ! filesink location=\"{}\"",
        folder.name(name)
    ));
    let source = |name: &str| pipeline.by_name(name).and_downcast::<gst_app::AppSrc>().unwrap();
    let (video, audio) = (source("v"), source("a"));
    pipeline.set_state(gst::State::Playing).unwrap();
    let push = |source: &gst_app::AppSrc, time: u64, duration: u64, data: Vec<u8>| {
        let mut buffer = gst::Buffer::from_mut_slice(data);
        let fields = buffer.get_mut().unwrap();
        fields.set_pts(gst::ClockTime::from_nseconds(LATE + time));
        fields.set_duration(gst::ClockTime::from_nseconds(duration));
        source.push_buffer(buffer).unwrap();
    };
    let mut time = 0;
    for step in [40u64, 40, 20, 100, 40, 160, 200, 40, 40, 20, 120, 40, 40] {
        let duration = step * 1_000_000;
        let luma = if time == 600_000_000 { 235 } else { 30 };
        let mut data = vec![luma; 64 * 48];
        data.resize(64 * 48 * 3 / 2, 128);
        push(&video, time, duration, data);
        time += duration;
    }
    for block in 0..45u64 {
        let samples = (0..960u64).flat_map(|n| {
            let loud = block * 960 + n >= 28_800;
            let value = if loud { 16_000 * (1 - 2 * ((n / 48) % 2) as i16) } else { 0 };
            value.to_le_bytes()
        });
        push(&audio, block * 20_000_000, 20_000_000, samples.collect());
    }
    video.end_of_stream().unwrap();
    audio.end_of_stream().unwrap();
    ngc_tests::pipes::finish(&pipeline).unwrap();
}

#[test]
fn sound_and_picture_stay_together() {
    let folder = Folder::new();
    irregular(&folder, "in.mkv");
    let (flash, beep) = flash_and_beep(&folder.name("in.mkv"));
    assert!((flash - beep).abs() < 0.03, "the input itself: {flash} {beep}");
    // Sound as it is, and encoded anew.
    for output in ["out.mkv", "out.mp4"] {
        let told = result(&folder, "in.mkv", output, &CHECKED);
        assert_eq!(told["frames"], 13);
        assert!(told["verify"]["largest_time_difference_ms"].as_f64().unwrap() < 1.1, "{told}");
        let (flash_out, beep_out) = flash_and_beep(&folder.name(output));
        let apart = ((flash_out - beep_out) - (flash - beep)).abs();
        assert!(apart < 0.04, "{output}: {apart} s; {flash_out} {beep_out}, {flash} {beep}");
    }
}

/// Writes into an MP4 file that its pictures are to be turned by 90 degrees.
fn turn(file: &std::path::Path) {
    let mut data = std::fs::read(file).unwrap();
    let header = data.windows(4).position(|w| w == b"tkhd").unwrap();
    let matrix: [i32; 9] = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30];
    for (index, value) in matrix.iter().enumerate() {
        data[header + 4 + 40 + 4 * index..][..4].copy_from_slice(&value.to_be_bytes());
    }
    std::fs::write(file, data).unwrap();
}

/// Size and colorimetry of the first decoded frame.
fn shape(file: &str) -> (i32, i32, String) {
    let pipeline = ngc_tests::pipes::launch(&format!("filesrc location=\"{file}\" ! decodebin ! appsink name=out sync=false"));
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let caps = sink.pull_sample().unwrap().caps_owned().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    let s = caps.structure(0).unwrap();
    (s.get("width").unwrap(), s.get("height").unwrap(), s.get::<String>("colorimetry").unwrap_or_default())
}

#[test]
fn odd_inputs_come_out_right_or_are_refused() {
    let folder = Folder::new();
    let size = |w: u32, h: u32, rest: &str| {
        format!(
            "videotestsrc num-buffers=5 pattern=gradient ! video/x-raw,width={w},height={h},framerate=25/1{rest} ! matroskamux ! {{out}}"
        )
    };
    folder.clip("odd.mkv", &size(61, 43, ",format=I420"));
    folder.clip("rgb.mkv", &size(64, 48, ",format=RGB"));
    folder.clip("tiny.mkv", &size(8, 8, ",format=I420"));
    folder.clip("huge.mkv", &size(8200, 16, ",format=GRAY8"));
    folder
        .clip("ten.mkv", &format!("{} ! video/x-raw,format=I420_10LE ! x265enc ! h265parse ! matroskamux ! {{out}}", frames("")));
    folder.clip(
        "full.mkv",
        "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1,colorimetry=1:4:0:0 ! x264enc ! matroskamux ! {out}",
    );
    folder.clip("turned.mp4", &format!("{} ! video/x-raw,format=I420 ! x264enc ! mp4mux ! {{out}}", frames("")));
    turn(&folder.path("turned.mp4"));
    for (input, output, wanted, warning) in [
        ("odd.mkv", "odd.mp4", (61, 43), ""),
        ("rgb.mkv", "rgb.out.mkv", (64, 48), "half the resolution"),
        ("tiny.mkv", "tiny.out.mkv", (8, 8), ""),
        ("ten.mkv", "ten.mp4", (64, 48), "10 bits"),
        ("full.mkv", "full.mp4", (64, 48), ""),
        ("turned.mp4", "turned.out.mp4", (48, 64), ""),
        ("turned.mp4", "turned.mkv", (48, 64), ""),
    ] {
        let told = result(&folder, input, output, &CHECKED);
        assert!(told["verify"]["psnr_y"].as_f64().unwrap() > 25.0, "{input}: {told}");
        let warnings = told["warnings"].as_array().unwrap();
        assert!(warnings.len() == usize::from(!warning.is_empty()), "{input}: {told}");
        assert!(warnings.iter().all(|w| w.as_str().unwrap().contains(warning)), "{input}: {told}");
        let (width, height, colorimetry) = shape(&folder.name(output));
        assert_eq!((width, height), wanted, "{input}");
        assert!(input != "full.mkv" || colorimetry.starts_with("1:"), "{colorimetry}");
    }
    for (input, output, code, words) in [("tiny.mkv", "x.mp4", 5, "16x16"), ("huge.mkv", "x.mkv", 3, "8192")] {
        let ran = transcode(&folder, input, output, &FAST);
        assert!(ran.status.code() == Some(code) && text(&ran).contains(words), "{input}: {}", text(&ran));
        assert!(!folder.path(output).exists());
    }
}

#[test]
fn failures_have_their_own_exit_status_and_leave_nothing() {
    let folder = Folder::new();
    folder.clip("in.mp4", &format!("{} ! x264enc ! mp4mux ! {{out}}", frames("")));
    folder.clip("sound.mkv", "audiotestsrc num-buffers=5 ! audioconvert ! vorbisenc ! matroskamux ! {out}");
    std::fs::write(folder.path("noise.mp4"), [7; 3000]).unwrap();
    std::fs::write(folder.path("empty.mp4"), []).unwrap();
    std::fs::write(folder.path("there.mkv"), "kept").unwrap();
    let before = folder.names();
    for (input, output, options, code) in [
        ("in.mp4", "out.avi", &[][..], 2),
        ("in.mp4", "out.mkv", &["--quality", "64"], 2),
        ("in.mp4", "out.mkv", &["--set", "sharpness=1"], 2),
        ("in.mp4", "out.mkv", &["--set", "quality=64"], 2),
        ("in.mp4", "out.mkv", &["--set", "model-file=/nowhere"], 2),
        ("in.mp4", "out.mkv", &["--quality", "3", "--bitrate", "100"], 2),
        ("in.mp4", "in.mp4", &["--force"], 2),
        ("missing.mp4", "out.mkv", &[], 3),
        ("noise.mp4", "out.mkv", &[], 3),
        ("empty.mp4", "out.mkv", &[], 3),
        ("sound.mkv", "out.mkv", &[], 3),
        ("in.mp4", "no/folder.mkv", &[], 5),
        ("in.mp4", "there.mkv", &[], 6),
        ("in.mp4", "out.mkv", &["--verify", "--psnr-floor", "99"], 7),
    ] {
        let ran = transcode(&folder, input, output, options);
        assert_eq!(ran.status.code(), Some(code), "{input} {output} {options:?}: {}", text(&ran));
        assert_eq!(folder.names(), before, "{input} {output} {options:?}");
    }
    assert_eq!(std::fs::read_to_string(folder.path("there.mkv")).unwrap(), "kept");
    result(&folder, "in.mp4", "there.mkv", &["--force", "--quality", "50"]);
}

#[test]
fn a_signal_leaves_nothing_and_a_kill_leaves_no_half_file() {
    let folder = Folder::new();
    folder.clip(
        "in.mp4",
        "videotestsrc num-buffers=500 pattern=snow ! video/x-raw,format=I420,width=320,height=240 ! x264enc ! mp4mux ! {out}",
    );
    for (signal, names) in [("INT", &["in.mp4"][..]), ("KILL", &[".out.mp4.part", "in.mp4"])] {
        // Without `timeout`, which would get the signal in its place.
        let mut command = Command::new(env!("CARGO_BIN_EXE_ngc-transcode"));
        let mut child = common::environment(&mut command)
            .args([folder.name("in.mp4"), folder.name("out.mp4"), "--quiet".into()])
            .spawn()
            .unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while std::fs::metadata(folder.path(".out.mp4.part")).map_or(0, |m| m.len()) == 0 && std::time::Instant::now() < deadline
        {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        // While it runs another is turned away.
        if signal == "INT" {
            assert_eq!(transcode(&folder, "in.mp4", "out.mp4", &[]).status.code(), Some(6));
        }
        assert!(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), (signal == "INT").then_some(130));
        assert_eq!(folder.names(), names);
    }
    // What the killed one left is no obstacle.
    folder.clip("in.mp4", &format!("{} ! x264enc ! mp4mux ! {{out}}", frames("")));
    result(&folder, "in.mp4", "out.mp4", &FAST);
    assert_eq!(folder.names(), ["in.mp4", "out.mp4"]);
}

#[test]
fn a_target_size_is_met() {
    let folder = Folder::new();
    folder.clip(
        "in.mkv",
        "videotestsrc num-buffers=150 pattern=smpte horizontal-speed=2 ! video/x-raw,width=96,height=64,framerate=25/1 ! x264enc ! matroskamux name=m ! {out} \
         audiotestsrc num-buffers=258 ! audioconvert ! avenc_aac ! aacparse ! m.",
    );
    for (output, options, target) in [
        ("out.mkv", &["--target-size", "120kB"][..], 120_000),
        ("out.mp4", &["--target-size", "120kB"], 120_000),
        // One second.
        ("short.mp4", &["--target-size", "22kB", "--stop", "1"], 22_000),
    ] {
        let told = result(&folder, "in.mkv", output, &[options, &FAST[..]].concat());
        let bytes = told["bytes"].as_u64().unwrap();
        assert_eq!(bytes, std::fs::metadata(folder.path(output)).unwrap().len());
        assert!((target * 95 / 100..=target).contains(&bytes), "{output}: {told}");
    }
    // Less than sound alone takes.
    assert_eq!(transcode(&folder, "in.mkv", "no.mkv", &["--target-size", "20kB"]).status.code(), Some(2));
    // More than the best quality takes: nothing is tried twice.
    let told = result(&folder, "in.mkv", "large.mkv", &[&["--target-size", "50MB", "--stop", "0.4"], &FAST[..]].concat());
    assert_eq!(told["passes"], 1, "{told}");
}

#[test]
fn parts_are_put_together_without_loss() {
    let folder = Folder::new();
    folder.clip(
        "in.mp4",
        "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,width=64,height=48,framerate=25/1 ! x264enc key-int-max=10 ! mp4mux name=m ! {out} \
         audiotestsrc num-buffers=110 ! audioconvert ! avenc_aac ! aacparse ! m.",
    );
    let part = |name: &str, times: &[&str]| result(&folder, "in.mp4", name, &[times, &["--no-audio"], &CHECKED[..]].concat());
    // One cut is at a keyframe, the other between two frames.
    let parts = [
        part("0.mkv", &["--stop", "0.8"]),
        part("1.mkv", &["--start", "0.8", "--stop", "1.5"]),
        part("2.mkv", &["--start", "1.5"]),
    ];
    assert_eq!(parts.each_ref().map(|p| p["frames"].as_u64().unwrap()), [20, 18, 22]);
    assert_eq!(parts.each_ref().map(|p| p["first_frame_seconds"].as_f64().unwrap()), [0.0, 0.8, 1.52]);
    let places: Vec<_> =
        [("0", 0), ("0.8", 1), ("1.52", 2)].map(|(time, n)| format!("{time}={}", folder.name(&format!("{n}.mkv")))).into();
    let options: Vec<_> = places.iter().flat_map(|place| ["--part", place]).chain(["--verify"]).collect();
    let told = result(&folder, "in.mp4", "all.mkv", &options);
    assert_eq!(["frames", "keyframes", "audio_tracks"].map(|n| told[n].as_u64().unwrap()), [60, 3, 1], "{told}");
    // The frames are those of the parts, byte for byte.
    let units = |file: &str| {
        let source = format!(
            "filesrc location=\"{}\" ! matroskademux name=d d.video_0 ! queue ! ngcparse ! appsink name=out sync=false",
            folder.name(file)
        );
        let pipeline = ngc_tests::pipes::launch(&source);
        let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let mut units = Vec::new();
        while let Ok(sample) = sink.pull_sample() {
            units.push(sample.buffer().unwrap().map_readable().unwrap().to_vec());
        }
        pipeline.set_state(gst::State::Null).unwrap();
        units
    };
    assert_eq!(units("all.mkv"), ["0.mkv", "1.mkv", "2.mkv"].map(units).concat());
    // A part that is missing.
    let ran = transcode(&folder, "in.mp4", "not.mkv", &["--part", "0=/nowhere.mkv"]);
    assert_eq!(ran.status.code(), Some(3), "{}", text(&ran));
}

#[test]
fn what_the_user_has_to_know_is_told_without_a_panic() {
    let folder = Folder::new();
    let source = "videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1";
    folder.clip("whole.mkv", &format!("{source} ! x264enc key-int-max=10 ! matroskamux ! {{out}}"));
    let whole = std::fs::read(folder.path("whole.mkv")).unwrap();
    std::fs::write(folder.path("half.mkv"), &whole[..whole.len() / 2]).unwrap();
    let warnings = |input, output| result(&folder, input, output, &["-q", "50"])["warnings"].to_string();
    assert_eq!(warnings("whole.mkv", "whole.mp4"), "[]");
    assert!(warnings("half.mkv", "half.mp4").contains("the input says that it lasts 4.0 s"));

    let output = transcode(&folder, "half.mkv", "nowhere/a.mkv", &[]);
    assert!(output.status.code() == Some(5) && text(&output).contains("nowhere: there is no such folder"), "{}", text(&output));

    for (start, stop, code, said) in [("2", "1", 2, "before --stop"), ("50", "60", 3, "no frames in this part")] {
        let output = transcode(&folder, "whole.mkv", "part.mkv", &["--start", start, "--stop", stop]);
        assert!(output.status.code() == Some(code) && text(&output).contains(said), "{}", text(&output));
    }

    // Nobody takes the line: an error where it was asked for, and never a panic. The result is there all the same.
    for (options, code) in [(&["--json"][..], 5), (&[], 0)] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = program(env!("CARGO_BIN_EXE_ngc-transcode"));
        command.args([folder.name("half.mkv"), folder.name("full.mkv")]).arg("--force").args(options);
        let output = command.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(!text(&output).contains("panicked") && folder.path("full.mkv").exists(), "{}", text(&output));
    }
}
