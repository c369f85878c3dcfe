//! Properties of `ngcenc`.

use codec_core::EncoderConfig;
use gst::glib;
use gst::prelude::*;

use crate::settings::CommonSettings;

const DEFAULT_QUALITY: u32 = 32;
const DEFAULT_KEY_INT_MAX: u32 = 250;

/// Values of the properties.
#[derive(Clone, Debug)]
pub struct Settings {
    pub quality: u32,
    pub key_int_max: u32,
    pub common: CommonSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self { quality: DEFAULT_QUALITY, key_int_max: DEFAULT_KEY_INT_MAX, common: CommonSettings::default() }
    }
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
        specs.extend(CommonSettings::properties());
        specs
    }

    pub fn set(&mut self, name: &str, value: &glib::Value) {
        let number = || value.get().expect("type checked by GObject");
        match name {
            "quality" => self.quality = number(),
            "key-int-max" => self.key_int_max = number(),
            _ => self.common.set(name, value),
        }
    }

    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "quality" => self.quality.to_value(),
            "key-int-max" => self.key_int_max.to_value(),
            _ => self.common.get(name),
        }
    }

    /// # Errors
    /// If the device's name is not one.
    pub fn encoder_config(&self, video: codec_core::bitstream::VideoInfo) -> codec_core::Result<EncoderConfig> {
        Ok(EncoderConfig {
            video,
            quality: self.quality as u8,
            key_int_max: self.key_int_max,
            threads: self.common.threads(),
            device: self.common.device()?,
            model: self.common.model(),
        })
    }
}
