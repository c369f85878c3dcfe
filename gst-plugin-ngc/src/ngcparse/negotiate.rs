//! Output caps of `ngcparse`: the form of NGC that downstream takes.

use codec_core::bitstream::{SequenceHeader, VideoInfo};
use gst::subclass::prelude::*;
use gst_base::prelude::*;

use super::imp::{CAT, NgcParse};
use crate::caps;

impl NgcParse {
    /// Sets the output caps when the sequence changes: the first form that downstream takes.
    pub(super) fn update_caps(&self, sequence: &SequenceHeader) -> Result<(), gst::FlowError> {
        let upstream = {
            let mut state = self.state.lock().unwrap();
            state.started = true;
            if state.video.as_ref() == Some(&sequence.video) {
                return Ok(());
            }
            state.video = Some(sequence.video.clone());
            state.upstream.clone()
        };
        let video = &sequence.video;
        let upstream = upstream.as_deref();
        let pad = self.obj().src_pad().clone();
        let mut plain = caps::ngc(video, upstream);
        plain.make_mut().set("parsed", true);
        let allowed = pad.peer_query_caps(Some(&pad.pad_template_caps()));
        let matroska = caps::matroska_follows(&pad);
        let candidates = [Some(plain), Some(caps::mp4()), matroska.then(caps::matroska)].map(|candidate| {
            let mut candidate = candidate?;
            caps::describe(&mut candidate, video, upstream);
            Some(candidate)
        });
        let Some(chosen) = candidates.into_iter().flatten().find(|c| c.can_intersect(&allowed)) else {
            if pad.pad_flags().contains(gst::PadFlags::FLUSHING) {
                // Asked again with the next keyframe.
                self.state.lock().unwrap().video = None;
                return Err(gst::FlowError::Flushing);
            }
            self.refuse(video, &allowed);
            self.state.lock().unwrap().refused = true;
            return Err(gst::FlowError::NotNegotiated);
        };
        self.set_rate();
        if let Some(change) = pad.current_caps().and_then(|current| change(&current, &chosen)) {
            if let Change::Shape(from) = change {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Format,
                    (
                        "the video changes from {from} to {}: ngcdec shows both, but the file's own header keeps {from}; for one size, scale in front of ngcenc (videoscale and a caps filter)",
                        shape(&chosen)
                    )
                );
            }
            return Ok(());
        }
        self.state.lock().unwrap().refused = false;
        gst::info!(CAT, imp = self, "caps {}", chosen);
        pad.push_event(gst::event::Caps::new(&chosen));
        Ok(())
    }

    /// Says why nothing downstream takes the stream.
    fn refuse(&self, video: &VideoInfo, allowed: &gst::Caps) {
        let (width, height) = (video.width, video.height);
        let side = caps::MP4_MIN_SIDE;
        if (width.min(height) as i32) < side && caps::mp4().can_intersect(allowed) {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("MP4 holds frames of at least {side}x{side} pixels, this stream has {width}x{height}; use matroskamux")
            );
        } else if caps::matroska().can_intersect(allowed) {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("what follows cannot carry or decode NGC; use mp4mux, matroskamux, rtpgstpay or ngcdec")
            );
        } else {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("what follows takes no form of NGC in common; behind a tee, give each branch an ngcparse of its own"),
                ["downstream takes {allowed}"]
            );
        }
    }
}

/// What is new for a muxer that has caps. It would refuse others, which NGC does not need: every keyframe says what it is.
enum Change {
    /// Nothing that it writes down, such as another frame rate.
    None,
    /// Size or pixel aspect ratio, from these.
    Shape(String),
}

/// `None`: what follows is no muxer, or another one.
fn change(current: &gst::Caps, new: &gst::Caps) -> Option<Change> {
    let name = |caps: &gst::Caps| caps.structure(0).map(|s| s.name().to_string());
    if name(current) != name(new) || name(new)? == caps::MEDIA_TYPE {
        return None;
    }
    let (before, after) = (shape(current), shape(new));
    Some(if before == after { Change::None } else { Change::Shape(before) })
}

/// Size and, where it is not square, the pixel's aspect ratio.
fn shape(caps: &gst::Caps) -> String {
    let Some(s) = caps.structure(0) else { return String::new() };
    let number = |field: &str| s.get::<i32>(field).unwrap_or(0);
    let size = format!("{}x{}", number("width"), number("height"));
    match s.get::<gst::Fraction>("pixel-aspect-ratio") {
        Ok(ratio) if ratio != gst::Fraction::new(1, 1) => format!("{size} (pixels {}:{})", ratio.numer(), ratio.denom()),
        _ => size,
    }
}
