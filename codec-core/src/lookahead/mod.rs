//! Frames are held back until the encoder can know what becomes of them.
//!
//! In: frames. Out: the same frames, each with a [`Foresight`]: how those after it will be predicted. From that the encoder works out
//! how much each place matters for later frames ([`inherit`]), and spends its bits accordingly.

mod inherit;
mod temporal_filter;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::frame::pad::padded;
use crate::frame::{Frame, FrameView};
use crate::motion::{BlockSearch, SearchEffort, Survey, SurveyedBlock};
use crate::pipeline::{Encoder, FrameOptions, Packet};
use crate::quality::lambda;
use crate::{Error, Result, threads};

pub(crate) use inherit::{Importance, importance, keyframe_bonus};
pub(crate) use temporal_filter::{Strength, Surroundings, TemporalFilter};

/// Quality index whose price of motion surveys count with: frames are looked at before rate control knows their quality.
const QUALITY: f64 = 38.0;

/// Squared error of a prediction, in squared grey levels, above which a frame costs noticeably more.
const NOTICED: f64 = 20.0;
/// The logarithm of the cost of P-frames without any error, and how it grows with the mean logarithm of errors; fitted to the first second of 16
/// clips. The largest cost that is believed: nothing is expected to be worse than noise.
const COST_OF_NOTHING: f64 = 0.6;
const COST_OF_ERRORS: f64 = 2.4;
const LARGEST_COST: f64 = 60.0;

/// How the frames after one will be predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foresight {
    /// From the next frame on, each to the frame before it.
    surveys: Vec<Arc<Survey>>,
    /// The first of these frames, for [`temporal_filter`].
    later: Vec<Arc<Frame>>,
}

impl Foresight {
    /// At most `count` of the frames after it.
    pub(crate) fn later(&self, count: usize) -> &[Arc<Frame>] {
        &self.later[..count.min(self.later.len())]
    }

    /// What predictions will leave in at most `count` of the frames after it, on the mean, as in
    /// [`Content::Prediction`](crate::rate::Content::Prediction). `None` where nothing is known of them.
    pub(crate) fn cost(&self, count: usize) -> Option<f64> {
        let errors = || self.surveys.iter().take(count).flat_map(|survey| &survey.blocks).map(SurveyedBlock::mean_error);
        let blocks = errors().count();
        let logarithms: f64 = errors().map(|error| (error / NOTICED).ln_1p()).sum();
        (blocks > 0).then(|| (COST_OF_NOTHING + COST_OF_ERRORS * logarithms / blocks as f64).exp().min(LARGEST_COST))
    }
}

/// Holds frames back, and says what comes after each.
///
/// ```
/// # use codec_core::{Encoder, EncoderConfig, FrameOptions, Lookahead, bitstream::VideoInfo, frame::Frame};
/// let video = VideoInfo { width: 64, height: 48, ..VideoInfo::default() };
/// let mut encoder = Encoder::new(EncoderConfig::new(video))?;
/// let mut lookahead = Lookahead::new(12, 0)?;
/// let mut stream: Vec<u8> = Vec::new();
/// for number in 0..30 {
///     lookahead.push(&Frame::new(64, 48).view(), FrameOptions::default(), number)?;
///     if let Some(ready) = lookahead.pop_pair(false) {
///         ready.encode(&mut encoder)?.iter().for_each(|packet| stream.extend(&packet.data));
///     }
/// }
/// // The stream ends: what is held back goes out.
/// while let Some(ready) = lookahead.pop_pair(true) {
///     ready.encode(&mut encoder)?.iter().for_each(|packet| stream.extend(&packet.data));
/// }
/// # Ok::<_, codec_core::Error>(())
/// ```
pub struct Lookahead<T> {
    depth: usize,
    threads: usize,
    search: BlockSearch,
    held: VecDeque<Held<T>>,
}

struct Held<T> {
    /// Of the coded size.
    frame: Arc<Frame>,
    display: (usize, usize),
    options: FrameOptions,
    item: T,
    /// To the frame before; `None` where there is none to be predicted from.
    survey: Option<Arc<Survey>>,
}

