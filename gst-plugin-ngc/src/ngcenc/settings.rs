//! Properties of `ngcenc`.

use codec_core::{EncoderConfig, Lookahead, RateMode, Speed};
use gst::glib;
use gst::prelude::*;

use super::{AdaptiveQuality, RateControl, SpeedPreset, Tune};
use crate::settings::CommonSettings;

const DEFAULT_QUALITY: u32 = 38;
const DEFAULT_KEY_INT_MAX: u32 = 250;
const DEFAULT_KEY_INT_MIN: u32 = 12;
/// As many frames as suit.
const AUTO_LOOKAHEAD: i32 = -1;
const MAX_LOOKAHEAD: i32 = Lookahead::<()>::MAX_DEPTH as i32;
const DEFAULT_BITRATE: u32 = 500;
const DEFAULT_BUFFER: u32 = 1000;
/// Detail as the model recommends it.
const MODELS_DETAIL: f64 = -1.0;
/// About 1.6 times the bits that the region would have.
const DEFAULT_ROI_QUALITY: i32 = -8;
/// What a quality map can hold.
const MAX_ROI_QUALITY: i32 = 60;
const DEFAULT_ADAPTIVE_STRENGTH: f64 = EncoderConfig::USUAL_ADAPTIVE_QUALITY as f64;
const MAX_ADAPTIVE_STRENGTH: f64 = 8.0;
/// In kbit/s; the product with 1000 still is exact in every type used.
const MAX_BITRATE: u32 = 10_000_000;

/// Values of the properties.
#[derive(Clone, Debug)]
pub struct Settings {
    pub quality: u32,
    pub rate_control: RateControl,
    pub bitrate: u32,
    pub max_bitrate: u32,
    pub vbv_buffer: u32,
    pub key_int_max: u32,
    pub key_int_min: u32,
    pub scene_cut: bool,
    /// Frames; -1: as many as suit.
    pub lookahead: i32,
    pub temporal_filter: bool,
    pub b_frames: bool,
    pub roi_quality: i32,
    pub tune: Tune,
    pub adaptive_quality: AdaptiveQuality,
    pub adaptive_quality_strength: f64,
    pub detail: f64,
    pub adaptive_detail: bool,
    pub speed_preset: SpeedPreset,
    pub max_memory: u32,
    pub common: CommonSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quality: DEFAULT_QUALITY,
            rate_control: RateControl::default(),
            bitrate: DEFAULT_BITRATE,
            max_bitrate: 0,
            vbv_buffer: DEFAULT_BUFFER,
            key_int_max: DEFAULT_KEY_INT_MAX,
            key_int_min: DEFAULT_KEY_INT_MIN,
            scene_cut: true,
            detail: MODELS_DETAIL,
            adaptive_detail: true,
            lookahead: AUTO_LOOKAHEAD,
            temporal_filter: true,
            b_frames: true,
            roi_quality: DEFAULT_ROI_QUALITY,
            tune: Tune::default(),
            adaptive_quality: AdaptiveQuality::default(),
            adaptive_quality_strength: DEFAULT_ADAPTIVE_STRENGTH,
            speed_preset: SpeedPreset::default(),
            max_memory: 0,
            common: CommonSettings::default(),
        }
    }
}

