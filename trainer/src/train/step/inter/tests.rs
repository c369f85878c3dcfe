use super::*;
use crate::train::GanLosses;
use crate::train::fixtures::{inter, setup, setup_of, small_paper};

/// Loss of three steps of the P-stage, the same draws every time.
fn loss(losses: InterLosses) -> f64 {
    let stage = inter(losses);
    let setup = setup(&stage, &GanLosses::default());
    (0..3).map(|number| setup.step_number(&stage, number).loss.double_value(&[])).sum()
}

#[test]
fn every_setting_of_the_p_stage_has_an_effect() {
    let plain = || InterLosses { shift: 0.0, ..InterLosses::default() };
    let base = loss(plain());
    assert_eq!(loss(plain()), base);
    for (name, losses) in [
        ("drift", InterLosses { drift: 10.0, ..plain() }),
        ("growth", InterLosses { growth: 1.0, ..plain() }),
        ("shift", InterLosses { shift: 1.0, ..plain() }),
        ("intra_offset", InterLosses { intra_offset: (40, 40), ..plain() }),
        ("swing", InterLosses { swing: 30, ..plain() }),
        ("lead_in", InterLosses { lead_in: 2, ..plain() }),
    ] {
        assert!((loss(losses) - base).abs() > 1e-6 * base.abs(), "{name} changes nothing");
    }
}

#[test]
fn what_a_coded_flow_shall_be_has_an_effect_in_the_paper_profile() {
    let loss = |losses: InterLosses| {
        let stage = inter(losses);
        setup_of(small_paper(), &stage, &GanLosses::default()).step(&stage).loss.double_value(&[])
    };
    let base = loss(InterLosses::default());
    for (name, losses) in [
        ("warp", InterLosses { warp: 3.0, ..InterLosses::default() }),
        ("flow", InterLosses { flow: 2.0, ..InterLosses::default() }),
        ("sigma", InterLosses { sigma: 0.5, ..InterLosses::default() }),
    ] {
        assert!((loss(losses) - base).abs() > 1e-6 * base.abs(), "{name} changes nothing");
    }
}
