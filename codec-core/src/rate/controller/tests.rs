use super::*;
use crate::rate::{LOG_SIZE_PER_STEP, outlook};

const SAMPLES: f64 = 230_400.0;
const KEYFRAME: Outlook = picture(60.0, None, usize::MAX);
const P_FRAME: Outlook = predicted(outlook::USUAL_COST);

const fn picture(cost: f64, later: Option<f64>, predicted: usize) -> Outlook {
    Outlook { samples: SAMPLES, content: Content::Picture { cost, later, predicted } }
}

const fn predicted(cost: f64) -> Outlook {
    Outlook { samples: SAMPLES, content: Content::Prediction { cost, after_keyframe: false } }
}

fn any(keyframe: bool) -> &'static Outlook {
    if keyframe { &KEYFRAME } else { &P_FRAME }
}

fn controller(mode: RateMode) -> RateController {
    RateController::new(mode, Some(1.0 / 30.0), 6)
}

/// A source whose frames have `bpp` at quality 32, and an encoder that quantises again where a frame is too large.
struct Source {
    pixels: f64,
    seed: u32,
}

impl Source {
    fn size(&mut self, bpp: f64, quality: u8) -> f64 {
        // Sizes vary by a third from frame to frame.
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = 0.7 + 0.6 * f64::from(self.seed >> 8) / f64::from(1 << 24);
        bpp * self.pixels * (-(f64::from(quality) - 32.0) * 0.048).exp() * noise
    }
}

/// What a frame of zeros takes.
const SILENCE: f64 = 800.0;

impl Source {
    /// As the encoder does it: a worse quality beyond the wanted size, zeros beyond the largest.
    fn bounded(&mut self, bpp: f64, plan: &FramePlan) -> f64 {
        let bits = self.size(bpp, plan.quality);
        if bits <= plan.wanted_bits {
            return bits;
        }
        let least = bits * (-(63.0 - f64::from(plan.quality)) * 0.048).exp();
        if least <= plan.wanted_bits {
            plan.wanted_bits
        } else if least <= plan.max_bits {
            least
        } else {
            SILENCE
        }
    }
}

struct Outcome {
    bits: f64,
    seconds: f64,
    /// Smallest room that the buffer ever had.
    room: f64,
    /// Largest change of quality between P-frames.
    step: i32,
}

/// Codes frames at the given times; complexity grows fourfold in the middle third.
fn run(mode: RateMode, times: impl Iterator<Item = f64>, end: f64, keyframe_every: usize) -> Outcome {
    let mut source = Source { pixels: 640.0 * 360.0, seed: 1 };
    let mut controller = self::controller(mode);
    let mut outcome = Outcome { bits: 0.0, seconds: end, room: f64::MAX, step: 0 };
    let (mut last, mut last_quality) = (None, None::<u8>);
    for (i, time) in times.take_while(|&t| t < end).enumerate() {
        let keyframe = i % keyframe_every == 0;
        let plan = controller.plan(any(keyframe), last.map(|l| time - l)).unwrap();
        let busy = if (end / 3.0..end / 1.5).contains(&time) { 4.0 } else { 1.0 };
        let bpp = busy * if keyframe { 0.2 } else { 0.04 };
        let bits = source.bounded(bpp, &plan);
        controller.report(keyframe, plan.quality, bits);
        if !keyframe {
            if let Some(last) = last_quality.filter(|_| i > 30) {
                outcome.step = outcome.step.max((i32::from(plan.quality) - i32::from(last)).abs());
            }
            last_quality = Some(plan.quality);
        }
        outcome.bits += bits;
        outcome.room = outcome.room.min(controller.room());
        last = Some(time);
    }
    outcome
}

fn regular(fps: f64) -> impl Iterator<Item = f64> {
    (0..).map(move |i| f64::from(i) / fps)
}

/// Gaps from 1/60 to 1/5 second.
fn irregular() -> impl Iterator<Item = f64> {
    let mut time = 0.0;
    (0..).map(move |i: u32| {
        let now = time;
        time += [1.0 / 60.0, 1.0 / 24.0, 1.0 / 30.0, 1.0 / 5.0, 1.0 / 50.0][i as usize % 5];
        now
    })
}

