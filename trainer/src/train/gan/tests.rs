use codec_core::training::nn::Networks;
use codec_core::training::nn::codec::quality_tensor;
use codec_core::training::nn::entropy::{Arithmetic, Quantiser};
use codec_core::training::nn::ops::Planes;
use codec_core::training::quality::lambda;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::train::fixtures::{Setup, clip, in_context, inter, setup, setup_of, small_paper, step};
use crate::train::schedule::Unroll;
use crate::train::step::InterLosses;
use crate::train::{PostfilterLosses, Stage};

/// Runs one step and gives back the names of parameters that get a gradient which is not zero.
fn reached(stage: &Stage, losses: &GanLosses) -> Vec<String> {
    reached_in(1, stage, losses)
}

/// The same of a `paper` profile.
fn reached_in_paper(stage: &Stage) -> Vec<String> {
    moved_by(1, &setup_of(small_paper(), stage, &GanLosses::default()), stage)
}

/// The same of `steps` steps, where not every step learns from every kind of frame.
fn reached_in(steps: u64, stage: &Stage, losses: &GanLosses) -> Vec<String> {
    moved_by(steps, &setup(stage, losses), stage)
}

fn moved_by(steps: u64, setup: &Setup, stage: &Stage) -> Vec<String> {
    (0..steps).for_each(|number| setup.step_number(stage, number).loss.backward());
    let moved = |t: &Tensor| t.grad().defined() && t.grad().abs().max().double_value(&[]) > 0.0;
    setup.params.iter().filter(|(_, t)| moved(t)).map(|(name, _)| name.to_owned()).collect()
}

fn all_on() -> GanLosses {
    GanLosses { adversarial: 0.1, feature_matching: 0.1, statistics: 1.0, width: 8, ..GanLosses::default() }
}

fn detail() -> Stage {
    detail_after(0)
}

fn detail_after(lead_in: u32) -> Stage {
    Stage::Detail { unroll: Unroll::parse("3:1").unwrap(), shift: 0.75, lead_in }
}

/// Asserts that gradients reach some parameter below each of `wanted`, and none below any other part.
fn assert_reached(names: &[String], wanted: &[&str]) {
    for prefix in wanted {
        assert!(names.iter().any(|n| n.starts_with(prefix)), "nothing below {prefix} learns");
    }
    for name in names {
        assert!(wanted.iter().any(|prefix| name.starts_with(prefix)), "{name} learns and should be frozen");
    }
}

/// A P-frame.
fn judged<'a>(target: &'a Planes, output: &'a Planes, latent: &'a Tensor, deep: f64) -> Judged<'a> {
    Judged { judge: Judge::Inter, target, output, latent, deep }
}

#[test]
fn the_intra_stage_reaches_the_i_branch_and_its_discriminator() {
    let parts = ["intra.analysis.", "intra.synthesis.", "intra.coder."];
    assert_reached(&reached(&Stage::Intra, &GanLosses::default()), &parts);
    assert_reached(&reached(&Stage::Intra, &all_on()), &[&parts[..], &["discriminator.intra."]].concat());
}

#[test]
fn the_inter_stage_reaches_flow_and_residual_codec_and_its_discriminator() {
    let parts = ["residual.analysis.", "residual.synthesis.", "residual.coder."];
    let flow = ["flow.analysis.", "flow.synthesis.", "flow.coder."];
    assert_reached(&reached_in_paper(&inter(InterLosses::default())), &[&flow[..], &parts].concat());
    assert_reached(&reached(&inter(InterLosses::default()), &GanLosses::default()), &parts);
    assert_reached(&reached(&inter(InterLosses::default()), &all_on()), &[&parts[..], &["discriminator.inter."]].concat());
}

