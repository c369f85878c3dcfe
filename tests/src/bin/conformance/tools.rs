//! Programs and stock elements that people use on files, and what they make of NGC.

use std::path::{Path, PathBuf};
use std::process::Command;

use ngc_tests::pipes::run;

use crate::scenarios::count;

pub const FORMATS: [&str; 4] = ["NGC, MP4", "NGC, Matroska", "VP8, Matroska", "H.264, MP4"];
pub const TOOLS: [&str; 8] = [
    "gst-discoverer-1.0",
    "gst-play-1.0",
    "ges-launch-1.0",
    "splitmuxsink",
    "hlssink2",
    "ffprobe",
    "ffmpeg -c copy, to Matroska",
    "ffmpeg -c copy, to MP4",
];
pub const ABOUT: &str =
    "100 frames, 25 a second, with sound. A dash: the tool is not installed, or the format does not go there.";
pub const NOTES: &str = "\
- *gst-discoverer-1.0*: what it calls the video; *gst-play-1.0*: whether it comes to the end.
- *ges-launch-1.0*: a timeline of two clips, seconds 1 to 3 and 0 to 1 of the file, rendered to VP8 at 25 frames a second: 75 frames.
- *splitmuxsink*: a new part every second, then `splitmuxsrc` on all of them.
- *hlssink2*: HLS is MPEG-TS in GStreamer 1.22, which cannot carry NGC. `dashsink` takes NGC and writes a playlist without `codecs`, but in
  1.22 it does not come to its end, with H.264 neither.
- *ffprobe*, *ffmpeg*: version 5.1 of Debian. They know size, rate, times and sound of our files, copy packets into Matroska, from where
  NGC plays again, and neither decode NGC nor write it to MP4. `ffmpeg` says `Decoder (codec none) not found`.
- Clapper and Showtime build on `playbin3`; they were not run, since they need a display.";

struct Case {
    folder: PathBuf,
    file: PathBuf,
    encoder: &'static str,
    muxer: &'static str,
}

impl Case {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Runs a program of the system, with the plugin; its output, or the last line of what it says where it fails.
    fn tool(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("timeout");
        command.arg("50").arg(program).args(arguments).current_dir(&self.folder);
        command.env("GST_PLUGIN_PATH", &self.folder).env("GST_REGISTRY", self.folder.join("registry")).env("G_DEBUG", "");
        let output = command.output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let last = || text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned();
        match output.status.code() {
            Some(0) => Ok(text),
            Some(127) => Err("-".into()),
            _ => Err(format!("error: {}", last())),
        }
    }
}

/// A cell.
pub fn case(format: &str, tool: &str) -> String {
    let folder = std::env::temp_dir().join(format!("ngc-tools-{}", std::process::id()));
    let made = make(format, &folder);
    let result = made.and_then(|case| cell(&case, tool));
    let _ = std::fs::remove_dir_all(folder);
    result.unwrap_or_else(|error| error.split(" (").next().unwrap_or_default().into())
}

fn make(format: &str, folder: &Path) -> Result<Case, String> {
    std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    // The plugin beside this program, for programs of the system.
    let plugin = std::env::current_exe().map_err(|e| e.to_string())?.with_file_name("libgstngc.so");
    std::os::unix::fs::symlink(plugin, folder.join("libgstngc.so")).map_err(|e| e.to_string())?;
    let encoder = match format {
        "VP8, Matroska" => "vp8enc deadline=1 keyframe-max-dist=25",
        "H.264, MP4" => "x264enc key-int-max=25 bframes=0 option-string=scenecut=0 ! h264parse",
        _ => "ngcenc key-int-max=25 scene-cut=false ! ngcparse",
    };
    let (muxer, name) = if format.ends_with("MP4") { ("mp4mux", "a.mp4") } else { ("matroskamux", "a.mkv") };
    let case = Case { folder: folder.into(), file: folder.join(name), encoder, muxer };
    run(&format!(
        "{SOURCE} ! {encoder} ! {muxer} name=m ! filesink location={} \
         audiotestsrc num-buffers=173 ! audioconvert ! audioresample ! opusenc ! m.",
        case.file.display()
    ))?;
    Ok(case)
}

