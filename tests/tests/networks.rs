//! What the trainer computes on tensors is what the codec does on integers and 8-bit frames.

#![allow(clippy::disallowed_methods, reason = "tests read what they look at")]

use std::sync::Arc;

use codec_core::bitstream;
use codec_core::frame::{Frame, Plane};
use codec_core::training::entropy::{MEAN_OVERHEAD_BYTES, SymbolWriter};
use codec_core::training::flow::FlowEstimator;
use codec_core::training::pad::padded;

use codec_core::training::integer::Area;
use codec_core::training::kernels::pack::{PackTarget, pack_frame};
use codec_core::training::kernels::sharpen::{BANDS, CHANNELS};
use codec_core::training::kernels::{self, PACKED_CHANNELS};
use codec_core::training::loopfilter::{FilterCoder, LoopFilter};
use codec_core::training::model::{Model, ModelSource, load_networks, read_float_tensors, write_model};
use codec_core::training::motion::{BlockCompensator, BlockSearch, MotionCoder, PaddedFrame, References, SearchEffort};
use codec_core::training::nn::blocks::{BlockHistory, BlockMotion};
use codec_core::training::nn::codec::{CodedFrame, InterInput, Motion, quality_tensor};
use codec_core::training::nn::entropy::{Arithmetic, Quantiser};
use codec_core::training::nn::ops::{Planes, add_detail, pack, sharpen};
use codec_core::training::nn::{Networks, Precision, whole};
use codec_core::{Encoder, FrameOptions, Packet};
use ngc_tests::{decode, encode, encoder_config, framing, real_frames, repository, synthetic_frame};
use tch::{Device, Kind, Tensor};

fn planes(frame: &Frame) -> Planes {
    Planes::from_frame(frame, Device::Cpu, Kind::Float).unwrap()
}

fn largest_difference(a: &Tensor, b: &[f32]) -> f64 {
    let b = Tensor::from_slice(b).view_as(a);
    (a - b).abs().max().double_value(&[])
}

#[test]
fn fused_packing_equals_the_tensors() {
    let frame = synthetic_frame(128, 64, 3);
    for shift in [(0, 0), (6, 14)] {
        let rolled = planes(&frame).rolled(i64::from(shift.0), i64::from(shift.1)).unwrap();
        let wanted = pack(&rolled).unwrap().permute([0, 2, 3, 1]).contiguous();
        let mut packed = vec![0i16; 8 * 16 * PACKED_CHANNELS];
        pack_frame(&frame, shift, PackTarget { data: &mut packed, channels: PACKED_CHANNELS, offset: 0 }, 1).unwrap();
        let packed: Vec<f32> = packed.iter().map(|&v| f32::from(v) / 510.0).collect();
        assert!(largest_difference(&wanted, &packed) < 1e-6);
    }
}

#[test]
fn fused_sharpening_equals_the_tensors() {
    let frame = synthetic_frame(192, 128, 1);
    let other = synthetic_frame(192, 128, 2);
    let past = planes(&other);
    for carry in [0, BANDS] {
        let channels = CHANNELS + carry;
        let value = |i: usize| (i as f32 * 0.37).sin() * if (2..CHANNELS).contains(&(i % channels)) { 0.1 } else { 1.5 } + 0.05;
        let map: Vec<f32> = (0..channels * 16 * 24).map(value).collect();
        let tensor = Tensor::from_slice(&map).view([1, 16, 24, -1]).permute([0, 3, 1, 2]);
        let decoded = planes(&frame);
        let mut wanted = sharpen(&decoded, &tensor.narrow(1, 0, 2), &tensor.narrow(1, 2, 64)).unwrap();
        if carry > 0 {
            let difference = past.sub(&decoded).unwrap().y;
            wanted.y = add_detail(&wanted.y, &difference, &tensor.narrow(1, CHANNELS as i64, 2)).unwrap();
        }
        let wanted = wanted.rounded().unwrap();
        let mut found = Plane::new(192, 128);
        let all = (&map[..], &Area::whole(16, 24));
        kernels::sharpen::sharpen(frame.plane(0), (carry > 0).then_some(other.plane(0)), all, &mut found, 2).unwrap();
        let found: Vec<f32> = found.data.iter().map(|&v| f32::from(v) / 255.0 - 0.5).collect();
        // Single samples round the other way.
        assert!(largest_difference(&wanted.y, &found) < 1.5 / 255.0);
        let mean = (wanted.y.view([-1]) - Tensor::from_slice(&found)).abs().mean(Kind::Float).double_value(&[]);
        assert!(mean < 1.5e-5, "{mean}");
    }
}