#[test]
fn constant_rate_is_within_five_percent_and_never_overflows() {
    // Within what the source can take between quality 0 and 63.
    for bitrate in [80e3, 150e3, 300e3, 400e3, 500e3] {
        let mode = RateMode::Constant { bitrate, buffer: 1.0 };
        for (name, outcome) in [("30 fps", run(mode, regular(30.0), 10.0, 250)), ("irregular", run(mode, irregular(), 10.0, 60))]
        {
            let reached = outcome.bits / outcome.seconds / bitrate;
            assert!((0.95..=1.05).contains(&reached), "{bitrate} {name}: {reached}");
            assert!(outcome.room >= 0.0, "{bitrate} {name}: overflow by {}", -outcome.room);
            // Three a frame, and a keyframe may lie between, which counts what it costs itself.
            assert!(outcome.step <= 9, "{bitrate} {name}: quality jumps by {}", outcome.step);
        }
    }
}

#[test]
fn variable_rate_holds_its_average_and_its_ceiling() {
    for bitrate in [100e3, 400e3, 1000e3] {
        let mode = RateMode::Variable { bitrate, max_bitrate: 2.0 * bitrate, buffer: 2.0 };
        let outcome = run(mode, regular(25.0), 20.0, 100);
        let reached = outcome.bits / outcome.seconds / bitrate;
        assert!((0.95..=1.05).contains(&reached), "{bitrate}: {reached}");
        assert!(outcome.room >= 0.0, "{bitrate}: overflow by {}", -outcome.room);
    }
}

#[test]
fn a_new_bitrate_is_reached() {
    let mut controller = self::controller(RateMode::Constant { bitrate: 300e3, buffer: 1.0 });
    let mut source = Source { pixels: 230_400.0, seed: 7 };
    let mut second = |controller: &mut RateController, keyframe: bool| {
        (0..30).fold(0.0, |sum, i| {
            let plan = controller.plan(any(keyframe && i == 0), Some(1.0 / 30.0)).unwrap();
            let bits = source.bounded(0.05, &plan);
            controller.report(keyframe && i == 0, plan.quality, bits);
            sum + bits
        })
    };
    let before = (0..5).fold(0.0, |_, i| second(&mut controller, i == 0));
    assert!((before / 300e3 - 1.0).abs() < 0.1, "{before}");
    controller.set_mode(RateMode::Constant { bitrate: 900e3, buffer: 1.0 });
    second(&mut controller, false);
    let after = second(&mut controller, false);
    assert!((after / 900e3 - 1.0).abs() < 0.1, "{after}");
}

#[test]
fn quality_mode_plans_nothing_and_settings_are_checked() {
    assert_eq!(controller(RateMode::Quality).plan(&KEYFRAME, None), None);
    assert!(RateMode::Constant { bitrate: 10.0, buffer: 1.0 }.validate().is_err());
    assert!(RateMode::Constant { bitrate: 1e5, buffer: 0.0 }.validate().is_err());
    let error = RateMode::Variable { bitrate: 2e5, max_bitrate: 1e5, buffer: 1.0 }.validate().unwrap_err();
    assert!(error.to_string().contains("200000"), "{error}");
}

#[test]
fn a_rate_below_the_worst_quality_is_held_by_leaving_frames_out() {
    // At quality 63 the source takes about 120 kbit/s in its quiet parts.
    let outcome = run(RateMode::Constant { bitrate: 50e3, buffer: 1.0 }, regular(30.0), 20.0, 600);
    let reached = outcome.bits / outcome.seconds / 50e3;
    assert!((0.9..=1.05).contains(&reached), "{reached}");
    assert!(outcome.room >= 0.0, "overflow by {}", -outcome.room);
}

const CONSTANT: RateMode = RateMode::Constant { bitrate: 300e3, buffer: 1.0 };

/// A controller for 300 kbit/s that has seen a keyframe and a P-frame of the size that it expects.
fn settled(mode: RateMode) -> RateController {
    let mut controller = self::controller(mode);
    for keyframe in [true, false] {
        let plan = controller.plan(any(keyframe), Some(1.0 / 30.0)).unwrap();
        controller.report(keyframe, plan.quality, 10e3);
    }
    controller
}

