fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=NGC_NO_RPATH");
    // A trainer for another machine finds libtorch through LD_LIBRARY_PATH, and knows nothing of this one.
    if std::env::var_os("NGC_NO_RPATH").is_some_and(|value| !value.is_empty()) {
        return;
    }
    // Where libtorch is, if codec-core was built with it: Cargo does not pass a dependency's linker arguments on.
    if let Some(folder) = std::env::var_os("DEP_NGC_CODEC_CORE_TORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