/// An 8-bit frame of planes.
fn frame(planes: &Planes) -> Frame {
    let (_, _, h, w) = planes.y.size4().unwrap();
    let mut frame = Frame::new(w as usize, h as usize);
    let rounded = planes.rounded().unwrap();
    let parts = [rounded.y.shallow_clone(), rounded.uv.narrow(1, 0, 1), rounded.uv.narrow(1, 1, 1)];
    for (plane, part) in frame.planes_mut().iter_mut().zip(parts) {
        plane.data = Vec::try_from(((part + 0.5) * 255.0).round().to_kind(Kind::Uint8).contiguous().view([-1])).unwrap();
    }
    frame
}

/// The encoder's motion from a frame to its reference, and its bits.
fn motion(frame: &Frame, reference: &Frame, golden: &Arc<Frame>, coder: &mut MotionCoder, quality: u8) -> BlockMotion {
    let size = (frame.width(), frame.height());
    let lambda = codec_core::training::quality::lambda(f64::from(quality));
    let mut search = BlockSearch::new(SearchEffort::Medium);
    search.set_golden(golden.plane(0), size, 1);
    let found = search.search(frame.plane(0), reference.plane(0), size, coder, lambda, 1);
    let mut writer = SymbolWriter::new();
    coder.encode(&found.field, &mut writer);
    let (mut prediction, mut padded) = (Frame::new(size.0, size.1), PaddedFrame::default());
    padded.load(golden, size, 1);
    let references = References { last: reference, golden: Some(&padded) };
    BlockCompensator::default().predict(references, size, coder.previous().unwrap(), 1, &mut prediction).unwrap();
    let history = BlockHistory { coder: coder.clone(), golden: Arc::clone(golden) };
    BlockMotion::new(vec![history], planes(&prediction), &[writer.bits() as f32], Device::Cpu).unwrap()
}

/// A clip as the trainer codes it, at the qualities of a stream of `quality`, with the bits of the loop filter. `references` are the
/// encoder's reconstructions: motion estimation makes much of a rounding error.
fn on_tensors(model: &Model, frames: &[Frame], references: &[Frame], quality: u8) -> Vec<(CodedFrame, f64)> {
    let networks = load_networks(model, Device::Cpu, Precision::Simulated).unwrap();
    let prepared = networks.prepare(Arithmetic::Integer).unwrap();
    let [q_intra, q] = qualities(model, quality);
    let size = (frames[0].width(), frames[0].height());
    let golden = Arc::new(references[0].clone());
    let (mut motion_coder, mut filter_coder) = (MotionCoder::new(size.0, size.1), FilterCoder::new(size));
    let mut filter = |original: &Frame, coded: &CodedFrame, q: u8| {
        let lambda = codec_core::training::quality::lambda(f64::from(q));
        let params = LoopFilter::default().estimate(original, &frame(&coded.frame), size, &filter_coder, lambda, 1);
        let mut writer = SymbolWriter::new();
        filter_coder.encode(params.as_ref(), &mut writer);
        writer.bits()
    };
    let intra = networks.intra_frame(&prepared, &planes(&frames[0]), &q_intra, &mut Quantiser::Hard).unwrap();
    let bits = filter(&frames[0], &intra, quality.saturating_sub(model.config().intra_quality_offset));
    let mut coded = vec![(intra, bits)];
    for (t, frame) in frames.iter().enumerate().skip(1) {
        // The seed that the encoder uses.
        let (dy, dx) = bitstream::shift(0x4e47_4331, t as u32);
        let shift = (i64::from(dy), i64::from(dx));
        let blocks = motion(frame, &references[t - 1], &golden, &mut motion_coder, quality);
        let (target, reference) = (planes(frame), planes(&references[t - 1]));
        let (previous, motion) = (coded[t - 1].0.inter.as_ref(), Motion::Blocks(blocks));
        let input = InterInput { frame: &target, reference: &reference, motion, previous, shift };
        let inter = networks.inter_frame(&prepared, input, &q, &mut Quantiser::Hard).unwrap();
        let bits = filter(frame, &inter, quality);
        coded.push((inter, bits));
    }
    coded
}

