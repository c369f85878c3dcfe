include!("../codec-core/build/link_torch.rs");

fn main() {
    link_torch();
    gst_plugin_version_helper::info();
}
