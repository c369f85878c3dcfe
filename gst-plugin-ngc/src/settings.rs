//! Properties that encoder and decoder share.

use codec_core::{DeviceSpec, MAX_THREADS, ModelSource};
use gst::glib;
use gst::prelude::*;

const DEFAULT_DEVICE: &str = "auto";

/// Where and with which model the networks run.
#[derive(Clone, Debug)]
pub struct CommonSettings {
    threads: u32,
    device: String,
    model_file: Option<String>,
}

impl Default for CommonSettings {
    fn default() -> Self {
        Self { threads: 0, device: DEFAULT_DEVICE.into(), model_file: None }
    }
}

impl CommonSettings {
    pub fn properties() -> Vec<glib::ParamSpec> {
        vec![
            glib::ParamSpecUInt::builder("threads")
                .nick("Threads")
                .blurb("Threads per frame; 0 = as many as the process has cores. The result does not depend on it")
                .maximum(MAX_THREADS as u32)
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("device")
                .nick("Device")
                .blurb("Where the networks run: auto (the processor for the real-time profile, else the first GPU that works), cpu, cuda or cuda:N")
                .default_value(DEFAULT_DEVICE)
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("model-file")
                .nick("Model file")
                .blurb("Path of a model file (safetensors) in place of the built-in model; encoder and decoder need the same one")
                .mutable_ready()
                .build(),
        ]
    }

    pub fn set(&mut self, name: &str, value: &glib::Value) {
        let text = || value.get::<Option<String>>().expect("type checked by GObject");
        match name {
            "threads" => self.threads = value.get().expect("type checked by GObject"),
            "device" => self.device = text().unwrap_or_else(|| DEFAULT_DEVICE.into()),
            "model-file" => self.model_file = text(),
            _ => unreachable!("GObject passes only installed properties"),
        }
    }

    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "threads" => self.threads.to_value(),
            "device" => self.device.to_value(),
            "model-file" => self.model_file.to_value(),
            _ => unreachable!("GObject passes only installed properties"),
        }
    }

    pub fn threads(&self) -> usize {
        self.threads as usize
    }

    /// # Errors
    /// If the text is not the name of a device.
    pub fn device(&self) -> codec_core::Result<DeviceSpec> {
        self.device.parse()
    }

    pub fn model(&self) -> ModelSource {
        self.model_file.as_deref().filter(|p| !p.is_empty()).map_or(ModelSource::Embedded, |p| ModelSource::File(p.into()))
    }
}
