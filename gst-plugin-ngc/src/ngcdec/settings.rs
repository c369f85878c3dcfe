//! Properties of `ngcdec`.

use codec_core::{Concealment, DecoderConfig, Limits};
use gst::glib;
use gst::prelude::*;

use super::{Conceal, DetailModel, detail_file};
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
    detail_model: DetailModel,
    detail_file: Option<String>,
    detail: f64,
    pub common: CommonSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            conceal: Conceal::default(),
            max_resolution: DEFAULT_MAX_RESOLUTION,
            detail_model: DetailModel::default(),
            detail_file: None,
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
            glib::ParamSpecEnum::builder_with_default("detail-model", DetailModel::default())
                .nick("Detail model")
                .blurb("Which postfilter adds detail, at the strength given by the stream or by the property detail; off decodes faster and has a higher PSNR")
                .mutable_playing()
                .build(),
            glib::ParamSpecString::builder("detail-file")
                .nick("Detail file")
                .blurb(
                    "Path of a detail file (safetensors), the rich filter of detail-model; by default the environment variable \
                     NGC_DETAIL_FILE, else ngc/models/rich.safetensors in the folders of shared data (XDG_DATA_HOME, XDG_DATA_DIRS)",
                )
                .mutable_ready()
                .build(),
            glib::ParamSpecDouble::builder("detail")
                .nick("Detail")
                .blurb("Strength of the postfilter in place of the stream's: 0 (as detail-model=off) to 1; -1 = what the stream asks for")
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
            "detail-model" => self.detail_model = value.get().expect("type checked by GObject"),
            "detail-file" => self.detail_file = value.get().expect("type checked by GObject"),
            "detail" => self.detail = value.get().expect("type checked by GObject"),
            _ => self.common.set(name, value),
        }
    }

    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "conceal" => self.conceal.to_value(),
            "max-resolution" => self.max_resolution.to_value(),
            "detail-model" => self.detail_model.to_value(),
            "detail-file" => self.detail_file.to_value(),
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
        (self.detail >= 0.0).then_some(self.detail as f32)
    }

    /// Which postfilter is in use.
    pub fn detail_model(&self) -> codec_core::DetailModel {
        self.detail_model.into()
    }

    /// # Errors
    /// If the device's name is not one.
    pub fn decoder_config(&self) -> codec_core::Result<DecoderConfig> {
        Ok(DecoderConfig {
            threads: self.common.threads(),
            device: self.common.device()?,
            model: self.common.model(),
            detail_model: self.detail_model(),
            detail_file: detail_file::find(self.detail_file.as_deref()),
            limits: Limits { max_pixels: self.max_resolution, ..Limits::default() },
        })
    }
}
