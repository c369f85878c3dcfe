//! Bytes through the scanner and the unit parser.

#![no_main]

use codec_core::Limits;
use codec_core::bitstream::{Scan, parse_unit, scan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let _ = parse_unit(data, &limits);
    let mut rest = data;
    while !rest.is_empty() {
        rest = match scan(rest, &limits) {
            Scan::Unit { len, .. } => {
                assert!(len > 0 && len <= rest.len());
                let _ = parse_unit(&rest[..len], &limits);
                &rest[len..]
            }
            Scan::Skip { bytes, .. } => {
                assert!(bytes > 0 && bytes <= rest.len());
                &rest[bytes..]
            }
            Scan::NeedMore(bytes) => {
                assert!(bytes > rest.len() && bytes <= limits.max_unit_bytes);
                break;
            }
        };
    }
});