const SOURCE: &str =
    "videotestsrc num-buffers=100 pattern=smpte horizontal-speed=3 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1";

fn cell(case: &Case, tool: &str) -> Result<String, String> {
    let (file, encoder) = (case.file.display().to_string(), case.encoder);
    match tool {
        "gst-discoverer-1.0" => {
            let text = case.tool(tool, &[&file])?;
            let mut names = text.lines().filter_map(|line| line.trim().strip_prefix("video #")?.split_once(": "));
            // The innermost is what is decoded.
            let name = names.next_back().map_or("no video", |(_, name)| name.split(',').next().unwrap_or(name));
            Ok(name.to_owned())
        }
        "gst-play-1.0" => {
            let text = case.tool(tool, &["--no-interactive", "--videosink=fakesink", "--audiosink=fakesink", &file])?;
            Ok(if text.contains("Reached end of play list") && !text.contains("ERROR") { "ok" } else { "it does not end" }.into())
        }
        "ges-launch-1.0" => {
            let out = case.path("ges.mkv");
            let clips = ["+clip", &file, "inpoint=1.0", "duration=2.0", "+clip", &file, "inpoint=0.0", "duration=1.0"];
            let profile = "matroska:video/x-raw,framerate=25/1->video/x-vp8:audio/x-opus".replace("matroska", "video/x-matroska");
            let caps = ["--video-caps", "video/x-raw,width=64,height=48,framerate=25/1", "-o", &out, "-f", &profile];
            case.tool(tool, &[&clips[..], &caps].concat())?;
            // What was rendered is VP8: where playbin3 does not get it started, which happens now and then, NGC has no part in that.
            let rendered = format!("file://{out}");
            let found = count(&rendered);
            Ok(if found.starts_with("error: not Paused") { count(&rendered) } else { found })
        }
        "splitmuxsink" => {
            run(&format!(
                "{SOURCE} ! {encoder} ! splitmuxsink muxer={} max-size-time=1000000000 location={}",
                case.muxer,
                case.path("part%02d")
            ))?;
            let parts = std::fs::read_dir(&case.folder).map_err(|e| e.to_string())?.flatten();
            let parts = parts.filter(|e| e.file_name().to_string_lossy().starts_with("part")).count();
            Ok(format!("{parts} parts, {}", count(&format!("splitmux://{}", case.path("part*")))))
        }
        "hlssink2" => {
            let (list, parts) = (case.path("list"), case.path("part%d.ts"));
            let text = format!("{SOURCE} ! {encoder} ! hlssink2 target-duration=2 playlist-location={list} location={parts}");
            run_or_refused(&text).map(|()| "ok".into())
        }
        "ffprobe" => {
            let entries = "stream=codec_name,width,height,r_frame_rate,nb_read_packets";
            let text = case.tool(
                tool,
                &["-v", "error", "-count_packets", "-select_streams", "v", "-of", "csv=p=0", "-show_entries", entries, &file],
            )?;
            Ok(text.lines().last().unwrap_or_default().replace(',', " ") + " packets")
        }
        _ => {
            let out = case.path(if tool.ends_with("MP4") { "copy.mp4" } else { "copy.mkv" });
            match case.tool("ffmpeg", &["-v", "error", "-i", &file, "-c", "copy", &out]) {
                Ok(_) => Ok(count(&format!("file://{out}"))),
                Err(error) if error == "-" => Err(error),
                Err(_) => Err("refused".into()),
            }
        }
    }
}

/// As [`run`]; elements that cannot be linked are no mistake of the pipeline's.
fn run_or_refused(text: &str) -> Result<(), String> {
    ngc_tests::pipes::init();
    match gst::parse::launch(text) {
        Ok(_) => run(text),
        Err(_) => Err("refused".into()),
    }
}