#[test]
fn the_buffer_and_the_debt_follow_time() {
    let mut controller = settled(CONSTANT);
    let (room, debt) = (controller.room(), controller.debt);
    controller.report(false, 40, 60e3);
    assert_eq!((controller.room(), controller.debt), (room - 60e3, debt + 60e3));
    controller.plan(&P_FRAME, Some(0.1)).unwrap();
    assert!((controller.room() - (room - 30e3)).abs() < 1e-6, "a tenth of a second carries 30 kbit away");
    assert!((controller.debt - (debt + 30e3)).abs() < 1e-6);
}

#[test]
fn quiet_seconds_are_not_owed_for_ever() {
    for (mode, seconds) in [
        (CONSTANT, 1.0),
        (RateMode::Constant { bitrate: 300e3, buffer: 0.2 }, 0.2),
        (RateMode::Variable { bitrate: 300e3, max_bitrate: 600e3, buffer: 1.0 }, 3.0),
    ] {
        let mut controller = settled(mode);
        for _ in 0..100 {
            controller.plan(&P_FRAME, Some(1.0)).unwrap();
        }
        assert!((controller.debt + 300e3 * seconds).abs() < 1e-6, "{mode:?}: {}", controller.debt);
    }
}

#[test]
fn keyframes_are_better_unless_the_buffer_is_full() {
    let mut controller = settled(CONSTANT);
    let key = controller.plan(&KEYFRAME, Some(1.0 / 30.0)).unwrap();
    assert_eq!(f64::from(key.quality), (controller.quality - 6.0).round());
    // So little room that the quality follows from it.
    let mut full = settled(CONSTANT);
    full.bucket.add(285e3);
    let needed = full.sizes.quality(Kind::I, full.room() * I_SHARE);
    let key = full.plan(&KEYFRAME, Some(0.0)).unwrap();
    assert!(needed > full.quality - 6.0 + 1.0, "{needed}");
    assert_eq!(f64::from(key.quality), needed.round());
}

#[test]
fn an_overflow_leaves_no_room_and_not_less() {
    let mut controller = settled(CONSTANT);
    controller.report(false, 40, 900e3);
    assert!(controller.room() < 0.0);
    let plan = controller.plan(&P_FRAME, Some(0.0)).unwrap();
    assert_eq!((plan.wanted_bits, plan.max_bits), (0.0, 0.0));
}

#[test]
fn a_flush_empties_the_buffer_and_a_new_aim_the_debt() {
    let mut controller = settled(CONSTANT);
    controller.report(false, 40, 200e3);
    let learned = controller.sizes.bits(Kind::P, 40.0);
    let mut aimed = controller.clone();
    controller.reset();
    assert_eq!((controller.room(), controller.debt, controller.sizes.bits(Kind::P, 40.0)), (300e3, 0.0, learned));
    // The same aim again changes nothing.
    let before = (aimed.room(), aimed.debt);
    aimed.set_mode(CONSTANT);
    assert_eq!((aimed.room(), aimed.debt), before);
    aimed.set_mode(RateMode::Constant { bitrate: 600e3, buffer: 1.0 });
    assert_eq!((aimed.room(), aimed.debt), (before.0 + 300e3, 0.0), "what waits goes on waiting");
}

#[test]
fn the_next_quality_can_be_told_from_the_last_plan() {
    let mode = RateMode::Constant { bitrate: 400e3, buffer: 1.0 };
    let mut controller = settled(mode);
    assert_eq!(controller.mode(), &mode);
    let plan = controller.plan(&P_FRAME, Some(0.04)).unwrap();
    assert!((2..63).contains(&plan.quality), "{plan:?}");
    assert_eq!(controller.expected_quality(), Some(plan.quality));
    assert_eq!(self::controller(RateMode::Quality).expected_quality(), None);
}

