//! Writes real payloads as the first inputs of the target `decode`: `cargo run --bin seeds`.

use ngc_fuzz::stream;

fn main() -> std::io::Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/decode");
    std::fs::create_dir_all(&folder)?;
    for (i, (quality, payload)) in stream().payloads.into_iter().enumerate() {
        let first = quality | if i == 0 { 0 } else { 64 };
        std::fs::write(folder.join(format!("frame-{i}")), [&[first][..], &payload].concat())?;
    }
    Ok(())
}
