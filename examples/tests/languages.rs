//! The examples in C and Python, where meson, a C compiler, PyGObject and NumPy are installed.

mod common;

use std::process::Command;

use common::{Folder, environment, program, text};

/// Whether a command succeeds.
fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn source(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// The number after a word.
fn number_after(text: &str, word: &str) -> f64 {
    let rest = text.split(word).nth(1).unwrap_or_else(|| panic!("no {word}: {text}"));
    rest.trim().split([' ', '\n', ',']).next().unwrap().parse().unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn the_c_example_encodes_and_decodes() {
    let folder = Folder::new();
    if !works(Command::new("meson").arg("--version")) || !works(Command::new("ninja").arg("--version")) {
        eprintln!("skipped: the C example (meson or ninja is not installed)");
        return;
    }
    let build = folder.name("build");
    let set_up = Command::new("meson").args(["setup", "--werror", &build, &source("c")]).output().unwrap();
    assert!(set_up.status.success(), "{}", text(&set_up));
    let compiled = Command::new("ninja").args(["-C", &build]).output().unwrap();
    assert!(compiled.status.success(), "{}", text(&compiled));
    let quality = |quality: &str| {
        let output = program(&format!("{build}/ngc-roundtrip")).arg(quality).output().unwrap();
        let said = text(&output);
        assert!(output.status.success() && said.contains("10 frames, "), "{said}");
        (number_after(&said, "frames, "), number_after(&said, "psnr_y="))
    };
    let ((good_bytes, good), (small_bytes, small)) = (quality("10"), quality("50"));
    assert!(good > small + 2.0 && good > 38.0 && good_bytes > small_bytes, "{good} {small} {good_bytes} {small_bytes}");
    assert_eq!(program(&format!("{build}/ngc-roundtrip")).arg("64").output().unwrap().status.code(), Some(2));
}

#[test]
fn the_python_example_takes_and_gives_numpy_frames() {
    let folder = Folder::new();
    // Debian's own, which has the packages.
    let python = "/usr/bin/python3";
    let needs = "import gi, numpy; gi.require_version('GstApp', '1.0'); from gi.repository import GstApp";
    if !works(Command::new(python).args(["-c", needs])) {
        eprintln!("skipped: the Python example (python3-gi, python3-numpy or gir1.2-gst-plugins-base-1.0 is not installed)");
        return;
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new("timeout");
        let command = environment(&mut command).args(["120", python]).args(arguments).env("PYTHONPATH", source("python"));
        let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let said = run(&[&source("python/ngc_frames.py")]);
    assert!(said.contains("10 frames in, 10 out"), "{said}");
    assert!(number_after(&said, "bytes,") > 30.0, "{said}");
    folder.clip(
        "a.mp4",
        "videotestsrc num-buffers=5 ! video/x-raw,width=61,height=43 ! ngcenc threads=1 ! ngcparse ! mp4mux ! {out}",
    );
    assert!(run(&[&source("python/ngc_frames.py"), &folder.name("a.mp4")]).contains("5 frames of 61x43"));
    // As in a notebook: sizes that are no multiples of four, properties, errors.
    let cell = "import numpy as np\n\
                from ngc_frames import decode, encode, psnr, NgcError\n\
                frames = np.full((3, 43, 61, 3), (200, 60, 60), np.uint8)\n\
                again = decode(encode(frames, quality=20, speed_preset='fast'))\n\
                assert again.shape == frames.shape and psnr(frames, again) > 30, (again.shape, psnr(frames, again))\n\
                y, x = np.mgrid[0:64, 0:128]\n\
                waves = (120 + 50 * np.sin(x * 0.9) * np.cos(y * 0.7 + x * 0.2)).astype(np.uint8)\n\
                waves = np.stack([waves] * 3)[..., None].repeat(3, axis=3)\n\
                left = decode(encode(waves, quality=50, regions=lambda number: [(0, 0, 64, 64, -24)]))\n\
                better, rest = (psnr(waves[:, :, half], left[:, :, half]) for half in (slice(0, 48), slice(80, 128)))\n\
                assert better > rest + 0.7, (better, rest)\n\
                try:\n    decode('/nowhere')\n    assert False\n\
                except NgcError as error:\n    print('refused:', error)\n";
    assert!(run(&["-c", cell]).contains("refused: "));
}
