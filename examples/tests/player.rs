//! `ngc-player` without a display, and `appsrc-appsink`.

mod common;

use common::{Folder, program, text};

/// Ten frames of NGC, and the same in H.264.
fn clips(folder: &Folder) {
    let source = "videotestsrc num-buffers=10 pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=25/1";
    folder.clip("a.mkv", &format!("{source} ! ngcenc threads=1 speed-preset=fast ! ngcparse ! matroskamux ! {{out}}"));
    folder.clip("b.mp4", &format!("{source} ! x264enc ! mp4mux ! {{out}}"));
}

fn player(folder: &Folder, options: &[&str]) -> (Option<i32>, String) {
    let mut command = program(env!("CARGO_BIN_EXE_ngc-player"));
    command.arg(folder.name("a.mkv")).args(options).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    let output = command.output().unwrap();
    (output.status.code(), text(&output))
}

/// Width and height of a PNG file, from its header.
fn png_size(path: std::path::PathBuf) -> (u32, u32) {
    let data = std::fs::read(path).unwrap();
    assert_eq!(&data[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn without_a_display_there_are_pictures() {
    let folder = Folder::new();
    clips(&folder);
    let (code, said) = player(&folder, &[]);
    assert!(code == Some(2) && said.contains("--contact-sheet"), "{said}");

    let sheet = folder.name("sheet.png");
    let (code, said) = player(&folder, &["--contact-sheet", &sheet, "--columns", "3", "--rows", "2"]);
    assert!(code == Some(0) && said.contains("10 frames"), "{said}");
    assert_eq!(png_size(folder.path("sheet.png")), (3 * 64, 2 * 48));

    let (code, said) = player(&folder, &["--frames", &folder.name("frames"), "--beside", &folder.name("b.mp4")]);
    assert!(code == Some(0), "{said}");
    assert_eq!(std::fs::read_dir(folder.path("frames")).unwrap().count(), 10);
    assert_eq!(png_size(folder.path("frames/frame-000010.png")), (128, 48));
}

#[test]
fn without_video_or_input_it_says_so_and_ends() {
    let folder = Folder::new();
    clips(&folder);
    folder.clip("sound.mkv", "audiotestsrc num-buffers=20 ! audioconvert ! opusenc ! matroskamux ! {out}");
    for (input, said) in [("sound.mkv", "it holds no video"), ("nothing.mkv", "nothing.mkv: ")] {
        let (code, text) = player(&folder, &["--contact-sheet", &folder.name("sheet.png"), "--beside", &folder.name(input)]);
        assert!(code == Some(3) && text.contains(said), "{text}");
    }
}

#[test]
fn two_videos_play_side_by_side_with_statistics() {
    let folder = Folder::new();
    clips(&folder);
    let (code, said) = player(&folder, &["--no-display", "--beside", &folder.name("b.mp4")]);
    assert_eq!(code, Some(0), "{said}");
    let last = said.lines().find(|line| line.starts_with("ngc-player: ") && line.matches(" 10 frames (").count() == 2);
    assert!(last.is_some_and(|line| line.matches(" 0 damaged").count() == 2 && !line.contains(" 0 kbit/s")), "{said}");
    let mut command = program(env!("CARGO_BIN_EXE_ngc-player"));
    let output = command.args(["/nowhere.mkv", "--no-display"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
}

#[test]
fn application_memory_goes_in_and_out_without_a_copy() {
    let _folder = Folder::new();
    let output = program(env!("CARGO_BIN_EXE_appsrc-appsink")).output().unwrap();
    let said = text(&output);
    assert!(output.status.success() && said.contains("50 frames in, 50 out, 50 at the right place"), "{said}");
    let memory: u64 = said.split("; ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|n| n.parse().ok()).unwrap();
    // Memory comes back and is used again.
    assert!(memory < 25, "{said}");
}
