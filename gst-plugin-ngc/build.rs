fn main() {
    // Where libtorch is, if codec-core was built with it: Cargo does not pass a dependency's linker arguments on.
    if let Some(folder) = std::env::var_os("DEP_NGC_CODEC_CORE_TORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
    // The version names the commit, so it has to be made anew with each.
    for file in ["../.git/logs/HEAD", "build.rs", "Cargo.toml", "src"] {
        if std::path::Path::new(file).exists() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    gst_plugin_version_helper::info();
}