/// Plans a P-frame after a usual interval, in which 10 kbit are due; `debt`: what is owed then.
fn planned(mode: RateMode, debt: f64, prepare: impl Fn(&mut RateController)) -> FramePlan {
    let mut controller = settled(mode);
    controller.interval = 1.0 / 30.0;
    controller.debt = debt + 10e3;
    prepare(&mut controller);
    controller.plan(&P_FRAME, Some(1.0 / 30.0)).unwrap()
}

#[test]
fn a_debt_is_paid_off_over_the_horizon() {
    let variable = RateMode::Variable { bitrate: 300e3, max_bitrate: 600e3, buffer: 1.0 };
    let constant = RateMode::Constant { bitrate: 300e3, buffer: 1.0 };
    let wanted = |mode, debt| planned(mode, debt, |_| {}).wanted_bits / TOLERANCE;
    let near = |found: f64, bits: f64| assert!((found - bits).abs() < 1e-3, "{found}, not {bits}");
    // A thirtieth of a second is a thirtieth of the one horizon, and a ninetieth of the other.
    near(wanted(constant, 60e3), 10e3 - 2e3);
    near(wanted(variable, 60e3), 10e3 - 60e3 / 90.0);
    // What is left over from a second is given out within one.
    near(wanted(constant, -300e3), 20e3);
    // Half of what is due may be taken whatever the debt.
    near(wanted(constant, 1e9), 5e3);
    // Nothing beyond three tenths of a second's bits is ever owed.
    near(planned(constant, 60e3, |_| {}).max_bits, 90e3 - 60e3);
}

#[test]
fn a_quality_comes_from_the_size_that_is_aimed_at() {
    // The frames that `settled` reports have 10 kbit at the quality that was planned, and so many are due.
    let settled_quality = settled(CONSTANT).quality.round();
    let quality = |debt: f64, before: f64| {
        f64::from(planned(CONSTANT, debt, |controller| controller.quality = before).quality) - settled_quality
    };
    assert!(quality(0.0, settled_quality).abs() <= 1.0);
    // It is reached in steps.
    assert_eq!((quality(0.0, settled_quality - 10.0), quality(0.0, settled_quality + 10.0)), (-7.0, 7.0));
    // The aim is never below a tenth of what is due.
    let worst = settled_quality + (10f64.ln() / LOG_SIZE_PER_STEP).round();
    assert!((quality(1e9, worst) + settled_quality - worst).abs() <= 10.0);
    // At once after a flush, and for another aim.
    let mut flushed = settled(CONSTANT);
    flushed.reset();
    let mut aimed = settled(CONSTANT);
    aimed.set_mode(RateMode::Constant { bitrate: 300e3, buffer: 0.9 });
    for mut controller in [flushed, aimed] {
        controller.quality = 0.0;
        let plan = controller.plan(&P_FRAME, Some(1.0 / 30.0)).unwrap();
        assert!((f64::from(plan.quality) - settled_quality).abs() <= 1.0, "{plan:?}");
    }
}

#[test]
fn a_keyframe_is_as_good_as_the_frames_after_it_can_afford() {
    for (mode, cost, later) in [
        (CONSTANT, 60.0, 12.0),
        (CONSTANT, 30.0, 4.0),
        (RateMode::Variable { bitrate: 300e3, max_bitrate: 600e3, buffer: 1.0 }, 60.0, 4.0),
    ] {
        let mut controller = self::controller(mode);
        // Frames that take what their content lets expect.
        let bits = |log_size: f64, quality: u8| (log_size - f64::from(quality) * LOG_SIZE_PER_STEP).exp();
        let picture = picture(cost, Some(later), usize::MAX);
        let key = controller.plan(&picture, None).unwrap().quality;
        controller.report(true, key, bits(outlook::log_intra(SAMPLES, cost), key));
        let mut qualities = vec![key + 6];
        for _ in 0..15 {
            let plan = controller.plan(&predicted(later), Some(1.0 / 30.0)).unwrap();
            controller.report(false, plan.quality, bits(outlook::log_inter(SAMPLES, later), plan.quality));
            qualities.push(plan.quality);
        }
        let (least, most) = (qualities.iter().min().unwrap(), qualities.iter().max().unwrap());
        assert!(most - least <= 5 && qualities[1].abs_diff(qualities[0]) <= 1, "{mode:?}: {qualities:?}");
    }
}