/// A frame whose turn it is, or two that can be a pair.
pub struct Ready<T> {
    /// One or two.
    frames: Vec<Waiting>,
    /// What was pushed with the frames.
    pub items: Vec<T>,
}

/// A frame with its foresight.
struct Waiting {
    frame: Arc<Frame>,
    display: (usize, usize),
    options: FrameOptions,
}

impl Waiting {
    /// As it was pushed.
    fn view(&self) -> FrameView<'_> {
        let (width, height) = self.display;
        FrameView { width, height, ..self.frame.view() }
    }
}

impl<T> Ready<T> {
    /// Has the frames encoded, with what is known of those after them: a packet for each, in order.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode(&self, encoder: &mut Encoder) -> Result<Vec<Packet>> {
        match &self.frames[..] {
            [first, second] => {
                let [a, b] = [first.view(), second.view()];
                encoder.encode_pair([(&a, first.options.clone()), (&b, second.options.clone())]).map(Vec::from)
            }
            frames => frames.iter().map(|frame| encoder.encode(&frame.view(), frame.options.clone())).collect(),
        }
    }
}

impl<T> Lookahead<T> {
    /// More frames than these gain next to nothing.
    pub const USUAL_DEPTH: usize = 12;
    /// More frames than this are not worth their memory.
    pub const MAX_DEPTH: usize = 60;

    /// Looks `depth` frames ahead, 0 (frames go through) to [`Self::MAX_DEPTH`]. `threads`: as [`EncoderConfig::threads`](crate::EncoderConfig::threads).
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a depth beyond [`Self::MAX_DEPTH`].
    pub fn new(depth: usize, threads: usize) -> Result<Self> {
        if depth > Self::MAX_DEPTH {
            let most = Self::MAX_DEPTH;
            return Err(Error::InvalidConfig(format!("a lookahead of {depth} frames: the range is 0..={most}")));
        }
        Ok(Self { depth, threads: threads::count(threads), search: BlockSearch::new(SearchEffort::Fast), held: VecDeque::new() })
    }

    /// Takes a frame, and something of the caller's that comes back with it.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a frame whose planes are shorter than its size.
    pub fn push(&mut self, frame: &FrameView, options: FrameOptions, item: T) -> Result<()> {
        let (display, coded) = ((frame.width, frame.height), padded(frame)?);
        let before = self.held.back().filter(|last| self.depth > 0 && last.display == display && !options.force_keyframe);
        let survey = before.map(|last| {
            let (search, threads, planes) = (&mut self.search, self.threads, [coded.plane(0), last.frame.plane(0)]);
            let survey = || search.survey(planes[0], planes[1], display, lambda(QUALITY), threads);
            Arc::new(threads::inside(threads, survey))
        });
        self.held.push_back(Held { frame: Arc::new(coded), display, options, item, survey });
        Ok(())
    }

    /// The next frame, if as many are known after it as the lookahead is deep, or if there will be no more: `ends`.
    pub fn pop(&mut self, ends: bool) -> Option<Ready<T>> {
        if !ends && self.held.len() <= self.depth {
            return None;
        }
        let (frame, item) = self.take()?;
        Some(Ready { frames: vec![frame], items: vec![item] })
    }

    /// As [`Self::pop`], but two frames where they can be a pair ([`Encoder::encode_pair`]), so that each waits for one frame more.
    pub fn pop_pair(&mut self, ends: bool) -> Option<Ready<T>> {
        if !ends && self.held.len() <= self.depth + 1 {
            return None;
        }
        let may_be = |held: &Held<T>| held.survey.is_some() && !held.options.force_keyframe;
        let is_pair = self.held.len() > 1 && self.held.iter().take(2).all(may_be);
        let (frames, items) = (0..if is_pair { 2 } else { 1 }).map_while(|_| self.take()).unzip();
        Some(Ready { frames, items }).filter(|ready| !ready.items.is_empty())
    }

