//! Payloads through the whole decoder: motion, entropy networks, loop filter, reconstruction.
//!
//! An input is one byte for the quality and the kind of frame, then the payload. Framing is made here, so that its checks never stand
//! in the way. A P-frame or a pair follows a whole keyframe.

#![no_main]

use std::cell::RefCell;

use codec_core::bitstream::{FrameHeader, FrameType, write_unit};
use codec_core::{Decoder, DecoderConfig};
use libfuzzer_sys::fuzz_target;
use ngc_fuzz::{Stream, stream};

thread_local! {
    static STATE: RefCell<(Stream, Decoder)> = RefCell::new({
        let config = DecoderConfig { threads: 1, ..DecoderConfig::default() };
        (stream(), Decoder::new(config).expect("the built-in model"))
    });
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, payload)) = data.split_first() else { return };
    let quality = first & 63;
    STATE.with_borrow_mut(|(stream, decoder)| {
        let header = |kind, number| FrameHeader::new(kind, quality, number);
        let unit = if first & 64 == 0 {
            write_unit(&header(FrameType::I, 0), Some(&stream.sequence), payload)
        } else {
            decoder.decode(&stream.keyframe).expect("a whole keyframe");
            let kind = if first & 128 == 0 { FrameType::P } else { FrameType::Pair };
            write_unit(&header(kind, 1), None, payload)
        };
        let _ = decoder.decode(&unit.expect("a header that can be written"));
    });
});
