use super::*;

const MACHINE: Machine = Machine { workers: 1, seed: 1 };

fn plan(text: &str) -> Result<Plan> {
    let file = StageFile::from_tables(&Table::new(), &toml::from_str(text)?)?;
    file.plan(file.budget()?, MACHINE)
}

fn error(text: &str) -> String {
    format!("{:#}", plan(text).unwrap_err())
}

#[test]
fn an_empty_stage_has_the_defaults() {
    let plan = plan("kind = \"inter\"\nsteps = 10").unwrap();
    let config = &plan.config;
    assert_eq!((config.learning_rate, config.ema_decay, config.batch, config.crop), (1e-3, 0.999, 4, 128));
    assert_eq!((config.photo_share, config.precision, config.entropy_alone), (0.3, Precision::Full, false));
    assert_eq!(config.gan, GanLosses::default());
    let unroll = Unroll::parse("2:1,3:1.5,4:2,6:2,8:2").unwrap();
    assert_eq!(config.stage, Stage::Inter { unroll, losses: InterLosses::default() });
    assert_eq!((plan.start, plan.target_bpp), (StartPlan::default(), None));
}

#[test]
fn sections_and_dotted_keys_say_the_same() {
    let dotted =
        plan("kind = \"detail\"\ntime-budget = \"2h\"\nclip.lead-in = 12\nclip.unroll = \"3:1\"\nlosses.lpips = 0").unwrap();
    let sections = "kind = \"detail\"\ntime-budget = \"7200s\"\n[clip]\nlead-in = 12\nunroll = \"3:1\"\n[losses]\nlpips = 0.0";
    assert_eq!(dotted, plan(sections).unwrap());
    assert_eq!(dotted.config.budget, Budget::Seconds(7200.0));
    // Weights of the stage's own, and none for what has no network.
    assert_eq!((dotted.config.gan.adversarial, dotted.config.gan.lpips, dotted.config.gan.texture), (0.06, 0.0, 0.0));
}

#[test]
fn weights_of_deep_features_switch_their_losses_on() {
    let text =
        "kind = \"postfilter\"\nsteps = 1\nfeatures.lpips-weights = \"vgg\"\nstart.fresh-postfilter = { width = 8, blocks = 1 }";
    let plan = plan(text).unwrap();
    assert_eq!((plan.config.gan.lpips, plan.config.gan.texture), (4.0, 12.0));
    assert_eq!(plan.start.fresh_postfilter.unwrap().width, 8);
}

#[test]
fn a_filter_starts_fresh_or_grows() {
    let stage = "kind = \"postfilter\"\nsteps = 1\nlosses.statistics = 1\nstart.widen-postfilter = { width = 16 }";
    let start = plan(stage).unwrap().start;
    assert_eq!(start.widen_postfilter, Some(sections::WidenPostfilter { width: 16, blocks: None }));
    let both = error(&format!("{stage}\nstart.fresh-postfilter = {{ width = 8, blocks = 1 }}"));
    assert!(both.contains("leave one out"), "{both}");
}

#[test]
fn unknown_keys_are_named() {
    for (line, named) in [("lr = 1e-3", "`lr`"), ("clip.unrol = \"2:1\"", "`unrol`"), ("losses.distortion = \"ssim\"", "`ssim`")]
    {
        let text = error(&format!("kind = \"inter\"\nsteps = 1\n{line}"));
        assert!(text.contains(named) && text.contains("expected"), "{text}");
    }
    assert!(error("kind = \"inner\"\nsteps = 1").contains("`inner`"));
    assert!(error("steps = 1").contains("`kind`"));
}

#[test]
fn meaningless_keys_are_named_with_the_stages_that_they_are_for() {
    for (kind, line, named, cure) in [
        ("intra", "clip.unroll = \"2:1\"", "clip.unroll", "only in inter, detail: leave it out"),
        ("detail", "losses.drift = 1.0", "losses.drift", "only in inter:"),
        ("flow", "losses.adversarial = 0.1", "losses.adversarial", "only in intra, inter, detail, postfilter"),
        ("flow", "features.half = true", "features", "only in"),
        ("postfilter", "optimiser.entropy-alone = true", "optimiser.entropy-alone", "only in intra, inter:"),
        ("inter", "optimiser.keep-free-latent = true", "optimiser.keep-free-latent", "only in intra:"),
        ("inter", "start.recurrent-postfilter = true", "start.recurrent-postfilter", "only in postfilter:"),
    ] {
        let text = error(&format!("kind = \"{kind}\"\nsteps = 1\n{line}"));
        assert!(text.contains(named) && text.contains(cure), "{text}");
    }
}

#[test]
fn what_stages_have_in_common_is_taken_where_it_has_a_use() {
    let common = "losses.adversarial = 0.1\nclip.lead-in = 4\noptimiser.entropy-alone = true\nrate.target-bpp = [0.4, 0.02]";
    let common: Table = toml::from_str(common).unwrap();
    let of = |kind: &str| {
        let own = toml::from_str(&format!("kind = \"{kind}\"\nlosses.statistics = 1")).unwrap();
        StageFile::from_tables(&common, &own).unwrap().plan(Budget::Steps(1), MACHINE).unwrap()
    };
    let (intra, detail) = (of("intra"), of("detail"));
    assert!(intra.config.entropy_alone && !detail.config.entropy_alone);
    assert_eq!(intra.target_bpp, Some((0.4, 0.02)));
    assert_eq!(detail.config.gan.adversarial, 0.1);
    let own = toml::from_str("kind = \"flow\"").unwrap();
    let flow = StageFile::from_tables(&common, &own).unwrap().plan(Budget::Steps(1), MACHINE).unwrap();
    assert!(flow.config.gan.is_off() && flow.target_bpp.is_none());
}

#[test]
fn values_that_cannot_be_are_refused_by_their_key() {
    for (line, key) in [
        ("batch.crop = 100", "batch.crop"),
        ("batch.clips = 0", "batch.clips"),
        ("batch.photo-share = 1.5", "batch.photo-share"),
        ("batch.graphics-share = -0.1", "batch.graphics-share"),
        ("optimiser.learning-rate = -1.0", "optimiser.learning-rate"),
        ("optimiser.ema = 1.0", "optimiser.ema"),
        ("clip.unroll = \"1:1\"", "clip.unroll"),
        ("clip.intra-offset = [8, 4]", "clip.intra-offset"),
        ("clip.quality-swing = 64", "clip.quality-swing"),
        ("rate.target-bpp = [0.02, 0.4]", "rate.target-bpp"),
        ("time-budget = \"2h\"", "time-budget"),
    ] {
        let text = error(&format!("kind = \"inter\"\nsteps = 1\n{line}"));
        assert!(text.contains(key), "{line}: {text}");
    }
    assert!(error("kind = \"intra\"").contains("steps = N"));
    assert!(error("kind = \"postfilter\"\nsteps = 1").contains("features.lpips-weights"));
}

#[test]
fn a_stage_file_stands_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stage.toml");
    for (text, cure) in [
        ("[[stage]]\nkind = \"intra\"", "subcommand schedule"),
        ("kind = \"intra\"\nfrom = \"a\"", "--init"),
        ("kind = \"inter\"\nmotion.flow = \"@a\"", "checkpoint"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = format!("{:#}", StageFile::read(&path).unwrap_err());
        assert!(error.contains(cure) && error.contains("stage.toml"), "{error}");
    }
}