    /// The next frame, with what is known of those after it.
    fn take(&mut self) -> Option<(Waiting, T)> {
        let Held { frame, display, mut options, item, .. } = self.held.pop_front()?;
        let surveys: Vec<_> = self.held.iter().map_while(|held| held.survey.clone()).collect();
        let later = self.held.iter().take(surveys.len().min(Strength::MOST_FRAMES)).map(|held| Arc::clone(&held.frame)).collect();
        options.foresight = (!surveys.is_empty()).then_some(Foresight { surveys, later });
        Some((Waiting { frame, display, options }, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: usize, height: usize, luma: u8) -> Frame {
        let mut frame = Frame::new(width, height);
        frame.planes_mut()[0].data.fill(luma);
        frame
    }

    fn push(lookahead: &mut Lookahead<u8>, frame: &Frame, force_keyframe: bool, item: u8) {
        let options = FrameOptions { force_keyframe, ..FrameOptions::default() };
        lookahead.push(&frame.view(), options, item).unwrap();
    }

    /// How many frames each one that comes out can see.
    fn seen(ready: &Ready<u8>) -> usize {
        ready.frames[0].options.foresight.as_ref().map_or(0, |foresight| foresight.surveys.len())
    }

    #[test]
    fn frames_come_out_as_they_went_in_once_enough_are_known() {
        let mut lookahead = Lookahead::new(3, 1).unwrap();
        let mut out = Vec::new();
        for i in 0..6 {
            push(&mut lookahead, &frame(70, 50, 10 * i), false, i);
            let ready = lookahead.pop(false);
            assert_eq!(ready.is_some(), i >= 3, "{i}");
            out.extend(ready);
        }
        while let Some(ready) = lookahead.pop(true) {
            out.push(ready);
        }
        for (i, ready) in out.iter().enumerate() {
            assert_eq!(usize::from(ready.items[0]), i);
            assert_eq!(seen(ready), 3.min(5 - i), "{i}");
            let (view, luma) = (ready.frames[0].view(), 10 * i as u8);
            assert_eq!((view.width, view.height), (70, 50));
            assert_eq!(view.y.data[49 * view.y.stride..][..70], [luma; 70]);
        }
        assert_eq!(out.len(), 6);
    }

    #[test]
    fn nothing_is_seen_beyond_a_keyframe_or_another_size() {
        let mut lookahead = Lookahead::new(8, 1).unwrap();
        for i in 0..6 {
            let side = if i < 4 { 64 } else { 32 };
            push(&mut lookahead, &frame(side, side, 90), i == 2, i);
        }
        let mut sight = || lookahead.pop(true).map(|ready| seen(&ready));
        assert_eq!(std::array::from_fn(|_| sight()), [Some(1), Some(0), Some(1), Some(0), Some(1), Some(0), None]);
    }

    #[test]
    fn without_depth_frames_go_through() {
        let mut none = Lookahead::new(0, 1).unwrap();
        push(&mut none, &frame(64, 64, 0), false, 7);
        let ready = none.pop(false).unwrap();
        assert!(ready.items == [7] && ready.frames[0].options.foresight.is_none());
        assert!(Lookahead::<()>::new(61, 1).is_err_and(|e| e.to_string().contains("0..=60")));
    }

    #[test]
    fn two_frames_come_out_where_they_can_be_a_pair() {
        let mut lookahead = Lookahead::new(3, 1).unwrap();
        let mut out = Vec::new();
        for i in 0..10 {
            push(&mut lookahead, &frame(64, 64, 10 * i), i == 6, i);
            let ready = lookahead.pop_pair(false);
            assert!(ready.is_none() || i >= 4, "{i}");
            out.extend(ready.map(|ready| (ready.items.clone(), seen(&ready))));
        }
        while let Some(ready) = lookahead.pop_pair(true) {
            out.push((ready.items.clone(), seen(&ready)));
        }
        // The first frame and one that is to be a keyframe come alone, and so does the one that is left before it. None sees beyond it.
        let wanted = [(vec![0], 4), (vec![1, 2], 4), (vec![3, 4], 2), (vec![5], 0), (vec![6], 3), (vec![7, 8], 2), (vec![9], 0)];
        assert_eq!(out, wanted);
    }
}