impl Settings {
    pub fn properties() -> Vec<glib::ParamSpec> {
        let mut specs = vec![
            glib::ParamSpecEnum::builder_with_default("rate-control", RateControl::default())
                .nick("Rate control")
                .blurb("What the encoder aims at: a constant quality, an average bitrate, or a constant bitrate")
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("quality")
                .nick("Quality")
                .blurb("Quality index, 0 (best, largest) to 63 (smallest); used with rate-control=quality")
                .maximum(63)
                .default_value(DEFAULT_QUALITY)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("bitrate")
                .nick("Bitrate")
                .blurb("Bitrate in kbit/s; used with rate-control=vbr and cbr")
                .minimum(1)
                .maximum(MAX_BITRATE)
                .default_value(DEFAULT_BITRATE)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("max-bitrate")
                .nick("Largest bitrate")
                .blurb("Largest bitrate over vbv-buffer in kbit/s, with rate-control=vbr; 0 = twice the bitrate; a value below the bitrate means the bitrate")
                .maximum(MAX_BITRATE)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("vbv-buffer")
                .nick("Rate buffer")
                .blurb("Size of the rate buffer (VBV) in milliseconds, at max-bitrate with rate-control=vbr and at the bitrate with cbr")
                .minimum(50)
                .maximum(60_000)
                .default_value(DEFAULT_BUFFER)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("key-int-max")
                .nick("Largest keyframe distance")
                .blurb("Largest distance between keyframes in frames; 0 = only the first frame, scene cuts and requests make keyframes")
                .default_value(DEFAULT_KEY_INT_MAX)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("key-int-min")
                .nick("Smallest keyframe distance")
                .blurb("Smallest distance in frames from the last keyframe to a scene cut that makes a new one; requested keyframes are not delayed")
                .default_value(DEFAULT_KEY_INT_MIN)
                .mutable_playing()
                .build(),
            glib::ParamSpecBoolean::builder("scene-cut")
                .nick("Scene cuts")
                .blurb("Make the first frame of a new scene a keyframe")
                .default_value(true)
                .mutable_playing()
                .build(),
            glib::ParamSpecInt::builder("lookahead")
                .nick("Lookahead")
                .blurb("Number of later frames to wait for before coding one, so that what they are predicted from gets a better quality; -1 = 12, or 0 if the source is live")
                .minimum(AUTO_LOOKAHEAD)
                .maximum(MAX_LOOKAHEAD)
                .default_value(AUTO_LOOKAHEAD)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("temporal-filter")
                .nick("Temporal filter")
                .blurb("Remove noise from a frame before it is coded, by averaging it along the motion with later frames; needs a lookahead, and does less the better the quality")
                .default_value(true)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("b-frames")
                .nick("B-frames")
                .blurb("Predict every second frame from the one after it as well, where that one can be coded first; needs a lookahead and rate-control=quality from the start, and takes one frame more of delay")
                .default_value(true)
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("roi-quality")
                .nick("Quality of regions")
                .blurb("What is added to the quality index in regions of interest (GstVideoRegionOfInterestMeta) that do not say it themselves; negative is better, 0 = such regions change nothing")
                .minimum(-MAX_ROI_QUALITY)
                .maximum(MAX_ROI_QUALITY)
                .default_value(DEFAULT_ROI_QUALITY)
                .mutable_playing()
                .build(),
            glib::ParamSpecEnum::builder_with_default("tune", Tune::default())
                .nick("Tune")
                .blurb("What the stream is made for; adaptive-quality and detail override it where they are set")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("adaptive-quality", AdaptiveQuality::default())
                .nick("Adaptive quality")
                .blurb("How the quality varies over the picture besides regions of interest")
                .mutable_playing()
                .build(),
            glib::ParamSpecDouble::builder("adaptive-quality-strength")
                .nick("Strength of adaptive quality")
                .blurb("Quality indices for each doubling of the local variance beside the picture's mean; used where the quality adapts by variance")
                .minimum(0.0)
                .maximum(MAX_ADAPTIVE_STRENGTH)
                .default_value(DEFAULT_ADAPTIVE_STRENGTH)
                .mutable_playing()
                .build(),
            glib::ParamSpecDouble::builder("detail")
                .nick("Detail")
                .blurb("Strength of the postfilter that the stream asks for: 0 (smallest error) to 1 (texture about as strong as in the original), at the same bitrate; -1 = what the model recommends with tune=visual, 0 with tune=psnr")
                .minimum(MODELS_DETAIL)
                .maximum(1.0)
                .default_value(MODELS_DETAIL)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("adaptive-detail")
                .nick("Adaptive detail")
                .blurb("Say in the stream where the original has detail, so that the postfilter adds more there and none elsewhere; without effect where detail is 0")
                .default_value(true)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("speed-preset", SpeedPreset::default())
                .nick("Speed")
                .blurb("How thoroughly the encoder searches motion")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("max-memory")
                .nick("Largest memory")
                .blurb("Refuse videos whose encoding would need more than this many MiB for frames and networks; 0 = no limit")
                .mutable_ready()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb("Frames, keyframes, bytes, average quality index, median and 95th percentile of the time per frame in microseconds")
                .read_only()
                .build(),
        ];
        specs.extend(CommonSettings::properties());
        specs
    }