#[test]
fn the_detail_stage_reaches_the_synthesis_transforms_and_both_discriminators_alone() {
    let parts = ["intra.synthesis.", "residual.synthesis."];
    assert_reached(&reached(&detail(), &GanLosses::default()), &parts);
    for stage in [detail(), detail_after(3)] {
        assert_reached(&reached(&stage, &all_on()), &[&parts[..], &["discriminator.intra.", "discriminator.inter."]].concat());
    }
}

#[test]
fn the_postfilter_stage_reaches_the_filter_and_its_judges_alone() {
    for lead_in in [0, 2] {
        let stage = Stage::Postfilter { lead_in, losses: PostfilterLosses::default() };
        // Distortion alone moves what the output starts with, and the silent output layers; all else follows.
        let parts = ["postfilter.output.", "postfilter.recurrence.carry.", "postfilter.start."];
        assert_reached(&reached(&stage, &GanLosses::default()), &parts);
        let judges = ["discriminator.intra.", "discriminator.inter."];
        assert_reached(&reached_in(8, &stage, &all_on()), &[&parts[..], &judges].concat());
    }
}

#[test]
fn the_detail_stage_pays_for_distortion_and_rate_at_the_exchange_rate_of_lambda() {
    let setup = setup(&detail(), &GanLosses::default());
    let (found, wanted) = in_context(&setup.networks, None, |context| {
        let result = step(context, &detail(), 1);
        let frame = &clip(1).frames[0];
        let rates = result.rates.read().unwrap();
        let better: Vec<u8> = rates.iter().map(|(q, _)| q.saturating_sub(setup.networks.config.intra_quality_offset)).collect();
        let q = quality_tensor(&better, Device::Cpu).unwrap();
        let prepared = setup.networks.prepare(Arithmetic::Integer).unwrap();
        let coded = setup.networks.intra_frame(&prepared, frame, &q, &mut Quantiser::Hard).unwrap();
        let d = Vec::<f32>::try_from(&context.fidelity.distortion(frame, &coded.frame).unwrap()).unwrap();
        let price = |(&(q, bpp), d): (&(u8, f64), f32)| {
            let lambda = lambda(q.into());
            150.0 * (lambda / 300.0).sqrt() * (f64::from(d) + bpp / lambda)
        };
        (result.loss.double_value(&[]), rates.iter().zip(d).map(price).sum::<f64>() / 2.0)
    });
    assert!((found / wanted - 1.0).abs() < 1e-4, "{found} {wanted}");
}

#[test]
fn a_lead_in_of_the_detail_stage_changes_what_is_learned_from() {
    let loss = |lead_in| setup(&detail(), &GanLosses::default()).step(&detail_after(lead_in)).loss.double_value(&[]);
    assert_ne!(loss(0), loss(3));
}

/// The loss of one frame with the given weights, and its gradient with respect to the output.
fn frame_loss(losses: &GanLosses) -> (f64, f64) {
    let setup = setup(&detail(), losses);
    let clip = clip(1);
    let target = &clip.frames[0];
    let output = Planes { y: (&target.y * 0.8).set_requires_grad(true), uv: target.uv.shallow_clone() };
    let latent = Tensor::zeros([2, setup.networks.config.residual.latent, 4, 4], (Kind::Float, Device::Cpu));
    let Some(adversary) = &setup.adversary else { return (0.0, 0.0) };
    let loss = adversary.losses(judged(target, &output, &latent, 1.0), &mut Vec::new()).unwrap();
    loss.backward();
    let gradient = output.y.grad();
    (loss.double_value(&[]), if gradient.defined() { gradient.abs().max().double_value(&[]) } else { 0.0 })
}

#[test]
fn every_loss_has_an_effect_on_the_frame() {
    assert_eq!(frame_loss(&GanLosses::default()), (0.0, 0.0));
    let off = || GanLosses { width: 8, ..GanLosses::default() };
    for (name, losses) in [
        ("adversarial", GanLosses { adversarial: 1.0, ..off() }),
        ("feature matching", GanLosses { feature_matching: 1.0, ..off() }),
        ("statistics", GanLosses { statistics: 1.0, ..off() }),
    ] {
        let (loss, gradient) = frame_loss(&losses);
        assert!(loss > 0.0 && gradient > 0.0, "{name}: loss {loss}, gradient {gradient}");
    }
}