/// Quality indices of I-frames and P-frames.
fn qualities(model: &Model, quality: u8) -> [Tensor; 2] {
    let intra = quality.saturating_sub(model.config().intra_quality_offset);
    [intra, quality].map(|q| quality_tensor(&[q], Device::Cpu).unwrap())
}

/// The trainer's estimate of the payloads of a clip's frames, in bytes.
fn estimate(model: &Model, frames: &[Frame], references: &[Frame], quality: u8) -> Vec<f64> {
    let coded = on_tensors(model, frames, references, quality);
    coded.iter().map(|(c, filter)| (c.bits.double_value(&[0]) + filter) / 8.0 + MEAN_OVERHEAD_BYTES).collect()
}

/// Units and the encoder's reconstructions.
fn encode_with_references(config: codec_core::EncoderConfig, frames: &[Frame]) -> (Vec<Packet>, Vec<Frame>) {
    let mut encoder = Encoder::new(config).unwrap();
    let code = |frame: &Frame| {
        let packet = encoder.encode(&frame.view(), FrameOptions::default()).unwrap();
        (packet, encoder.reconstruction().clone())
    };
    frames.iter().map(code).unzip()
}

#[test]
fn detail_is_what_the_tensors_make_of_it() {
    let _no_grad = tch::no_grad_guard();
    tch::set_num_threads(1);
    // Of a quality at which nothing rests: what stands still would be shown as it was.
    let frames = real_frames(&repository("examples/media/flower.mp4"), 192, 128, 6);
    let (units, references) = encode_with_references(
        codec_core::EncoderConfig { detail: Some(1.0), adaptive_detail: false, quality: 10, ..encoder_config(192, 128) },
        &frames,
    );
    let decoded = decode(1, units.iter().map(|unit| unit.data.as_slice()));
    let model = Model::load(&ModelSource::Embedded).unwrap();
    let networks = load_networks(&model, Device::Cpu, Precision::Simulated).unwrap();
    let [q_intra, q] = qualities(&model, 10);
    let postfilter = networks.postfilter.as_ref().unwrap();
    let mut last = None;
    for (t, (coded, _)) in on_tensors(&model, &frames, &references, 10).iter().enumerate() {
        let past = networks.carried(last.as_ref(), coded.inter.as_ref()).unwrap();
        assert_eq!(past.is_some(), t > 0 && postfilter.looks_back());
        let q = if t == 0 { &q_intra } else { &q };
        let shown = postfilter.forward(&planes(&references[t]), past.as_ref(), q, &whole()).unwrap().rounded().unwrap();
        let found = planes(&decoded[t].frame);
        for (wanted, found) in [(&shown.y, found.y), (&shown.uv, found.uv)] {
            let difference = (wanted - found).abs().mean(Kind::Float).double_value(&[]) * 255.0;
            // The decoder moves the past with the codec's interpolation, tensors with a bicubic one.
            assert!(difference < 0.1, "frame {t}: {difference} steps of 255");
        }
        last = Some(shown);
    }
}

