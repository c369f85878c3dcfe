//! The networks reproduce the prototype's vectors with its weights.
//!
//! Weights and vectors are no part of the repository: the test runs where `NGC_PROTOTYPE` names their folder.

use std::path::PathBuf;
use std::process::Command;

#[test]
fn networks_reproduce_the_prototype() {
    let Some(folder) = std::env::var_os("NGC_PROTOTYPE").map(PathBuf::from) else {
        println!("skipped: NGC_PROTOTYPE does not name the folder of rt-proto.safetensors and vectors.safetensors");
        return;
    };
    let output = Command::new(env!("CARGO_BIN_EXE_ngc-trainer"))
        .args(["check-reference", "--weights"])
        .arg(folder.join("rt-proto.safetensors"))
        .arg("--vectors")
        .arg(folder.join("vectors.safetensors"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for name in ["i_rec_y", "i_rec_uv", "p_warp_y", "p_warp_uv", "p_rec_y", "p_rec_uv"] {
        assert!(text.contains(name), "{text}");
    }
}