    pub fn set(&mut self, name: &str, value: &glib::Value) {
        let number = || value.get().expect("type checked by GObject");
        match name {
            "quality" => self.quality = number(),
            "rate-control" => self.rate_control = value.get().expect("type checked by GObject"),
            "bitrate" => self.bitrate = number(),
            "max-bitrate" => self.max_bitrate = number(),
            "vbv-buffer" => self.vbv_buffer = number(),
            "key-int-max" => self.key_int_max = number(),
            "key-int-min" => self.key_int_min = number(),
            "scene-cut" => self.scene_cut = value.get().expect("type checked by GObject"),
            "lookahead" => self.lookahead = value.get().expect("type checked by GObject"),
            "temporal-filter" => self.temporal_filter = value.get().expect("type checked by GObject"),
            "b-frames" => self.b_frames = value.get().expect("type checked by GObject"),
            "roi-quality" => self.roi_quality = value.get().expect("type checked by GObject"),
            "tune" => self.tune = value.get().expect("type checked by GObject"),
            "adaptive-quality" => self.adaptive_quality = value.get().expect("type checked by GObject"),
            "adaptive-quality-strength" => self.adaptive_quality_strength = value.get().expect("type checked by GObject"),
            "detail" => self.detail = value.get().expect("type checked by GObject"),
            "adaptive-detail" => self.adaptive_detail = value.get().expect("type checked by GObject"),
            "speed-preset" => self.speed_preset = value.get().expect("type checked by GObject"),
            "max-memory" => self.max_memory = number(),
            _ => self.common.set(name, value),
        }
    }

    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "quality" => self.quality.to_value(),
            "rate-control" => self.rate_control.to_value(),
            "bitrate" => self.bitrate.to_value(),
            "max-bitrate" => self.max_bitrate.to_value(),
            "vbv-buffer" => self.vbv_buffer.to_value(),
            "key-int-max" => self.key_int_max.to_value(),
            "key-int-min" => self.key_int_min.to_value(),
            "scene-cut" => self.scene_cut.to_value(),
            "lookahead" => self.lookahead.to_value(),
            "temporal-filter" => self.temporal_filter.to_value(),
            "b-frames" => self.b_frames.to_value(),
            "roi-quality" => self.roi_quality.to_value(),
            "tune" => self.tune.to_value(),
            "adaptive-quality" => self.adaptive_quality.to_value(),
            "adaptive-quality-strength" => self.adaptive_quality_strength.to_value(),
            "detail" => self.detail.to_value(),
            "adaptive-detail" => self.adaptive_detail.to_value(),
            "speed-preset" => self.speed_preset.to_value(),
            "max-memory" => self.max_memory.to_value(),
            _ => self.common.get(name),
        }
    }

    /// What rate control shall hold.
    pub fn rate(&self) -> RateMode {
        let bitrate = f64::from(self.bitrate) * 1000.0;
        let buffer = f64::from(self.vbv_buffer) / 1000.0;
        match self.rate_control {
            RateControl::Quality => RateMode::Quality,
            RateControl::Cbr => RateMode::Constant { bitrate, buffer },
            RateControl::Vbr => {
                let max_bitrate = match self.max_bitrate {
                    0 => 2.0 * bitrate,
                    max => (f64::from(max) * 1000.0).max(bitrate),
                };
                RateMode::Variable { bitrate, max_bitrate, buffer }
            }
        }
    }

    /// Frames to look ahead, for a source that is `live` or not.
    pub fn lookahead(&self, live: bool) -> usize {
        match usize::try_from(self.lookahead) {
            Ok(frames) => frames,
            Err(_) if live => 0,
            Err(_) => Lookahead::<()>::USUAL_DEPTH,
        }
    }

    /// Strength of the adaptive quality, 0 without; `None`: the usual one, where the model's profile has any.
    pub fn adaptive_quality(&self) -> Option<f32> {
        match (self.adaptive_quality, self.tune) {
            (AdaptiveQuality::None, _) | (AdaptiveQuality::Auto, Tune::Psnr) => Some(0.0),
            (AdaptiveQuality::Auto, Tune::Visual) if self.adaptive_quality_strength == DEFAULT_ADAPTIVE_STRENGTH => None,
            _ => Some(self.adaptive_quality_strength as f32),
        }
    }

    /// Strength of the postfilter; `None`: as the model recommends.
    fn detail(&self) -> Option<f32> {
        match (self.detail, self.tune) {
            (given, _) if given >= 0.0 => Some(given as f32),
            (_, Tune::Psnr) => Some(0.0),
            (_, Tune::Visual) => None,
        }
    }

    /// For frames from a `lookahead` so deep.
    ///
    /// # Errors
    /// If the device's name is not one.
    pub fn encoder_config(&self, video: codec_core::bitstream::VideoInfo, lookahead: usize) -> codec_core::Result<EncoderConfig> {
        Ok(EncoderConfig {
            video,
            quality: self.quality as u8,
            rate: self.rate(),
            detail: self.detail(),
            adaptive_quality: self.adaptive_quality(),
            adaptive_detail: self.adaptive_detail,
            speed: match self.speed_preset {
                SpeedPreset::Fast => Speed::Fast,
                SpeedPreset::Medium => Speed::Medium,
                SpeedPreset::Slow => Speed::Slow,
            },
            scene_cut: self.scene_cut,
            key_int_max: self.key_int_max,
            key_int_min: self.key_int_min,
            temporal_filter: self.temporal_filter,
            lookahead,
            max_memory: match self.max_memory {
                0 => None,
                mebibytes => Some(u64::from(mebibytes) << 20),
            },
            threads: self.common.threads(),
            device: self.common.device()?,
            model: self.common.model(),
        })
    }
}

