fn main() {
    // Where libtorch is, if codec-core was built with it: Cargo does not pass a dependency's linker arguments on.
    if let Some(folder) = std::env::var_os("DEP_NGC_CODEC_CORE_TORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