#[test]
fn the_trainers_estimate_is_the_size_of_the_file() {
    let _no_grad = tch::no_grad_guard();
    tch::set_num_threads(1);
    let frames: Vec<Frame> =
        real_frames(&repository("examples/media/flower.mp4"), 320, 192, 30).iter().map(|f| padded(&f.view()).unwrap()).collect();
    // The trainer estimates by Gaussians, of the scales that the networks say.
    let (mut config, mut params) = read_float_tensors(&ModelSource::Embedded).unwrap();
    for entropy in [&mut config.intra_entropy, &mut config.residual_entropy] {
        entropy.adaptive_scales = false;
    }
    let networks = Networks::load(&mut params, &config, Device::Cpu).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), write_model(&config, &params, &networks, &[]).unwrap()).unwrap();
    let source = ModelSource::File(file.path().to_owned());
    let model = Model::load(&source).unwrap();
    let blocks = 20 * 12;
    // At none of these does the encoder leave out the residual of a whole frame of this clip, which the trainer never does.
    for quality in [10, 24, 40, 50] {
        let encoder = codec_core::EncoderConfig { quality, model: source.clone(), ..encoder_config(320, 192) };
        let (units, references) = encode_with_references(encoder, &frames);
        let real: Vec<f64> = units.iter().map(|unit| (unit.data.len() - framing(unit)) as f64).collect();
        let estimated = estimate(&model, &frames, &references, quality);
        let error = real[0] / estimated[0] - 1.0;
        assert!(error.abs() < 0.01, "quality {quality}, I-frame: {} bytes, {:.0} estimated", real[0], estimated[0]);
        let [real, estimated]: [f64; 2] = [&real, &estimated].map(|sizes| sizes[1..].iter().sum());
        // Choices of transforms are not in the estimate: less than a third of a bit a block.
        let choices = (blocks * (frames.len() - 1)) as f64 / 3.0 / 8.0;
        let range = estimated * 0.99..estimated * 1.01 + choices;
        assert!(range.contains(&real), "quality {quality}, P-frames: {real} bytes, {estimated:.0} estimated");
    }
}

/// A model of the `paper` profile, small enough for a test.
fn small_paper() -> codec_core::training::nn::ModelConfig {
    codec_core::training::nn::ModelConfig::paper_with(4, 1, 12, 8, 8)
}

#[test]
fn the_paper_profile_learns_and_codes() {
    let config = small_paper();
    let mut params = codec_core::training::nn::ParamStore::new();
    tch::manual_seed(1);
    let networks = codec_core::training::nn::Networks::init(&mut params, &config, Device::Cpu).unwrap();
    let q = quality_tensor(&[20], Device::Cpu).unwrap();
    let prepared = networks.prepare(Arithmetic::Integer).unwrap();
    let frames = [0, 1].map(|i| planes(&synthetic_frame(64, 64, i)));
    let intra = networks.intra_frame(&prepared, &frames[0], &q, &mut Quantiser::Hard).unwrap();
    let flow = Tensor::zeros([1, 2, 16, 16], (Kind::Float, Device::Cpu));
    let reference = frames[0].shallow_clone();
    let input =
        InterInput { frame: &frames[1], reference: &reference, motion: Motion::Flow(flow), previous: None, shift: (2, 6) };
    let inter = networks.inter_frame(&prepared, input, &q, &mut Quantiser::Hard).unwrap();
    assert_eq!(inter.frame.y.size(), [1, 1, 64, 64]);
    let loss = inter.frame.y.square().mean(Kind::Float) + intra.frame.y.square().mean(Kind::Float) + inter.bits.mean(Kind::Float);
    loss.backward();
    for part in
        ["intra.analysis", "intra.synthesis", "flow.analysis", "flow.synthesis", "residual.analysis", "residual.synthesis"]
    {
        let moved = params.iter().filter(|(name, _)| name.starts_with(part)).any(|(_, t)| {
            let gradient = t.grad();
            gradient.defined() && gradient.abs().max().double_value(&[]) > 0.0
        });
        assert!(moved, "no gradient reaches {part}");
    }

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("paper.safetensors");
    let bytes = tch::no_grad(|| codec_core::training::model::write_model(&config, &params, &networks, &[])).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let frames: Vec<_> = (0..3).map(|i| synthetic_frame(70, 50, i)).collect();
    let model = ModelSource::File(path);
    let units = encode(codec_core::EncoderConfig { model: model.clone(), ..encoder_config(70, 50) }, &frames);
    let mut decoder = codec_core::Decoder::new(codec_core::DecoderConfig { threads: 1, model, ..Default::default() }).unwrap();
    for unit in &units {
        assert_eq!(decoder.decode(&unit.data).unwrap().to_frame().width(), 70);
    }
    // The built-in model refuses the stream and says which model it wants.
    let error = ngc_tests::decoder(1).decode(&units[0].data).unwrap_err();
    assert!(matches!(&error, codec_core::Error::ModelMismatch(m) if m.contains("model-file")), "{error}");
}

