//! Properties of `ngcenc`.

use codec_core::{DeviceSpec, EncoderConfig, ModelSource};
use gst::glib;
use gst::prelude::*;

const DEFAULT_QUALITY: u32 = 32;
const DEFAULT_KEY_INT_MAX: u32 = 250;
const DEFAULT_DEVICE: &str = "auto";

/// Values of the properties.
#[derive(Clone, Debug)]
pub struct Settings {
    pub quality: u32,
    pub key_int_max: u32,
    pub threads: u32,
    pub device: String,
    pub model_file: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quality: DEFAULT_QUALITY,
            key_int_max: DEFAULT_KEY_INT_MAX,
            threads: 0,
            device: DEFAULT_DEVICE.into(),
            model_file: None,
        }
    }
}

/// Specifications of the properties that encoder and decoder share.
pub fn common_properties() -> Vec<glib::ParamSpec> {
    vec![
        glib::ParamSpecUInt::builder("threads")
            .nick("Threads")
            .blurb("Threads that the networks run on; 0 = automatic (1). More help only where cores are idle: busy neighbours make them much slower")
            .maximum(256)
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("device")
            .nick("Device")
            .blurb("Where the networks run: auto (the first GPU that works, else the CPU), cpu, cuda or cuda:N")
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

/// The model that a `model-file` property names.
pub fn model_source(path: Option<&str>) -> ModelSource {
    path.filter(|p| !p.is_empty()).map_or(ModelSource::Embedded, |p| ModelSource::File(p.into()))
}

impl Settings {
    pub fn properties() -> Vec<glib::ParamSpec> {
        let mut specs = vec![
            glib::ParamSpecUInt::builder("quality")
                .nick("Quality")
                .blurb("Quality index, 0 (best, largest) to 63 (smallest)")
                .maximum(63)
                .default_value(DEFAULT_QUALITY)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("key-int-max")
                .nick("Largest keyframe distance")
                .blurb("Largest distance between keyframes in frames; 0 = only the first frame and those asked for")
                .default_value(DEFAULT_KEY_INT_MAX)
                .mutable_ready()
                .build(),
        ];
        specs.extend(common_properties());
        specs
    }

    pub fn set(&mut self, name: &str, value: &glib::Value) {
        let text = || value.get::<Option<String>>().expect("type checked by GObject");
        let number = || value.get().expect("type checked by GObject");
        match name {
            "quality" => self.quality = number(),
            "key-int-max" => self.key_int_max = number(),
            "threads" => self.threads = number(),
            "device" => self.device = text().unwrap_or_else(|| DEFAULT_DEVICE.into()),
            "model-file" => self.model_file = text(),
            _ => unreachable!("GObject passes only installed properties"),
        }
    }

    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "quality" => self.quality.to_value(),
            "key-int-max" => self.key_int_max.to_value(),
            "threads" => self.threads.to_value(),
            "device" => self.device.to_value(),
            "model-file" => self.model_file.to_value(),
            _ => unreachable!("GObject passes only installed properties"),
        }
    }

    /// # Errors
    /// If the device's name is not one.
    pub fn encoder_config(&self, video: codec_core::bitstream::VideoInfo) -> codec_core::Result<EncoderConfig> {
        Ok(EncoderConfig {
            video,
            quality: self.quality as u8,
            key_int_max: self.key_int_max,
            threads: self.threads as usize,
            device: self.device.parse::<DeviceSpec>()?,
            model: model_source(self.model_file.as_deref()),
        })
    }
}
