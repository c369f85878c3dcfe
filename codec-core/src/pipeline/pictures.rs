//! The frames that a stream keeps, each with what made it.

use super::reconstruct::UNSHIFTED;
use super::rest::Rest;
use crate::frame::Frame;
use crate::motion::BlockField;
use crate::quality::FrameQuality;

/// Which of the frames that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The last one in coding order that others may be predicted from.
    Last,
    /// The B-frame before it.
    Between,
}

/// A frame of coded size, and what made it.
#[derive(Clone)]
pub struct Made {
    pub frame: Frame,
    pub prediction: Frame,
    pub quality: FrameQuality,
    /// Motion of a frame that is predicted by blocks.
    pub motion: Option<BlockField>,
    /// What has no residual, and how the grid of that is rotated.
    pub rest: Rest,
    pub shift: (i32, i32),
}

impl Made {
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            frame: Frame::new(width, height),
            prediction: Frame::new(width, height),
            quality: FrameQuality::default(),
            motion: None,
            rest: Rest::Areas(None),
            shift: UNSHIFTED,
        }
    }

    pub fn resize(&mut self, width: usize, height: usize) {
        if (width, height) != (self.frame.width(), self.frame.height()) {
            *self = Self::new(width, height);
        }
    }

    /// The prediction is the frame.
    pub fn rest(&mut self) {
        self.frame.clone_from(&self.prediction);
        self.rest = Rest::Frame;
    }
}

/// The frames that are kept.
pub struct Pictures {
    /// The reference of the next frame.
    pub last: Made,
    /// The last B-frame. Nothing is predicted from it.
    pub between: Made,
}

impl Pictures {
    pub fn of(&self, slot: Slot) -> &Made {
        match slot {
            Slot::Last => &self.last,
            Slot::Between => &self.between,
        }
    }

    pub fn of_mut(&mut self, slot: Slot) -> &mut Made {
        match slot {
            Slot::Last => &mut self.last,
            Slot::Between => &mut self.between,
        }
    }
}