#[test]
fn content_tells_of_sizes_before_any_are_known() {
    let plan = |cost: f64, later: f64| controller(CONSTANT).plan(&picture(cost, Some(later), usize::MAX), None).unwrap().quality;
    assert!(plan(60.0, 12.0) > plan(60.0, 3.0), "what moves little leaves bits to the keyframe");
    assert!(plan(60.0, 12.0) > plan(10.0, 12.0), "so does a smooth picture");
    // Without a lookahead, P-frames are expected to be usual ones.
    let alone = controller(CONSTANT).plan(&KEYFRAME, None).unwrap().quality;
    assert_eq!(alone, plan(60.0, outlook::USUAL_COST));
}

/// Bits over those due of frames that take what their content lets expect, a keyframe in every `distance`, after the first second.
fn steady(mode: RateMode, bitrate: f64, distance: usize) -> f64 {
    let mut controller = self::controller(mode);
    let mut bits = 0.0;
    for i in 0..330 {
        let keyframe = i % distance == 0;
        let frame = if keyframe { picture(60.0, Some(9.0), distance - 1) } else { P_FRAME };
        let plan = controller.plan(&frame, Some(1.0 / 30.0)).unwrap();
        let log_size = if keyframe { outlook::log_intra(SAMPLES, 60.0) } else { outlook::log_inter(SAMPLES, 9.0) };
        let size = (log_size - f64::from(plan.quality) * LOG_SIZE_PER_STEP).exp().min(plan.max_bits);
        controller.report(keyframe, plan.quality, size);
        if i >= 30 {
            bits += size;
        }
    }
    bits / (bitrate * 10.0)
}

#[test]
fn keyframes_pay_for_themselves_where_few_frames_follow() {
    for distance in [1, 2, 3, 10, 30, 250] {
        let bitrate = 1200e3;
        for mode in
            [RateMode::Constant { bitrate, buffer: 1.0 }, RateMode::Variable { bitrate, max_bitrate: 2.0 * bitrate, buffer: 1.0 }]
        {
            let reached = steady(mode, bitrate, distance);
            assert!((0.93..=1.07).contains(&reached), "{distance}, {mode:?}: {reached}");
        }
    }
}

#[test]
fn a_buffer_of_few_frames_is_made_use_of() {
    for buffer in [0.05, 0.1, 0.2] {
        let reached = steady(RateMode::Constant { bitrate: 600e3, buffer }, 600e3, 330);
        assert!((0.85..=1.05).contains(&reached), "{buffer}: {reached}");
    }
}

#[test]
fn what_a_constant_quality_took_fills_no_buffer() {
    let mut controller = controller(RateMode::Quality);
    for i in 0..100 {
        controller.plan(any(i == 0), Some(0.04));
        controller.report(i == 0, 10, 50e3);
    }
    controller.set_mode(CONSTANT);
    assert_eq!((controller.room(), controller.debt), (300e3, 0.0));
    // Sizes and times are known: 12 kbit are due, and quality 10 took 50.
    let plan = controller.plan(&P_FRAME, Some(0.04)).unwrap();
    let wanted = 10.0 + (50e3f64 / 12e3).ln() / LOG_SIZE_PER_STEP;
    assert!((f64::from(plan.quality) - wanted).abs() <= 1.0, "{plan:?}, not {wanted}");
}

#[test]
fn the_first_measured_interval_takes_the_place_of_the_announced_one() {
    let mut controller = RateController::new(CONSTANT, Some(1e-3), 6);
    assert_eq!(controller.interval, LEAST_FIRST_INTERVAL);
    controller.plan(&KEYFRAME, None).unwrap();
    controller.report(true, 20, 10e3);
    controller.plan(&P_FRAME, Some(0.04)).unwrap();
    assert_eq!(controller.interval, 0.04);
    controller.report(false, 20, 10e3);
    controller.plan(&P_FRAME, Some(0.08)).unwrap();
    assert!((controller.interval - 0.048).abs() < 1e-12);
}
