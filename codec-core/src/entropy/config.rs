//! Shape of an entropy model.

use serde::{Deserialize, Serialize};

use crate::architecture::linear::{COMPLETE, TRANSFORMS};
use crate::{Error, Result};

const MAX_CHANNELS: usize = 1024;

/// Widths and switches of the entropy model of one latent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntropyConfig {
    /// Channels of the latent y, at 1/16 of the frame's size.
    pub channels: usize,
    /// Channels of the hyper-latent z, at 1/64.
    pub hyper_channels: usize,
    /// Width of the hyper-decoder; the parameter networks are twice as wide.
    pub width: usize,
    /// Whether the previous frame's latent is an input.
    pub temporal: bool,
    /// Whether y is coded in two steps, the second seeing the first.
    pub checkerboard: bool,
    /// Whether luma of each block chooses one of [`TRANSFORMS`] linear transforms. All linear channels of a block are coded then.
    #[serde(default)]
    pub transforms: bool,
    /// Whether luma's linear channels code what a prediction from blocks to the left and above misses. Blocks choose transforms then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub intra_prediction: bool,
    /// Whether scales of linear channels are corrected by what was coded before. Blocks choose transforms then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adaptive_scales: bool,
}

/// One layer of the integer networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Name in a model file, such as `hs0`.
    pub name: &'static str,
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Depthwise 3x3 with zero padding (`inputs == outputs`) instead of 1x1.
    pub depthwise: bool,
    /// Followed by a LeakyReLU of slope 1/8.
    pub leaky: bool,
}

impl LayerShape {
    /// Weights of one output channel.
    pub fn weights_per_output(&self) -> usize {
        if self.depthwise { 9 } else { self.inputs }
    }
}

impl EntropyConfig {
    /// Inputs of the first parameter network that say which transform a block has.
    pub fn choices(&self) -> usize {
        if self.transforms { TRANSFORMS - 1 } else { 0 }
    }

    /// Checks that every width lies within bounds that keep tensors small.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] naming the field and its range.
    pub fn validate(&self) -> Result<()> {
        if self.intra_prediction && (self.temporal || !self.transforms) {
            return Err(Error::ModelMismatch(
                "entropy config: intra_prediction needs transforms, and no latent of the last frame as input".into(),
            ));
        }
        if self.adaptive_scales && !self.transforms {
            return Err(Error::ModelMismatch("entropy config: adaptive_scales needs transforms".into()));
        }
        let least = if self.transforms {
            COMPLETE
        } else if self.checkerboard {
            2
        } else {
            1
        };
        for (name, value, least) in
            [("channels", self.channels, least), ("hyper_channels", self.hyper_channels, 1), ("width", self.width, 1)]
        {
            if !(least..=MAX_CHANNELS).contains(&value) {
                return Err(Error::ModelMismatch(format!(
                    "entropy config: {name} is {value}, it must lie in {least}..={MAX_CHANNELS}"
                )));
            }
        }
        Ok(())
    }

    /// Layers in the order of evaluation: hyper-decoder `hs0..hs2`, parameter network `p1a..p1c` with its head `h1`, and,
    /// with the checkerboard, `p2a..p2c` with `h2`.
    pub fn layer_shapes(&self) -> Vec<LayerShape> {
        let (c, w) = (self.channels, self.width);
        let prior = if self.temporal { c } else { 0 };
        let pointwise = |name, inputs, outputs, leaky| LayerShape { name, inputs, outputs, depthwise: false, leaky };
        let depthwise = |name, channels, leaky| LayerShape { name, inputs: channels, outputs: channels, depthwise: true, leaky };
        let mut shapes = vec![
            pointwise("hs0", self.hyper_channels, 4 * w, false),
            depthwise("hs1", w, true),
            pointwise("hs2", w, 4 * w, true),
            pointwise("p1a", w + prior + self.choices(), 2 * w, true),
            depthwise("p1b", 2 * w, false),
            pointwise("p1c", 2 * w, 2 * w, true),
            pointwise("h1", 2 * w, 2 * c, false),
        ];
        if self.checkerboard {
            shapes.extend([
                pointwise("p2a", 2 * w + c, 2 * w, true),
                depthwise("p2b", 2 * w, false),
                pointwise("p2c", 2 * w, 2 * w, true),
                pointwise("h2", 2 * w, 2 * c, false),
            ]);
        }
        shapes
    }
}

/// One `T` for each layer of the integer networks.
#[derive(Clone, Debug)]
pub struct Layers<T> {
    /// Hyper-decoder, `hs0..hs2`.
    pub hyper: [T; 3],
    /// Parameters of all elements or, with the checkerboard, of the first half: `p1a..p1c` and `h1`.
    pub first: ParameterLayers<T>,
    /// Parameters of the second half: `p2a..p2c` and `h2`. Only with the checkerboard.
    pub second: Option<ParameterLayers<T>>,
}

/// One `T` for each layer of a parameter network.
#[derive(Clone, Debug)]
pub struct ParameterLayers<T> {
    /// To the features, which the second network sees too.
    pub features: [T; 3],
    /// From the features to mean and scale.
    pub head: T,
}

impl<T> ParameterLayers<T> {
    fn take(items: &mut impl Iterator<Item = T>) -> Option<Self> {
        Some(Self { features: [items.next()?, items.next()?, items.next()?], head: items.next()? })
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.features.iter().chain([&self.head])
    }
}

impl<T> Layers<T> {
    /// From a list in the order of [`EntropyConfig::layer_shapes`]; `None` if it is too short.
    pub fn from_list(items: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut items = items.into_iter();
        let hyper = [items.next()?, items.next()?, items.next()?];
        Some(Self { hyper, first: ParameterLayers::take(&mut items)?, second: ParameterLayers::take(&mut items) })
    }

    /// In the order of [`EntropyConfig::layer_shapes`].
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.hyper.iter().chain(self.first.iter()).chain(self.second.iter().flat_map(ParameterLayers::iter))
    }
}
