//! Properties of `ngcdec`.

use codec_core::{DecoderConfig, Limits};
use gst::glib;
use gst::prelude::*;

use crate::ngcenc::{common_properties, model_source};

/// Values of the properties.
#[derive(Clone, Debug)]
pub struct Settings {
    threads: u32,
    device: String,
    model_file: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threads: 0, device: "auto".into(), model_file: None }
    }
}

impl Settings {
    pub fn properties() -> Vec<glib::ParamSpec> {
        common_properties()
    }

    pub fn set(&mut self, name: &str, value: &glib::Value) {
        let text = || value.get::<Option<String>>().expect("type checked by GObject");
        match name {
            "threads" => self.threads = value.get().expect("type checked by GObject"),
            "device" => self.device = text().unwrap_or_else(|| "auto".into()),
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

    /// # Errors
    /// If the device's name is not one.
    pub fn decoder_config(&self) -> codec_core::Result<DecoderConfig> {
        Ok(DecoderConfig {
            threads: self.threads as usize,
            device: self.device.parse()?,
            model: model_source(self.model_file.as_deref()),
            limits: Limits::default(),
        })
    }
}
