//! What crosses between host and device, counted on the CPU.

use crate::bitstream::VideoInfo;
use crate::frame::Frame;
use crate::nn::transfer::{Transfers, counted};
use crate::{Decoder, DecoderConfig, DeviceSpec, Encoder, EncoderConfig, FrameOptions, Packet};

const SIZE: (usize, usize) = (160, 96);

/// A texture that moves, and brightens where nothing can be predicted.
fn picture(number: usize) -> Frame {
    let mut frame = Frame::new(SIZE.0, SIZE.1);
    for plane in frame.planes_mut() {
        for row in 0..plane.height {
            let texture =
                |col: usize| ((row * 7 + (col + 2 * number) * 5) % 97 + (row * (col + 2 * number)) % 31 + 9 * number) as u8;
            plane.row_mut(row).iter_mut().enumerate().for_each(|(col, sample)| *sample = 40 + texture(col));
        }
    }
    frame
}

/// With quality maps and detail maps, as by default.
fn encode(device: DeviceSpec) -> (Vec<Packet>, Vec<Transfers>) {
    let video = VideoInfo { width: SIZE.0 as u32, height: SIZE.1 as u32, ..VideoInfo::default() };
    let mut encoder = Encoder::new(EncoderConfig { device, threads: 1, ..EncoderConfig::new(video) }).unwrap();
    (0..6).map(|number| counted(|| encoder.encode(&picture(number).view(), FrameOptions::default()).unwrap())).unzip()
}

fn decode(device: DeviceSpec, postfilter: bool, units: &[Packet]) -> (Vec<Frame>, Vec<Transfers>) {
    let mut decoder = Decoder::new(DecoderConfig { device, threads: 1, ..DecoderConfig::default() }).unwrap();
    decoder.set_postfilter(postfilter);
    units.iter().map(|unit| counted(|| decoder.decode(&unit.data).unwrap().to_frame())).unzip()
}

#[test]
fn a_decoded_frame_crosses_once_each_way() {
    let (units, none) = encode(DeviceSpec::Cpu);
    assert_eq!(none, [Transfers::default(); 6]);
    for (postfilter, more) in [(false, 0), (true, 1)] {
        let (pictures, transfers) = decode(DeviceSpec::CpuTorch, postfilter, &units);
        // A latent; in P-frames a prediction before it. A picture back. For the screen once more each way: what is shown and was shown,
        // and what is to be done.
        assert_eq!(transfers[0], Transfers { uploads: 1 + more, downloads: 1 + more });
        assert_eq!(transfers[1..], [Transfers { uploads: 2 + more, downloads: 1 + more }; 5]);
        assert!(pictures == decode(DeviceSpec::Cpu, postfilter, &units).0, "postfilter {postfilter}");
    }
}

#[test]
fn what_libtorch_encodes_the_processor_decodes_to_the_same() {
    let (units, transfers) = encode(DeviceSpec::CpuTorch);
    // What a decoder does, an analysis, and a latent and its quality for each attempt at it.
    assert!(transfers.iter().all(|t| t.uploads <= 6 && t.downloads <= 4), "{transfers:?}");
    let wanted = decode(DeviceSpec::CpuTorch, true, &units).0;
    assert!(decode(DeviceSpec::Cpu, true, &units).0 == wanted);
}