#[test]
fn discriminators_in_bfloat16_say_nearly_the_same_with_gradients_that_point_the_same_way() {
    let measure = |half_discriminators| {
        let losses =
            GanLosses { adversarial: 1.0, feature_matching: 1.0, width: 16, half_discriminators, ..GanLosses::default() };
        let setup = setup(&detail(), &losses);
        let clip = clip(1);
        let target = &clip.frames[0];
        let output = Planes { y: (&target.y * 0.8).set_requires_grad(true), uv: target.uv.shallow_clone() };
        let latent = {
            let _generator = crate::testing::seeded(3);
            Tensor::randn([2, setup.networks.config.residual.latent, 4, 4], (Kind::Float, Device::Cpu))
        };
        let mut metrics = Vec::new();
        let adversary = setup.adversary.as_ref().unwrap();
        let loss = adversary.losses(judged(target, &output, &latent, 1.0), &mut metrics).unwrap();
        loss.backward();
        let of_judges: Vec<Tensor> =
            setup.params.iter().filter(|(_, t)| t.grad().defined()).map(|(_, t)| t.grad().view([-1])).collect();
        assert!(
            setup.params.iter().all(|(_, t)| t.kind() == Kind::Float && (!t.grad().defined() || t.grad().kind() == Kind::Float))
        );
        let metrics: Vec<f64> = metrics.iter().map(|(_, value)| value.double_value(&[])).collect();
        (metrics, output.y.grad().view([-1]), Tensor::cat(&of_judges, 0))
    };
    let ((full, frame, judges), (half, rough_frame, rough_judges)) = (measure(false), measure(true));
    assert_eq!(full.len(), 3);
    for (a, b) in full.iter().zip(&half) {
        assert!(a != b && (b / a - 1.0).abs() < 0.02, "{full:?} {half:?}");
    }
    let cosine = |a: &Tensor, b: &Tensor| (a.dot(b) / (a.norm() * b.norm())).double_value(&[]);
    // The judges' is a difference of gradients from real and decoded frames, which nearly cancel.
    for (a, b, least) in [(frame, rough_frame, 0.99), (judges, rough_judges, 0.95)] {
        let cosine = cosine(&a, &b);
        assert!(cosine > least, "{cosine}");
    }
}

/// LPIPS and texture on a network with random weights, and no discriminator.
fn deep_losses(losses: GanLosses) -> Adversary {
    let network = Rc::new(crate::perceptual::random_vgg());
    let texture = Some(texture_loss(&network, &losses, Device::Cpu).unwrap());
    Adversary { losses, intra: None, inter: None, lpips: Some(network), texture }
}

#[test]
fn losses_on_deep_features_count_as_often_as_asked() {
    let adversary = deep_losses(GanLosses { lpips: 1.0, texture: 0.5, deep_frames: Some(2), ..GanLosses::default() });
    assert_eq!([1, 2, 5].map(|frames| adversary.deep_frames(frames)), [1, 2, 2]);
    let target = &clip(1).frames[0];
    let output = Planes { y: &target.y * 0.8, uv: target.uv.shallow_clone() };
    let loss = |deep| {
        let latent = Tensor::zeros([2, 8, 4, 4], (Kind::Float, Device::Cpu));
        let loss = adversary.losses(judged(target, &output, &latent, deep), &mut Vec::new()).unwrap();
        loss.double_value(&[])
    };
    assert_eq!(loss(0.0), 0.0);
    assert!(loss(1.0) > 1e-4);
    assert!((loss(3.0) / loss(1.0) - 3.0).abs() < 1e-5);
}

