//! Enumerations of the properties.

use gst::glib;

/// What rate control holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNgcEncRateControl")]
pub enum RateControl {
    /// The quality index.
    #[default]
    #[enum_value(name = "The quality index; the size follows", nick = "quality")]
    Quality,
    /// The average bitrate.
    #[enum_value(name = "The average bitrate, with a ceiling over the rate buffer", nick = "vbr")]
    Vbr,
    /// The bitrate.
    #[enum_value(name = "The bitrate, as far as the rate buffer takes up deviations", nick = "cbr")]
    Cbr,
}

/// How much time the encoder takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNgcEncSpeedPreset")]
pub enum SpeedPreset {
    /// Motion at a quarter of the resolution.
    #[enum_value(name = "Motion is searched at a quarter of the resolution and refined once", nick = "fast")]
    Fast,
    /// Motion at half the resolution.
    #[default]
    #[enum_value(name = "Motion is searched at half the resolution and refined twice", nick = "medium")]
    Medium,
}
