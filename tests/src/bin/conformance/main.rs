//! Behaviour of `ngcenc` and `ngcdec` beside the encoders and decoders that GStreamer users know, as Markdown:
//! `cargo run --release -p ngc-tests --bin conformance > docs/conformance.md`
//!
//! Every element runs in a process of its own, so that a crash or a hang is a result like any other.

mod decoders;
mod encoders;
mod frames;
mod scenarios;
mod situations;
mod tools;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [kind, name, case] if kind == "--encoder" => frames::init(|| encoders::case(name, case)),
        [kind, name, case] if kind == "--decoder" => frames::init(|| decoders::case(name, case)),
        [kind, name, case] if kind == "--situation" => frames::init(|| situations::case(name, case)),
        [kind, name, case] if kind == "--scenario" => println!("{}", scenarios::case(name, case)),
        [kind, name, case] if kind == "--tool" => println!("{}", tools::case(name, case)),
        [] => document(),
        _ => eprintln!("conformance: no arguments are needed"),
    }
}

fn document() {
    println!("# Conformance\n");
    println!("What encoder and decoder elements do in the situations that pipelines put them into, measured on one machine by");
    println!("one command, which also wrote this page:\n");
    println!("```sh\ncargo run --release -p ngc-tests --bin conformance > docs/conformance.md\n```\n");
    gst::init().expect("GStreamer");
    println!("{}. A dash: the element is not installed. `crash` and `hang` (60 s) are what they say.\n", gst::version_string());
    println!("## Encoders\n");
    println!(
        "I420, 64x48 at 30 frames a second, 30 frames from 5 s on, a keyframe forced at frame 10; then one situation a column.\n"
    );
    table("element", &encoders::CASES, &encoders::ELEMENTS, "--encoder");
    println!("\n- *frames*: frames out of 30, and whether all presentation times are exact (some encoders start at 1000 h).");
    println!("- *keyframes*: their numbers; the forced one is 10.");
    println!(
        "- *sizes*: 1x1, 2x2, 17x13, 65x49; *size change*: frames out of 10 + 10, and whether the second part starts with a keyframe."
    );
    println!("- *0/1 fps*: frames out of 6 with irregular times and an unknown frame rate; *flush*: first frame after a flush.");
    println!("\n## Decoders\n");
    println!(
        "30 frames of the element's own encoder, a keyframe every 10. Frame 5 is damaged (frame 0 left out; frames 5 and 6 left"
    );
    println!(
        "out). Each cell: clean frames + frames flagged as corrupted, then E for error messages on the bus and K for keyframe"
    );
    println!("requests upstream.\n");
    table("element", &decoders::CASES, &decoders::ELEMENTS, "--decoder");
    println!("\n## Recordings\n");
    println!(
        "The same pipeline with each encoder, its parser and its decoder, by what public bug reports of other elements are about."
    );
    println!("Small frames, 25 a second; a dash: the format does not go there.\n");
    println!("| situation | {} |", situations::CODECS.join(" | "));
    println!("|---|{}", "---|".repeat(situations::CODECS.len()));
    for situation in situations::SITUATIONS {
        let cells = situations::CODECS.map(|codec| run("--situation", codec, situation));
        println!("| {situation} | {} |", cells.join(" | "));
    }
    println!("\n## Scenarios of gst-validate\n");
    println!(
        "Those for players, played with `playbin3` and looked at frame by frame; Debian 12 has no gst-validate. 100 frames, a keyframe"
    );
    println!("every 25. `ok`: exactly the frames that have to be shown, in their order.\n");
    transposed("scenario", &scenarios::SCENARIOS, &scenarios::FORMATS, "--scenario");
    println!("\n## Tools people use\n");
    println!("{}\n", tools::ABOUT);
    transposed("tool", &tools::TOOLS, &tools::FORMATS, "--tool");
    println!("\n{}", tools::NOTES);
}

fn transposed(title: &str, rows: &[&str], columns: &[&str], kind: &str) {
    println!("| {title} | {} |", columns.join(" | "));
    println!("|---|{}", "---|".repeat(columns.len()));
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|column| run(kind, column, row)).collect();
        println!("| {row} | {} |", cells.join(" | "));
    }
}

fn table(title: &str, cases: &[&str], elements: &[&str], kind: &str) {
    println!("| {title} | {} |", cases.join(" | "));
    println!("|---|{}", "---|".repeat(cases.len()));
    for element in elements {
        let cells: Vec<String> = cases.iter().map(|case| run(kind, element, case)).collect();
        println!("| {element} | {} |", cells.join(" | "));
    }
}

/// One cell, from a process of its own.
fn run(kind: &str, element: &str, case: &str) -> String {
    let program = std::env::current_exe().expect("the path of this program");
    let child = Command::new(program)
        .args([kind, element, case])
        .env("G_DEBUG", if element.starts_with("ngc") || element.starts_with("NGC") { "fatal_warnings" } else { "" })
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return "not started".into() };
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                let mut text = String::new();
                let _ = child.stdout.take().map(|mut out| out.read_to_string(&mut text));
                return if status.success() { text.trim().to_owned() } else { "crash".into() };
            }
            Ok(None) if start.elapsed() < TIMEOUT => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return "hang".into();
            }
        }
    }
}
