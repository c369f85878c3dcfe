//! The same bits and the same pictures whatever computes them.

use codec_core::frame::Frame;
use codec_core::{Decoder, DecoderConfig, DeviceSpec, Encoder, EncoderConfig, FrameOptions, Packet, QualityMap};
use ngc_tests::{DecodedFrame, decode_with, encode, encoder_config, real_frames, repository};

const SIZE: (usize, usize) = (176, 144);

fn clip() -> Vec<Frame> {
    real_frames(&repository("examples/media/flower.mp4"), SIZE.0, SIZE.1, 6)
}

/// With a keyframe in the middle.
fn coded(device: DeviceSpec, threads: usize, quality: u8, frames: &[Frame]) -> Vec<Packet> {
    encode(EncoderConfig { device, threads, quality, key_int_max: 4, ..encoder_config(SIZE.0, SIZE.1) }, frames)
}

/// The same with quality maps that change, over the keyframe too.
fn coded_with_maps(threads: usize, frames: &[Frame]) -> Vec<Packet> {
    let mut encoder =
        Encoder::new(EncoderConfig { threads, quality: 34, detail: Some(1.0), key_int_max: 4, ..encoder_config(SIZE.0, SIZE.1) })
            .unwrap();
    let (width, height) = (SIZE.0 as u32, SIZE.1 as u32);
    let (rows, cols) = QualityMap::grid(width, height);
    let mut code = |(t, frame): (usize, &Frame)| {
        let values = (0..rows * cols).map(|cell| ((cell * 7 + cell / cols * 5 + t / 2 * 11) % 31) as i8 - 15).collect();
        let quality_map = Some(QualityMap::new(width, height, values).unwrap());
        encoder.encode(&frame.view(), FrameOptions { quality_map, ..FrameOptions::default() }).unwrap()
    };
    frames.iter().enumerate().map(&mut code).collect()
}

fn decoded(device: DeviceSpec, threads: usize, units: &[Packet]) -> Vec<DecodedFrame> {
    let decoder = Decoder::new(DecoderConfig { device, threads, ..DecoderConfig::default() }).unwrap();
    decode_with(decoder, units.iter().map(|unit| unit.data.as_slice()))
}

fn assert_equal(found: &[DecodedFrame], wanted: &[DecodedFrame], what: &str) {
    assert_eq!(found.len(), wanted.len());
    for (t, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(found.checksum, wanted.checksum, "{what}: symbols of frame {t}");
        assert!(found.frame == wanted.frame, "{what}: picture of frame {t}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same() {
    let frames = clip();
    let units = coded(DeviceSpec::Cpu, 1, 24, &frames);
    let pictures = decoded(DeviceSpec::Cpu, 1, &units);
    for threads in [2, 3, 8] {
        assert!(coded(DeviceSpec::Cpu, threads, 24, &frames) == units, "{threads} threads encode something else");
        assert_equal(&decoded(DeviceSpec::Cpu, threads, &units), &pictures, &format!("{threads} threads"));
    }
    let units = coded_with_maps(1, &frames);
    let pictures = decoded(DeviceSpec::Cpu, 1, &units);
    for threads in [2, 5] {
        assert!(coded_with_maps(threads, &frames) == units, "{threads} threads encode something else with maps");
        assert_equal(&decoded(DeviceSpec::Cpu, threads, &units), &pictures, &format!("{threads} threads with maps"));
    }
}

#[test]
#[cfg(feature = "torch")]
fn libtorch_computes_the_same_integers() {
    let frames = clip();
    for quality in [8, 40] {
        let units = coded(DeviceSpec::Cpu, 1, quality, &frames);
        let pictures = decoded(DeviceSpec::Cpu, 1, &units);
        assert_equal(&decoded(DeviceSpec::CpuTorch, 1, &units), &pictures, "libtorch");
    }
    let units = coded_with_maps(1, &frames);
    assert_equal(&decoded(DeviceSpec::CpuTorch, 1, &units), &decoded(DeviceSpec::Cpu, 1, &units), "libtorch with maps");
}

#[test]
#[cfg(feature = "torch")]
fn cuda_computes_the_same_integers() {
    let frames = clip();
    let units = coded(DeviceSpec::Cpu, 1, 24, &frames);
    let cuda = DecoderConfig { device: DeviceSpec::Cuda(0), threads: 1, ..DecoderConfig::default() };
    let decoder = match Decoder::new(cuda) {
        Ok(decoder) => decoder,
        Err(error) if std::env::var_os("NGC_NEED_CUDA").is_some() => panic!("{error}"),
        Err(error) => return ngc_tests::skipped(&format!("cuda_computes_the_same_integers ({error})")),
    };
    let found = decode_with(decoder, units.iter().map(|unit| unit.data.as_slice()));
    assert_equal(&found, &decoded(DeviceSpec::Cpu, 1, &units), "CUDA");
}

/// Encodes with the defaults, detail maps and quality maps among them; decodes on the processor, and expects the encoder's own frames.
#[cfg(feature = "torch")]
fn assert_processor_decodes(mut encoder: Encoder, what: &str) {
    let frames = clip();
    let mut decoder = ngc_tests::decoder(1);
    decoder.set_detail(Some(0.0));
    for (t, frame) in frames.iter().enumerate() {
        let unit = encoder.encode(&frame.view(), FrameOptions::default()).unwrap();
        let picture = decoder.decode(&unit.data).unwrap();
        assert!(picture.frame == encoder.reconstruction(), "{what}: picture of frame {t}");
    }
}

/// With a keyframe in the middle.
#[cfg(feature = "torch")]
fn by_default(device: DeviceSpec) -> EncoderConfig {
    EncoderConfig { device, key_int_max: 4, ..EncoderConfig::new(encoder_config(SIZE.0, SIZE.1).video) }
}

#[test]
#[cfg(feature = "torch")]
fn the_processor_decodes_what_libtorch_encodes() {
    assert_processor_decodes(Encoder::new(by_default(DeviceSpec::CpuTorch)).unwrap(), "libtorch");
}

#[test]
#[cfg(feature = "torch")]
fn cuda_encodes_what_the_processor_decodes() {
    match Encoder::new(by_default(DeviceSpec::Cuda(0))) {
        Ok(encoder) => assert_processor_decodes(encoder, "CUDA"),
        Err(error) if std::env::var_os("NGC_NEED_CUDA").is_some() => panic!("{error}"),
        Err(error) => eprintln!("skipped: cuda_encodes_what_the_processor_decodes ({error})"),
    }
}

#[test]
fn a_model_is_shared() {
    let decoders = [(); 2].map(|()| Decoder::new(DecoderConfig { threads: 1, ..DecoderConfig::default() }).unwrap());
    assert!(std::ptr::eq(decoders[0].model(), decoders[1].model()));
    fn moves_between_threads<T: Send>(_: &T) {}
    moves_between_threads(&decoders[0]);
}
