// Shared by every crate that ends in an executable or a shared library: `include!` it in build.rs and call
// `link_torch_if_used()`.
//
// Cargo does not pass a dependency's linker arguments on, so without this our plugin would not find libtorch at run
// time and GStreamer would blacklist it.

/// Adds the folder of the libtorch libraries to the run-time search path of this crate's artefacts.
///
/// The folder is `$NGC_TORCH_LIB`, or the one that `tests/setup.sh` fills. It must be the real folder of the wheel: its
/// libraries find each other through `$ORIGIN`.
fn link_torch() {
    println!("cargo:rerun-if-env-changed=NGC_TORCH_LIB");
    // As Cargo says now, not as it said when this was compiled: a target folder may serve more than one checkout.
    let package = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo tells build scripts their package"));
    let default = package.join("../target/libtorch/site/torch/lib");
    let dir = std::env::var_os("NGC_TORCH_LIB").map_or(default, std::path::PathBuf::from);
    let Ok(dir) = dir.canonicalize() else {
        panic!("libtorch is not in {}: run tests/setup.sh, or set NGC_TORCH_LIB to the folder of libtorch_cpu.so", dir.display());
    };
    println!("cargo:rerun-if-changed={}", dir.join("libtorch_cpu.so").display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", dir.display());
}

/// As [`link_torch`], if codec-core was built with libtorch: it tells its direct dependents.
#[allow(dead_code)]
fn link_torch_if_used() {
    println!("cargo:rerun-if-env-changed=DEP_NGC_CODEC_CORE_TORCH");
    if std::env::var_os("DEP_NGC_CODEC_CORE_TORCH").is_some() {
        link_torch();
    }
}
