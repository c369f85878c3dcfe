//! Properties of `ngcdec`.

use codec_core::{Concealment, DecoderConfig, Limits};
use gst::glib;
use gst::prelude::*;

use super::Conceal;
use crate::settings::CommonSettings;

/// Luma samples of a frame: the most that ngcenc makes and ngcparse lets pass.
const DEFAULT_MAX_RESOLUTION: u64 = Limits::MAX_PIXELS;
/// Stands for the strength that the stream asks for, as all negative values do.
const STREAMS_DETAIL: f64 = -1.0;

/// Values of the properties.
#[derive(Clone, Debug)]
pub struct Settings {
    conceal: Conceal,
    max_resolution: u64,
    postfilter: bool,
    detail: f64,
    pub common: CommonSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            conceal: Conceal::default(),
            max_resolution: DEFAULT_MAX_RESOLUTION,
            postfilter: true,
            detail: STREAMS_DETAIL,
            common: CommonSettings::default(),
        }
    }
}

impl Settings {
    pub fn properties() -> Vec<glib::ParamSpec> {
        let mut specs = vec![
            glib::ParamSpecEnum::builder_with_default("conceal", Conceal::default())
                .nick("Concealment")
                .blurb("What is shown in place of lost or damaged frames until the next keyframe, flagged as corrupted")
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt64::builder("max-resolution")
                .nick("Largest resolution")
                .blurb("Refuse videos with more luma samples per frame than this")
                .minimum(1)
                .maximum(DEFAULT_MAX_RESOLUTION)
                .default_value(DEFAULT_MAX_RESOLUTION)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("postfilter")
                .nick("Postfilter")
                .blurb(
                    "Apply the postfilter at the strength that the stream or detail asks for; without it decoding is faster and PSNR higher",
                )
                .default_value(true)
                .mutable_playing()
                .build(),
            glib::ParamSpecDouble::builder("detail")
                .nick("Detail")
                .blurb("Strength of the postfilter in place of the stream's: 0 (as postfilter=false) to 1; -1 = what the stream asks for")
                .minimum(STREAMS_DETAIL)
                .maximum(1.0)
                .default_value(STREAMS_DETAIL)
                .mutable_playing()
                .build(),
        ];
        specs.extend(CommonSettings::properties());
        specs
    }

    pub fn set(&mut self, name: &str, value: &glib::Value) {
        match name {
            "conceal" => self.conceal = value.get().expect("type checked by GObject"),
            "max-resolution" => self.max_resolution = value.get().expect("type checked by GObject"),
            "postfilter" => self.postfilter = value.get().expect("type checked by GObject"),
            "detail" => self.detail = value.get().expect("type checked by GObject"),
            _ => self.common.set(name, value),
        }
    }

    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "conceal" => self.conceal.to_value(),
            "max-resolution" => self.max_resolution.to_value(),
            "postfilter" => self.postfilter.to_value(),
            "detail" => self.detail.to_value(),
            _ => self.common.get(name),
        }
    }

    /// What stands in for lost frames, `None`: nothing.
    pub fn concealment(&self) -> Option<Concealment> {
        match self.conceal {
            Conceal::None => None,
            Conceal::Freeze => Some(Concealment::Freeze),
            Conceal::Predict => Some(Concealment::Predict),
        }
    }

    /// The postfilter's strength; `None`: what the stream asks for.
    pub fn detail(&self) -> Option<f32> {
        match (self.postfilter, self.detail >= 0.0) {
            (false, _) => Some(0.0),
            (true, true) => Some(self.detail as f32),
            (true, false) => None,
        }
    }

    /// # Errors
    /// If the device's name is not one.
    pub fn decoder_config(&self) -> codec_core::Result<DecoderConfig> {
        Ok(DecoderConfig {
            threads: self.common.threads(),
            device: self.common.device()?,
            model: self.common.model(),
            limits: Limits { max_pixels: self.max_resolution, ..Limits::default() },
        })
    }
}
