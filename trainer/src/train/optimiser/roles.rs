//! Which parameters of real models each stage trains, and how: pinned, since a training run cannot tell a wrong rate from bad luck.

use std::collections::BTreeMap;

use codec_core::training::nn::uflow::UFlow;
use codec_core::training::nn::{ModelConfig, Networks, ParamStore, PostfilterConfig};
use tch::Device;

use super::*;
use crate::train::fixtures::{inter, small_paper};
use crate::train::gan::{Adversary, GanLosses};
use crate::train::schedule::Unroll;
use crate::train::{InterLosses, PostfilterLosses, Stage};

const RATES: Rates = Rates { discriminators: 0.5, transforms: 0.25 };

/// All networks that a model and its training can have.
fn everything(model: &ModelConfig) -> ParamStore {
    let _generator = crate::testing::seeded(15);
    let mut params = ParamStore::new();
    Networks::init(&mut params, model, Device::Cpu).unwrap();
    let losses = GanLosses { adversarial: 1.0, width: 4, ..GanLosses::default() };
    Adversary::new(&mut params, model, &losses, Device::Cpu).unwrap();
    UFlow::init(&mut params, Device::Cpu).unwrap();
    params
}

fn rt() -> ModelConfig {
    ModelConfig { postfilter: Some(PostfilterConfig { recurrent: true, ..PostfilterConfig::default() }), ..ModelConfig::rt() }
}

/// What the names and shapes of today's models say, in words of their own: names are a file format and do not change.
fn expected(name: &str, size: &[i64]) -> Rule {
    let transform = if name.contains(".analysis.") || name.contains(".synthesis.") { 0.25 } else { 1.0 };
    let matrix = size.len() == 4 && size[2..] == [1, 1] && size[0].min(size[1]) >= 8;
    if name.starts_with("discriminator.") {
        Rule::Adam { rate: 0.5, betas: (0.5, 0.9) }
    } else if matrix && name.ends_with(".linear.weight") {
        Rule::Muon { rate: 0.5 }
    } else if matrix {
        Rule::Muon { rate: 10.0 * transform }
    } else {
        Rule::Adam { rate: transform * if name.ends_with(".knots") { 5.0 } else { 1.0 }, betas: (0.9, 0.99) }
    }
}

#[test]
fn every_parameter_has_a_role_and_moves_by_its_rule() {
    for model in [rt(), small_paper()] {
        let params = everything(&model);
        for (name, tensor) in params.iter() {
            let role = params.role(name).unwrap_or_else(|| panic!("{name} has no role"));
            assert_eq!(Rule::of(role, RATES), expected(name, &tensor.size()), "{name}: {role:?}");
            assert!(name.starts_with(&format!("{}.", role.network.path())), "{name}: {role:?}");
        }
    }
}

#[test]
fn each_stage_trains_the_parameters_of_its_networks() {
    let unroll = || Unroll::parse("2:1").unwrap();
    let judges = ["discriminator.intra.", "discriminator.inter."];
    let stages: [(Stage, Vec<&str>); 5] = [
        (Stage::Intra, vec!["intra.", judges[0]]),
        (inter(InterLosses::default()), vec!["flow.", "residual.", judges[1]]),
        (
            Stage::Detail { unroll: unroll(), shift: 0.0, lead_in: 0 },
            [&["intra.synthesis.", "residual.synthesis."][..], &judges].concat(),
        ),
        (Stage::Postfilter { lead_in: 0, losses: PostfilterLosses::default() }, [&["postfilter."][..], &judges].concat()),
        (Stage::Flow, vec!["uflow."]),
    ];
    for model in [rt(), small_paper()] {
        let params = everything(&model);
        for (stage, below) in &stages {
            stage.set_learning(&params);
            for (name, tensor) in params.iter() {
                let wanted = below.iter().any(|prefix| name.starts_with(prefix));
                assert_eq!(tensor.requires_grad(), wanted, "{name} in the stage {}", stage.name());
            }
        }
    }
}

#[test]
fn the_real_time_model_counts_its_roles() {
    let params = everything(&rt());
    let mut found: BTreeMap<_, usize> = BTreeMap::new();
    for (_, _, role) in params.taken() {
        *found.entry((role.network, role.part, role.form)).or_default() += 1;
    }
    use codec_core::training::nn::Network::{Intra, Postfilter, Residual};
    use codec_core::training::nn::Part::{Analysis, Entropy, Quantiser, Synthesis, Whole};
    for network in [Intra, Residual] {
        for part in [Analysis, Synthesis] {
            assert_eq!(found[&(network, part, Form::Basis)], 1);
            assert_eq!(found[&(network, part, Form::Knots)], 1);
        }
        assert_eq!(found[&(network, Quantiser, Form::Knots)], 2);
        assert_eq!(found.keys().filter(|key| key.0 == network && key.1 == Quantiser).count(), 1);
        assert_eq!(found[&(network, Entropy, Form::Knots)], 3);
    }
    assert_eq!(found[&(Postfilter, Whole, Form::Knots)], 2);
    // Depthwise layers of the blocks, and the layer that says how much of the past is carried on.
    assert_eq!(found[&(Postfilter, Whole, Form::Kernel)], PostfilterConfig::default().blocks + 1);
    assert!(!found.contains_key(&(Postfilter, Whole, Form::Basis)));
}

#[test]
fn what_no_network_takes_has_no_role() {
    let _generator = crate::testing::seeded(16);
    let mut params = ParamStore::new();
    params.insert("intra.analysis.input.weight.old", Tensor::zeros([1], (Kind::Float, Device::Cpu)));
    Networks::init(&mut params, &rt(), Device::Cpu).unwrap();
    assert_eq!(params.role("intra.analysis.input.weight.old"), None);
    Stage::Intra.set_learning(&params);
    assert!(!params.get("intra.analysis.input.weight.old").unwrap().requires_grad());
}