#[test]
fn a_split_batch_shows_lpips_one_half_and_texture_the_other() {
    let target = &clip(1).frames[0];
    let changed = |example: i64| {
        let output = target.y.copy();
        let mut one = output.narrow(0, example, 1);
        one *= 0.8;
        Planes { y: output, uv: target.uv.shallow_clone() }
    };
    let metrics = |split_deep, output: &Planes| {
        let adversary = deep_losses(GanLosses { lpips: 1.0, texture: 1.0, split_deep, ..GanLosses::default() });
        let latent = Tensor::zeros([2, 8, 4, 4], (Kind::Float, Device::Cpu));
        let mut metrics = Vec::new();
        let _loss = adversary.losses(judged(target, output, &latent, 1.0), &mut metrics).unwrap();
        metrics.iter().map(|(_, value)| value.double_value(&[]) > 1e-5).collect::<Vec<bool>>()
    };
    for (split, example, wanted) in [(false, 0, [true, true]), (true, 0, [true, false]), (true, 1, [false, true])] {
        assert_eq!(metrics(split, &changed(example)), wanted, "split {split}, example {example}");
    }
}

#[test]
fn the_metric_itself_is_the_texture_loss_where_its_weights_are_given() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let losses = GanLosses { dists_weights: Some(file.path().to_owned()), ..GanLosses::default() };
    let network = Rc::new(crate::perceptual::random_vgg());
    let load = |losses: &GanLosses| texture_loss(&network, losses, Device::Cpu);
    let error = format!("{:#}", load(&losses).err().unwrap());
    assert!(error.contains(&file.path().display().to_string()), "{error}");
    let even = load(&GanLosses::default()).unwrap();
    // Of RGB and the five stages, the structure of RGB alone.
    let channels = 3 + network.channels().sum::<i64>();
    let options = (Kind::Float, Device::Cpu);
    let (alpha, beta) = (Tensor::zeros([channels], options), Tensor::arange(channels, options).lt(3.0).to_kind(Kind::Float));
    Tensor::write_safetensors(&[("alpha", alpha), ("beta", beta)], file.path()).unwrap();
    let structure = load(&losses).unwrap();
    let _generator = crate::testing::seeded(8);
    let (a, b) = (Tensor::rand([1, 3, 64, 64], options), Tensor::rand([1, 3, 64, 64], options));
    let [one, other] = [&structure, &even].map(|loss| loss.distance(&a, &b).unwrap().double_value(&[0]));
    // Pictures without anything in common have no structure in common.
    assert!((one - 1.0).abs() < 0.1 && (other - one).abs() > 0.1, "{one} {other}");
}

#[test]
fn losses_on_deep_features_without_weights_are_refused_with_the_cure() {
    let _generator = crate::testing::seeded(18);
    let off = GanLosses::default;
    for losses in [GanLosses { lpips: 1.0, ..off() }, GanLosses { texture: 1.0, ..off() }] {
        let error = Adversary::new(&mut ParamStore::new(), &ModelConfig::rt(), &losses, Device::Cpu).err().unwrap();
        assert!(error.to_string().contains("features.lpips-weights"), "{error}");
    }
}

#[test]
fn the_full_width_of_the_article_takes_a_step() {
    let mut params = ParamStore::new();
    let networks = {
        let _generator = crate::testing::seeded(13);
        Networks::init(&mut params, &ModelConfig::paper(), Device::Cpu).unwrap()
    };
    for (stage, part) in [(Stage::Intra, "intra.synthesis."), (inter(InterLosses::default()), "residual.synthesis.")] {
        stage.set_learning(&params);
        in_context(&networks, None, |context| step(context, &stage, 2)).loss.backward();
        let reached = params.iter().filter(|(name, t)| name.starts_with(part) && t.grad().defined()).count();
        assert!(reached > 20, "{part}: {reached} parameters reached");
    }
}