#[test]
fn mixed_precision_and_simulated_integers_learn_nearly_the_same() {
    use codec_core::training::nn::{Networks, Precision};
    let frames = [0, 1].map(|i| planes(&synthetic_frame(64, 64, i)));
    let q = quality_tensor(&[20], Device::Cpu).unwrap();
    let still = |config: &codec_core::training::nn::ModelConfig, reference: &Planes| match config.flow {
        Some(_) => Motion::Flow(Tensor::zeros([1, 2, 16, 16], (Kind::Float, Device::Cpu))),
        None => {
            let reference = frame(reference);
            Motion::Blocks(motion(&reference, &reference, &Arc::new(reference.clone()), &mut MotionCoder::new(64, 64), 20))
        }
    };
    let fresh = || {
        tch::manual_seed(1);
        let mut params = codec_core::training::nn::ParamStore::new();
        Networks::init(&mut params, &small_paper(), Device::Cpu).unwrap();
        (small_paper(), params)
    };
    let (trained, params) = codec_core::training::model::read_float_tensors(&ModelSource::Embedded).unwrap();
    params.iter().for_each(|(_, t)| drop(t.set_requires_grad(true)));
    for (config, mut params) in [fresh(), (trained, params)] {
        let mut learned = |precision| {
            let networks = Networks::load_for_training(&mut params, &config, Device::Cpu, precision).unwrap();
            params.iter().for_each(|(_, t)| t.shallow_clone().zero_grad());
            let prepared = networks.prepare(Arithmetic::Integer).unwrap();
            let intra = networks.intra_frame(&prepared, &frames[0], &q, &mut Quantiser::Hard).unwrap();
            let reference = frames[0].shallow_clone();
            let motion = still(&config, &reference);
            let input = InterInput { frame: &frames[1], reference: &reference, motion, previous: None, shift: (0, 0) };
            let inter = networks.inter_frame(&prepared, input, &q, &mut Quantiser::Hard).unwrap();
            let error = |a: &Tensor, b: &Tensor| (a - b).square().mean(Kind::Float);
            let distortion = error(&intra.frame.y, &frames[0].y) + error(&inter.frame.y, &frames[1].y);
            let loss = distortion * 100.0 + (intra.bits + inter.bits).mean(Kind::Float) / 4096.0;
            loss.backward();
            let gradients: Vec<Tensor> = params
                .iter()
                .filter(|(name, t)| name.contains(".synthesis.") && t.grad().defined())
                .map(|(_, t)| t.grad().copy())
                .collect();
            assert!(gradients.iter().all(|g| g.kind() == Kind::Float));
            let gradient = Tensor::cat(&gradients.iter().map(|g| g.flatten(0, -1)).collect::<Vec<_>>(), 0);
            (loss.double_value(&[]), gradient, intra.frame.y.kind())
        };
        let (full, wanted, _) = learned(Precision::Full);
        // The paper profile has no integers.
        let coarse = if config.flow.is_some() { vec![Precision::Mixed] } else { vec![Precision::Mixed, Precision::Simulated] };
        for precision in coarse {
            let (loss, found, kind) = learned(precision);
            assert_eq!(kind, Kind::Float, "what is rounded to samples");
            assert!(loss != full && (loss / full - 1.0).abs() < 0.05, "{precision:?}: {loss} beside {full}");
            let cosine = (found.dot(&wanted) / (found.norm() * wanted.norm())).double_value(&[]);
            assert!(cosine > 0.95, "{precision:?}: {cosine}");
        }
    }
}

#[test]
fn uflow_estimates_through_the_same_trait_and_can_learn() {
    use codec_core::training::nn::uflow::{UFlow, UFlowEstimator};
    tch::manual_seed(1);
    let mut params = codec_core::training::nn::ParamStore::new();
    let network = UFlow::init(&mut params, Device::Cpu).unwrap();
    let frames = [0, 1].map(|i| synthetic_frame(128, 64, i));
    let (a, b) = (planes(&frames[1]), planes(&frames[0]));
    let flow = network.forward(&a.y, &b.y).unwrap();
    assert_eq!(flow.size(), [1, 2, 16, 32]);
    flow.square().mean(Kind::Float).backward();
    let learns = |t: &Tensor| t.grad().defined() && t.grad().abs().max().double_value(&[]) > 0.0;
    for part in ["uflow.pyramid.4", "uflow.decoder.5", "uflow.decoder.2", "uflow.context_up.3", "uflow.refinement.0"] {
        assert!(params.iter().any(|(name, t)| name.starts_with(part) && name.ends_with("weight") && learns(t)), "{part}");
    }
    let wanted = tch::no_grad(|| network.forward(&a.y, &b.y)).unwrap().permute([0, 2, 3, 1]).contiguous();
    let mut estimator = UFlowEstimator::new(network, Device::Cpu);
    let field = estimator.estimate(frames[1].plane(0), frames[0].plane(0), f64::INFINITY).unwrap();
    assert_eq!((field.rows, field.cols), (16, 32));
    assert!(largest_difference(&wanted, &field.data) < 1e-4);
}

