include!("link_torch.rs");

fn main() {
    println!("cargo:rerun-if-changed=build/");
    if std::env::var_os("CARGO_FEATURE_TORCH").is_some() {
        println!("cargo:torch=1");
        link_torch();
    }
}
