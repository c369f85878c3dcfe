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
        self.state.lock().unwrap().refused = false;
        gst::info!(CAT, imp = self, "caps {}", chosen);
        self.set_rate();
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
