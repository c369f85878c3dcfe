//! From every container or stream into every other without coding again: the same frames at the same times.

use gst::ClockTime;
use ngc_tests::pipes::{Shown, run, shown};

/// How a form is written by what follows `ngcparse`, and how it is read up to the `ngcparse` that follows.
struct Form {
    name: &'static str,
    write: &'static str,
    read: &'static str,
}

const FORMS: [Form; 4] = [
    Form { name: "raw", write: "", read: "" },
    Form { name: "MP4", write: "! mp4mux", read: "! qtdemux" },
    Form { name: "fragmented MP4", write: "! mp4mux fragment-duration=200", read: "! qtdemux" },
    Form { name: "Matroska", write: "! matroskamux", read: "! matroskademux" },
];

/// Fifteen frames at 25 a second with keyframes at 0 and 10.
const SOURCE: &str = "videotestsrc num-buffers=15 pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 \
    ! ngcenc threads=1 device=cpu speed-preset=fast key-int-max=10 scene-cut=false ! ngcparse";

struct Files {
    dir: tempfile::TempDir,
    frames: Vec<Shown>,
}

impl Files {
    /// A file of each form.
    fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
            frames: shown(&format!("{SOURCE} ! ngcdec threads=1 device=cpu")).unwrap(),
        };
        for (number, form) in FORMS.iter().enumerate() {
            run(&format!("{SOURCE} {} ! filesink location=\"{}\"", form.write, files.path(number))).unwrap();
        }
        files
    }

    fn path(&self, number: usize) -> String {
        self.dir.path().join(format!("in{number}")).display().to_string()
    }

    /// Reads a file as far as its parser.
    fn read(&self, number: usize) -> String {
        format!("filesrc location=\"{}\" {} ! ngcparse", self.path(number), FORMS[number].read)
    }

    /// Checks the frames that a source shows.
    fn check(&self, what: &str, source: &str) {
        let found = shown(&format!("{source} ! ngcdec threads=1 device=cpu")).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(found.len(), self.frames.len(), "{what}");
        for (found, wanted) in found.iter().zip(&self.frames) {
            assert_eq!(found.sum, wanted.sum, "{what}: another picture at {}", found.time);
            // Matroska counts in milliseconds.
            assert!(
                found.time.absdiff(wanted.time) <= ClockTime::from_mseconds(1),
                "{what}: {} and not {}",
                found.time,
                wanted.time
            );
        }
    }
}

#[test]
fn from_each_form_into_each() {
    let files = Files::new();
    let target = files.dir.path().join("out").display().to_string();
    for (number, from) in FORMS.iter().enumerate() {
        for into in &FORMS {
            let what = format!("{} into {}", from.name, into.name);
            run(&format!("{} {} ! filesink location=\"{target}\"", files.read(number), into.write))
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            files.check(&what, &format!("filesrc location=\"{target}\" {} ! ngcparse", into.read));
        }
    }
}

#[test]
fn from_each_form_into_rtp() {
    let files = Files::new();
    for (number, from) in FORMS.iter().enumerate() {
        let source = format!("{} ! rtpgstpay ! rtpgstdepay ! ngcparse", files.read(number));
        files.check(&format!("{} into RTP", from.name), &source);
    }
}

#[test]
fn from_rtp_into_each_form() {
    let files = Files::new();
    let target = files.dir.path().join("out").display().to_string();
    for (number, into) in FORMS.iter().enumerate() {
        let source = format!("{} ! rtpgstpay ! rtpgstdepay ! ngcparse", files.read(number));
        run(&format!("{source} {} ! filesink location=\"{target}\"", into.write))
            .unwrap_or_else(|e| panic!("{}: {e}", into.name));
        files.check(&format!("RTP into {}", into.name), &format!("filesrc location=\"{target}\" {} ! ngcparse", into.read));
    }
}

#[test]
fn from_each_form_into_split_files() {
    let files = Files::new();
    for (number, from) in FORMS.iter().enumerate() {
        for (muxer, demuxer) in [("mp4mux", "qtdemux"), ("matroskamux", "matroskademux")] {
            let what = format!("{} into split files of {muxer}", from.name);
            let dir = tempfile::tempdir().unwrap();
            let pattern = dir.path().join("part%d");
            run(&format!(
                "{} ! splitmuxsink muxer-factory={muxer} max-size-time=400000000 location=\"{}\"",
                files.read(number),
                pattern.display()
            ))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
            // Each part starts with a keyframe and plays by itself.
            let sums = [0, 1].map(|part| {
                let path = dir.path().join(format!("part{part}"));
                let source =
                    format!("filesrc location=\"{}\" ! {demuxer} ! ngcparse ! ngcdec threads=1 device=cpu", path.display());
                shown(&source).unwrap_or_else(|e| panic!("{what}, part {part}: {e}")).iter().map(|f| f.sum).collect::<Vec<_>>()
            });
            let wanted: Vec<_> = files.frames.iter().map(|f| f.sum).collect();
            assert_eq!(sums.concat(), wanted, "{what}");
        }
    }
}

#[test]
fn a_raw_stream_of_unknown_frame_rate_goes_into_containers_at_25_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let (raw, file) = (dir.path().join("raw.ngc"), dir.path().join("file"));
    ngc_tests::pipes::feed(
        &[0, 500, 900].map(|t| Some(ClockTime::from_mseconds(t))),
        "0/1",
        &format!("filesink location=\"{}\"", raw.display()),
    )
    .unwrap();
    for (muxer, demuxer) in [("mp4mux", "qtdemux"), ("matroskamux", "matroskademux")] {
        run(&format!("filesrc location=\"{}\" ! ngcparse ! {muxer} ! filesink location=\"{}\"", raw.display(), file.display()))
            .unwrap();
        let frames =
            shown(&format!("filesrc location=\"{}\" ! {demuxer} ! ngcparse ! ngcdec threads=1 device=cpu", file.display()));
        let times: Vec<_> = frames.unwrap().iter().map(|f| f.time.mseconds()).collect();
        assert_eq!(times, [0, 40, 80], "{muxer}");
    }
}
