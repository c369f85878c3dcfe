//! Enumerations of the properties.

use gst::glib;

/// What rate control holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNgcEncRateControl")]
pub enum RateControl {
    /// The quality index.
    #[default]
    #[enum_value(name = "Constant quality; the size follows", nick = "quality")]
    Quality,
    /// The average bitrate.
    #[enum_value(name = "Average bitrate, with a ceiling over the rate buffer", nick = "vbr")]
    Vbr,
    /// The bitrate.
    #[enum_value(name = "Constant bitrate; the rate buffer absorbs deviations", nick = "cbr")]
    Cbr,
}

/// How the quality follows the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNgcEncAdaptiveQuality")]
pub enum AdaptiveQuality {
    /// As [`Tune`] wants it.
    #[default]
    #[enum_value(name = "By variance with tune=visual, none with tune=psnr", nick = "auto")]
    Auto,
    /// Not at all.
    #[enum_value(name = "One quality for the whole picture", nick = "none")]
    None,
    /// By the variance of luma.
    #[enum_value(name = "Better where the picture is smooth, worse where it is busy", nick = "variance")]
    Variance,
}

/// Whom the stream is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNgcEncTune")]
pub enum Tune {
    /// Eyes.
    #[default]
    #[enum_value(name = "What looks best: adaptive quality, and as much detail as the model recommends", nick = "visual")]
    Visual,
    /// Measurements of squared error.
    #[enum_value(name = "The smallest squared error: one quality for the whole picture, and no detail", nick = "psnr")]
    Psnr,
}

/// How much time the encoder takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNgcEncSpeedPreset")]
pub enum SpeedPreset {
    /// The quickest motion search.
    #[enum_value(name = "The quickest motion search", nick = "fast")]
    Fast,
    /// A balance between the two others.
    #[default]
    #[enum_value(name = "A thorough motion search that is still quick", nick = "medium")]
    Medium,
    /// The most thorough motion search.
    #[enum_value(name = "The most thorough motion search; usually the smallest streams", nick = "slow")]
    Slow,
}
