//! What a parameter is for: what optimiser, stages of training and export decide by.

/// A network with parameters of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// E_I, G_I and their coder.
    Intra,
    /// E_flow, G_flow and their coder (`paper` profile).
    Flow,
    /// E_res, G_res and their coder.
    Residual,
    /// The filter between a decoded frame and the screen.
    Postfilter,
    /// UFlow, which estimates motion in the encoder (`paper` profile).
    FlowEstimator,
    /// The judge of I-frames. Training alone needs it.
    IntraDiscriminator,
    /// The judge of P-frames. Training alone needs it.
    InterDiscriminator,
}

impl Network {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Intra,
        Self::Flow,
        Self::Residual,
        Self::Postfilter,
        Self::FlowEstimator,
        Self::IntraDiscriminator,
        Self::InterDiscriminator,
    ];

    /// Path below which its parameters lie in checkpoints and model files.
    pub fn path(self) -> &'static str {
        match self {
            Self::Intra => "intra",
            Self::Flow => "flow",
            Self::Residual => "residual",
            Self::Postfilter => "postfilter",
            Self::FlowEstimator => "uflow",
            Self::IntraDiscriminator => "discriminator.intra",
            Self::InterDiscriminator => "discriminator.inter",
        }
    }

    /// Whether it judges frames, which training alone does.
    pub fn is_discriminator(self) -> bool {
        matches!(self, Self::IntraDiscriminator | Self::InterDiscriminator)
    }
}

/// Part of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Of a network that is not divided: postfilter, flow estimator, discriminators.
    Whole,
    /// Analysis transform.
    Analysis,
    /// Synthesis transform.
    Synthesis,
    /// Gains around the rounding of a latent.
    Quantiser,
    /// Entropy model of a latent.
    Entropy,
}

impl Part {
    /// Whether it is an analysis or synthesis transform.
    pub fn is_transform(self) -> bool {
        matches!(self, Self::Analysis | Self::Synthesis)
    }
}

/// What a parameter does in its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Weights of a 1x1 convolution that mixes many channels: a matrix `[outputs, inputs, 1, 1]`.
    Matrix,
    /// A matrix of the linear channels, which starts as a DCT.
    Basis,
    /// Weights of any other convolution.
    Kernel,
    /// What is added to or multiplied with each channel.
    Channels,
    /// Values on the quality axis, most of them logarithms of gains.
    Knots,
}

/// What a parameter is for. It is said where the parameter is created; its name decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role {
    /// What it belongs to.
    pub network: Network,
    /// What of that.
    pub part: Part,
    /// What it does there.
    pub form: Form,
}

impl Role {
    /// Whether it makes the free latent: E_I's networks, through which P-frames see their prediction. The bias of the linear channels, which
    /// have no part in it, counts with them.
    pub fn is_free_latent(self) -> bool {
        self.network == Network::Intra && self.part == Part::Analysis && self.form != Form::Basis
    }
}