#[cfg(test)]
mod tests {
    use codec_core::bitstream::VideoInfo;
    use codec_core::{DeviceSpec, ModelSource};

    use super::*;

    fn settings(values: &[(&str, glib::Value)]) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in values {
            settings.set(name, value);
            assert_eq!(format!("{:?}", settings.get(name)), format!("{value:?}"), "{name}");
        }
        settings
    }

    fn config(values: &[(&str, glib::Value)]) -> EncoderConfig {
        settings(values).encoder_config(VideoInfo::default(), 0).unwrap()
    }

    #[test]
    fn every_property_reaches_the_encoder() {
        let config = config(&[
            ("quality", 40u32.to_value()),
            ("key-int-max", 77u32.to_value()),
            ("key-int-min", 5u32.to_value()),
            ("scene-cut", false.to_value()),
            ("temporal-filter", false.to_value()),
            ("detail", 0.5f64.to_value()),
            ("adaptive-quality", AdaptiveQuality::Variance.to_value()),
            ("adaptive-quality-strength", 2.5f64.to_value()),
            ("roi-quality", (-20i32).to_value()),
            ("speed-preset", SpeedPreset::Slow.to_value()),
            ("max-memory", 3u32.to_value()),
            ("threads", 2u32.to_value()),
            ("device", Some("cuda:1").to_value()),
            ("model-file", Some("/a/model").to_value()),
        ]);
        assert_eq!((config.quality, config.key_int_max, config.key_int_min, config.scene_cut), (40, 77, 5, false));
        assert_eq!((config.detail, config.max_memory, config.threads), (Some(0.5), Some(3 << 20), 2));
        assert!(!config.temporal_filter && settings(&[]).temporal_filter);
        assert_eq!(config.adaptive_quality, Some(2.5));
        assert!(matches!(config.speed, Speed::Slow) && matches!(config.rate, RateMode::Quality));
        assert!(matches!(config.device, DeviceSpec::Cuda(1)));
        assert!(matches!(&config.model, ModelSource::File(path) if path.to_str() == Some("/a/model")));
    }

    #[test]
    fn tuning_gives_what_other_properties_leave_open() {
        let of = |values: &[(&str, glib::Value)]| {
            let config = config(values);
            (config.adaptive_quality, config.detail)
        };
        let psnr = ("tune", Tune::Psnr.to_value());
        let strength = ("adaptive-quality-strength", 3.0f64.to_value());
        let by_variance = ("adaptive-quality", AdaptiveQuality::Variance.to_value());
        assert_eq!(of(&[]), (None, None));
        assert_eq!(of(std::slice::from_ref(&strength)), (Some(3.0), None));
        assert_eq!(of(std::slice::from_ref(&psnr)), (Some(0.0), Some(0.0)));
        // The strength by itself turns nothing on.
        assert_eq!(of(&[psnr.clone(), strength]), (Some(0.0), Some(0.0)));
        assert_eq!(of(&[psnr, by_variance, ("detail", 0.5f64.to_value())]), (Some(1.25), Some(0.5)));
        assert_eq!(of(&[("adaptive-quality", AdaptiveQuality::None.to_value())]), (Some(0.0), None));
    }

    #[test]
    fn unset_properties_mean_the_documented_defaults() {
        let config = config(&[]);
        assert_eq!((config.quality, config.key_int_max, config.key_int_min, config.scene_cut), (38, 250, 12, true));
        assert_eq!((config.detail, config.max_memory, config.threads), (None, None, 0));
        assert_eq!((config.adaptive_quality, settings(&[]).roi_quality), (None, -8));
        assert!(matches!(config.speed, Speed::Medium) && matches!(config.model, ModelSource::Embedded));
        let fast = [("speed-preset", SpeedPreset::Fast.to_value()), ("model-file", Some("").to_value())];
        let config = settings(&fast).encoder_config(VideoInfo::default(), 0).unwrap();
        assert!(matches!(config.speed, Speed::Fast) && matches!(config.model, ModelSource::Embedded));
    }

    #[test]
    fn bitrates_are_kilobits_and_buffers_milliseconds() {
        let rate = |control: RateControl, max: u32| {
            settings(&[
                ("rate-control", control.to_value()),
                ("bitrate", 400u32.to_value()),
                ("max-bitrate", max.to_value()),
                ("vbv-buffer", 600u32.to_value()),
            ])
            .rate()
        };
        assert_eq!(rate(RateControl::Cbr, 900), RateMode::Constant { bitrate: 400e3, buffer: 0.6 });
        // None: twice the bitrate; too little: the bitrate.
        for (max, max_bitrate) in [(900, 900e3), (0, 800e3), (100, 400e3)] {
            assert_eq!(rate(RateControl::Vbr, max), RateMode::Variable { bitrate: 400e3, max_bitrate, buffer: 0.6 });
        }
        assert_eq!(rate(RateControl::Quality, 0), RateMode::Quality);
    }

    #[test]
    fn live_sources_are_not_delayed_unless_asked_for() {
        let depth = |frames: i32, live| settings(&[("lookahead", frames.to_value())]).lookahead(live);
        assert_eq!((settings(&[]).lookahead(false), settings(&[]).lookahead(true)), (12, 0));
        assert_eq!((depth(-1, false), depth(-1, true), depth(0, false), depth(7, true)), (12, 0, 0, 7));
    }

    #[test]
    fn a_device_that_is_none_is_refused() {
        let settings = settings(&[("device", Some("abacus").to_value())]);
        assert!(settings.encoder_config(VideoInfo::default(), 0).is_err());
    }
}
