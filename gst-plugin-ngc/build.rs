include!("../codec-core/build/link_torch.rs");

fn main() {
    link_torch_if_used();
    gst_plugin_version_helper::info();
}
