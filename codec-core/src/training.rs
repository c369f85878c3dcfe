//! What training, measuring and testing of this codec reach beside its interface: networks, kernels, entropy coding, model files.
//!
//! **Nothing here is stable**: anything may change or go with any release.

pub use crate::pipeline::StageTimes;

/// Opens modules that are private otherwise.
macro_rules! open {
    ($($module:ident: $about:literal,)+) => {
        $(
            #[doc = $about]
            pub mod $module {
                pub use crate::$module::*;
            }
        )+
    };
}

open! {
    architecture: "What a model is made of.",
    entropy: "Entropy coding in exact integer arithmetic.",
    detail: "Strengths of the postfilter over a picture.",
    flow: "Dense motion estimation for the `paper` profile.",
    integer: "Integer convolutions.",
    kernels: "Full-resolution work outside the networks.",
    loopfilter: "A Wiener filter in the loop.",
    model: "Model files.",
    motion: "Block motion.",
    quality: "Quality indices and what they stand for.",
    rate: "Rate control.",
    rt: "The networks of the `rt` profile in integers.",
}

/// Padding to the coded size.
pub mod pad {
    pub use crate::frame::pad::*;
}

/// The networks in floats, on libtorch.
#[cfg(feature = "torch")]
pub mod nn {
    pub use crate::nn::*;
}