#[test]
fn a_paper_model_brings_its_flow_estimator() {
    use codec_core::training::flow::{DisFlow, FlowField};
    use codec_core::training::model::{load_uflow, write_model};
    use codec_core::training::nn::uflow::{UFlow, UFlowEstimator};
    use codec_core::training::nn::{Estimator, Networks, ParamStore};
    let dir = tempfile::tempdir().unwrap();
    let frames: Vec<_> = (0..3).map(|i| synthetic_frame(64, 64, i)).collect();
    let mut without = ParamStore::new();
    let networks = Networks::init(&mut without, &small_paper(), Device::Cpu).unwrap();
    // Steps so fine that a fresh flow codec does not quantise everything to nothing.
    let _ = tch::no_grad(|| without.get("flow.coder.encoder_gain.knots").unwrap().shallow_clone().fill_(6.0));
    let mut with = without.deep_copy();
    UFlow::init(&mut with, Device::Cpu).unwrap();
    let made = |estimator: Estimator, params: &ParamStore| {
        let mut config = small_paper();
        config.flow.as_mut().unwrap().estimator = estimator;
        let path = dir.path().join(format!("{estimator:?}-{}.safetensors", params.len()));
        std::fs::write(&path, tch::no_grad(|| write_model(&config, params, &networks, &[])).unwrap()).unwrap();
        ModelSource::File(path)
    };
    let (dis, uflow) = (made(Estimator::Dis, &without), made(Estimator::UFlow, &with));
    let code =
        |model: &ModelSource| encode(codec_core::EncoderConfig { model: model.clone(), ..encoder_config(64, 64) }, &frames);
    let units = code(&uflow);
    // The estimator is the encoder's own affair: any decoder of the model shows the stream.
    let config = codec_core::DecoderConfig { threads: 1, model: uflow.clone(), ..Default::default() };
    let mut decoder = codec_core::Decoder::new(config).unwrap();
    for unit in &units {
        decoder.decode(&unit.data).unwrap();
    }
    // All other weights are the same, so what differs comes from the flow. The flow that is coded is UFlow's, not the search's.
    let other = code(&dis);
    assert_eq!(payload_of(&units[0]), payload_of(&other[0]), "keyframes have no flow");
    assert!(!units[1].keyframe && payload_of(&units[1]) != payload_of(&other[1]));
    let model = Model::load(&uflow).unwrap();
    let mut loaded = UFlowEstimator::new(tch::no_grad(|| load_uflow(&model, Device::Cpu)).unwrap(), Device::Cpu);
    let pair = [1, 0].map(|i: usize| padded(&frames[i].view()).unwrap());
    let flow = |estimator: &mut dyn FlowEstimator| -> FlowField {
        estimator.estimate(pair[0].plane(0), pair[1].plane(0), f64::INFINITY).unwrap()
    };
    assert_ne!(flow(&mut loaded), flow(&mut DisFlow::medium()));

    let error = Encoder::new(codec_core::EncoderConfig { model: made(Estimator::UFlow, &without), ..encoder_config(64, 64) });
    let error = error.err().expect("a model without the weights that it names");
    assert!(matches!(&error, codec_core::Error::ModelMismatch(m) if m.contains("uflow.")), "{error}");
}

/// What a unit holds without its header, which in keyframes names the model.
fn payload_of(packet: &Packet) -> Vec<u8> {
    bitstream::parse_unit(&packet.data, &codec_core::Limits::default()).unwrap().payload.to_vec()
}
