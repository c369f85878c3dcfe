use std::path::{Path, PathBuf};

/// With libtorch: adds the folder of its libraries to the run-time search path of this crate's artefacts, and tells it to the build
/// scripts of direct dependents, as `DEP_NGC_CODEC_CORE_TORCH`. Cargo does not pass a dependency's linker arguments on, and without
/// the path a plugin would not find libtorch at run time and GStreamer would blacklist it.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_TORCH").is_some() {
        let folder = torch_folder();
        println!("cargo::rerun-if-changed={}", folder.join("libtorch_cpu.so").display());
        println!("cargo::metadata=torch={}", folder.display());
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}

/// `$NGC_TORCH_LIB`, or the folder that `tests/setup.sh` fills. It must be the real folder of the wheel: its libraries find each other
/// through `$ORIGIN`.
fn torch_folder() -> PathBuf {
    println!("cargo::rerun-if-env-changed=NGC_TORCH_LIB");
    // As Cargo says now, not as it said when this was compiled: a target folder may serve more than one checkout.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo tells build scripts their package");
    let default = Path::new(&package).join("../target/libtorch/site/torch/lib");
    let folder = std::env::var_os("NGC_TORCH_LIB").map_or(default, PathBuf::from);
    folder.canonicalize().unwrap_or_else(|_| {
        panic!(
            "libtorch is not in {}: run tests/setup.sh, or set NGC_TORCH_LIB to the folder of libtorch_cpu.so",
            folder.display()
        )
    })
}
