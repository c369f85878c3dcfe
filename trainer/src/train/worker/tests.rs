use codec_core::training::nn::ModelConfig;
use toml::Table;

use super::*;
use crate::data::testing::moving_clips;
use crate::data::{Sampler, SamplerOptions, Split};
use crate::stage_file::{Machine, StageFile};
use crate::train::schedule::Budget;

/// What one step of a stage reports, `most` of its examples at a time.
fn report(model: &ModelConfig, stage: &str, most: usize) -> StepReport {
    let data = tempfile::tempdir().unwrap();
    moving_clips(data.path(), 4, 8);
    let options = SamplerOptions { photo_share: 0.3, graphics_share: 0.2, seed: 3, split: Split::Train };
    let sampler = Arc::new(Sampler::open(data.path(), options).unwrap());
    let common = "batch = { clips = 4, crop = 64 }\ndiscriminators.width = 8".parse::<Table>().unwrap();
    let file = StageFile::from_tables(&common, &stage.parse().unwrap()).unwrap();
    // With this seed no symbol lies so near the edge between two integers that sums in another order round it the other way.
    let config = file.plan(Budget::Steps(1), Machine { workers: 1, seed: 4 }).unwrap().config;
    let (model, device) = (model.clone(), Device::Cpu);
    let mut params = ParamStore::new();
    {
        let _generator = crate::testing::seeded(11);
        Networks::init(&mut params, &model, device).unwrap();
        Adversary::new(&mut params, &model, &config.gan, device).unwrap();
    }
    let mut trainable = Vec::new();
    for (name, tensor) in params.iter() {
        let learns = params.role(name).is_some_and(|role| config.trains(role));
        let _ = tensor.set_requires_grad(learns);
        trainable.extend(learns.then(|| name.to_owned()));
    }
    let (seed, stage) = (config.seed, config.stage.clone());
    let source = BatchSource::new(sampler, (config.batch, config.crop), None, device);
    let mut setup = WorkerSetup {
        index: 0,
        motion: MotionFinder::open(&model, &mut params, device).unwrap(),
        model,
        params,
        trainable,
        optimiser: Optimiser::empty(),
        source: source.with_lead_in(move |step| stage.lead_in(seed, step)),
        micro_batch: most,
        noise: None,
        device,
        config,
    };
    let replica = Replica::new(&mut setup).unwrap();
    let frames = setup.config.stage.frames(0.5);
    compute(&mut setup, &replica, &StepOrder { step: 1, fraction: 0.5, frames, rate_multiplier: Arc::new([1.0; 64]) }).unwrap()
}

/// Asserts that a step in parts is the step of the whole batch.
fn assert_same(stage: &str) {
    assert_same_of(&ModelConfig { postfilter: Some(Default::default()), ..ModelConfig::rt() }, stage);
}

fn assert_same_of(model: &ModelConfig, stage: &str) {
    let whole = report(model, stage, 4);
    let value = |t: &Tensor| t.double_value(&[]);
    for most in [2, 1] {
        let parts = report(model, stage, most);
        assert_eq!((&parts.gradient.present, &parts.rates.qualities), (&whole.gradient.present, &whole.rates.qualities));
        let names = |report: &StepReport| report.metrics.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(names(&parts), names(&whole));
        for ((name, a), (_, b)) in parts.metrics.iter().zip(&whole.metrics) {
            assert!((value(a) - value(b)).abs() < 1e-4 * value(b).abs().max(1.0), "{name}: {a} in parts of {most}, {b} in one");
        }
        assert!((value(&parts.loss) / value(&whole.loss) - 1.0).abs() < 1e-5, "{} {}", parts.loss, whole.loss);
        assert!(parts.rates.bpp.allclose(&whole.rates.bpp, 1e-5, 1e-7, false));
        let distance = value(&(&parts.gradient.values - &whole.gradient.values).norm());
        let norm = value(&whole.gradient.values.norm());
        assert!(norm > 0.0 && distance < 1e-4 * norm, "{distance} of {norm} in parts of {most}");
    }
}

#[test]
fn a_step_in_parts_is_the_step_of_the_whole_batch_in_the_intra_stage() {
    assert_same("kind = 'intra'\nlosses = { adversarial = 0.1, feature-matching = 0.1, statistics = 1.0 }");
}

#[test]
fn a_step_in_parts_is_the_step_of_the_whole_batch_in_the_inter_stage() {
    assert_same("kind = 'inter'\nclip = { unroll = '3:1', lead-in = 2, quality-swing = 7, intra-offset = [3, 23] }");
    assert_same_of(&crate::train::fixtures::small_paper(), "kind = 'inter'\nclip.unroll = '3:1'");
}

#[test]
fn a_step_in_parts_is_the_step_of_the_whole_batch_in_the_detail_stage() {
    assert_same("kind = 'detail'\nclip.unroll = '3:1'");
}

#[test]
fn a_step_in_parts_is_the_step_of_the_whole_batch_in_the_stage_of_the_postfilter() {
    assert_same("kind = 'postfilter'\nclip.lead-in = 1\nlosses.statistics = 25");
}
