//! A whole schedule from fresh networks to models, and streams made with them.

mod common;

use std::path::Path;

use codec_core::bitstream::VideoInfo;
use codec_core::frame::Frame;
use codec_core::training::entropy::Tables;
use codec_core::training::model::{Model, read_float_tensors};
use codec_core::{Decoder, DecoderConfig, DeviceSpec, Encoder, EncoderConfig, FrameOptions, ModelSource};
use common::{model, prepare, run, train, trainer};

const SCHEDULE: &str = r#"
profile = "rt"
[common]
batch.crop = 64
batch.clips = 1
steps = 2
discriminators.width = 4
[[stage]]
name = "flow"
kind = "flow"
[[stage]]
name = "intra"
kind = "intra"
losses.adversarial = 0.1
[[stage]]
name = "inter"
kind = "inter"
clip.unroll = "2:1,3:1"
motion.flow = "@flow"
losses.adversarial = 0.1
losses.feature-matching = 0.1
[[stage]]
name = "postfilter"
kind = "postfilter"
optimiser.learning-rate = 1e-2
losses.statistics = 1
clip.lead-in = 1
[[stage]]
name = "detail"
kind = "detail"
from = "inter"
steps = 3
[stage.optimiser]
learning-rate = 1e-2
[stage.clip]
unroll = "2:1"
[stage.losses]
lpips = 0
"#;

#[test]
fn a_schedule_runs_through_and_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out, file) = (dir.path().join("data"), dir.path().join("out"), dir.path().join("schedule.toml"));
    prepare(&data);
    std::fs::write(&file, SCHEDULE).unwrap();
    let schedule = || {
        let mut command = trainer();
        command.arg("schedule").arg(&file).arg("--data").arg(&data).arg("--out").arg(&out);
        command.args(["--workers", "1", "--device", "cpu"]);
        command
    };
    let text = run(&mut schedule());
    for stage in ["flow", "intra", "inter", "postfilter", "detail"] {
        assert!(text.contains(&format!("{stage} stage done")), "{text}");
    }
    assert_eq!(run(&mut schedule()).matches("done before").count(), 5);

    let [faithful, detailed] = ["inter", "detail"].map(|stage| {
        let exported = dir.path().join(format!("{stage}.safetensors"));
        let mut command = trainer();
        command.arg("export").arg("--checkpoint").arg(out.join(stage).join("checkpoint.safetensors"));
        command.arg("--data").arg(&data).arg("--out").arg(&exported).args(["--intra-offset", "11"]);
        run(&mut command);
        exported
    });
    let shown = [&faithful, &detailed].map(|model| {
        let (_, shown, reconstructions) = code(model, 0.0);
        assert_eq!(shown, reconstructions);
        shown
    });
    assert_ne!(shown[0], shown[1], "the stage detail taught the synthesis nothing");
    detail_needs_a_postfilter(&faithful);
    let exported = detailed;
    probabilities_are_counted(&exported);
    assert_eq!(qualities(&exported, 32), [21, 32]);
    let filtered = dir.path().join("filtered.safetensors");
    let filter = out.join("postfilter/checkpoint.safetensors");
    run(trainer().arg("export").arg("--checkpoint").arg(filter).arg("--data").arg(&data).arg("--out").arg(&filtered));
    a_postfilter_is_shown_and_never_predicted_from(&filtered);
    let fresh = "start.fresh-postfilter = { width = 8, blocks = 1 }";
    for (lines, width) in [("", 64), (fresh, 8), ("start.widen-postfilter = { width = 72 }", 72)] {
        let filter = dir.path().join(format!("filter-{width}"));
        run(&mut train("postfilter", &format!("{lines}\n[losses]\nstatistics = 1"), &data, &filter, &filtered, "1"));
        let filtered = dir.path().join(format!("filtered-{width}.safetensors"));
        let checkpoint = filter.join("checkpoint.safetensors");
        run(trainer().arg("export").arg("--checkpoint").arg(checkpoint).arg("--data").arg(&data).arg("--out").arg(&filtered));
        let (config, _) = read_float_tensors(&ModelSource::File(filtered)).unwrap();
        assert_eq!(config.postfilter.map(|c| c.width), Some(width));
    }
    // A model file does in place of a checkpoint, and training may round as the codec does.
    let again = dir.path().join("again");
    let lines = "precision = \"integers\"\nclip.unroll = \"2:1\"\nlosses = { lpips = 0, texture = 0 }";
    run(&mut train("detail", lines, &data, &again, &exported, "1"));
    let mut command = trainer();
    let model = dir.path().join("again.safetensors");
    command.arg("export").arg("--checkpoint").arg(again.join("checkpoint.safetensors")).arg("--out").arg(&model);
    run(&mut command);
    let fractions = [&exported, &model].map(|path| read_float_tensors(&ModelSource::File(path.clone())).unwrap().1.fractions);
    assert!(!fractions[0].is_empty() && fractions[0] == fractions[1], "calibration stays with a model");
}

#[test]
fn a_trained_residual_branch_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let check = |schedule: &str| {
        let mut command = trainer();
        command.arg("schedule").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules").join(schedule));
        command.args(["--data", "none", "--check"]).arg("--out").arg(dir.path()).arg("--init").arg(model());
        command
    };
    assert!(run(&mut check("continue.toml")).contains("3 stages"));
    let refused = check("gpu.toml").output().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("stage inter") && text.contains("leave the key out"), "{text}");
}

/// Qualities of the I-frame and of the P-frame of a stream encoded at `quality`.
fn qualities(path: &Path, quality: u8) -> [u8; 2] {
    let video = VideoInfo { width: 96, height: 80, ..VideoInfo::default() };
    let model = ModelSource::File(path.to_owned());
    let mut encoder =
        Encoder::new(EncoderConfig { quality, model, device: DeviceSpec::Cpu, ..EncoderConfig::new(video) }).unwrap();
    [0, 1].map(|i| encoder.encode(&frame(i).view(), FrameOptions::default()).unwrap().quality)
}

fn frame(number: usize) -> Frame {
    let mut frame = Frame::new(96, 80);
    for plane in frame.planes_mut() {
        for (i, sample) in plane.data.iter_mut().enumerate() {
            *sample = (90 + (i * 7 + number * 5) % 53 + i % 96 / 2) as u8;
        }
    }
    frame
}

/// Units of a stream encoded at `detail`, what a decoder shows of them, and the encoder's reconstructions.
fn code(path: &Path, detail: f32) -> (Vec<Vec<u8>>, Vec<Frame>, Vec<Frame>) {
    let model = ModelSource::File(path.to_owned());
    let video = VideoInfo { width: 96, height: 80, ..VideoInfo::default() };
    let device = DeviceSpec::Cpu;
    let config = EncoderConfig {
        detail: Some(detail),
        adaptive_detail: false,
        model: model.clone(),
        device: device.clone(),
        threads: 1,
        ..EncoderConfig::new(video)
    };
    let mut encoder = Encoder::new(config).unwrap();
    let mut decoder = Decoder::new(DecoderConfig { model, device, threads: 1, ..DecoderConfig::default() }).unwrap();
    let (mut units, mut shown, mut reconstructions) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..3 {
        let unit = encoder.encode(&frame(i).view(), FrameOptions::default()).unwrap().data;
        shown.push(decoder.decode(&unit).unwrap().to_frame());
        units.push(unit);
        reconstructions.push(encoder.reconstruction().crop_copy(96, 80).unwrap());
    }
    (units, shown, reconstructions)
}

fn a_postfilter_is_shown_and_never_predicted_from(path: &Path) {
    let [faithful, half, full] = [0.0, 0.5, 1.0].map(|detail| code(path, detail));
    assert_eq!(faithful.1, faithful.2);
    let distance = |frames: &[Frame]| -> u64 {
        let planes = frames.iter().zip(&faithful.1).map(|(a, b)| (a.plane(0), b.plane(0)));
        planes.flat_map(|(a, b)| a.data.iter().zip(&b.data)).map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
    };
    for (units, shown, reconstructions) in [&half, &full] {
        // Each frame says that its detail map has not changed.
        assert!(units[1..].iter().zip(&faithful.0[1..]).all(|(a, b)| a.len().abs_diff(b.len()) <= 2), "P units are as large");
        assert_eq!(*reconstructions, faithful.2);
        assert!(shown.iter().zip(reconstructions).all(|(a, b)| a.plane(1) == b.plane(1) && a.plane(0) != b.plane(0)));
    }
    assert!(0 < distance(&half.1) && distance(&half.1) < distance(&full.1));
}

/// Symbols of I-frames and P-frames have tables of their own, and neither has the Gaussians.
fn probabilities_are_counted(exported: &Path) {
    let tensors = Model::load(&ModelSource::File(exported.to_owned())).unwrap().tensors().unwrap();
    let starts = |latent| tensors[&format!("{latent}.integer.tables.starts")].data.clone();
    let (gaussian, _) = Tables::gaussian().to_flat();
    let gaussian: Vec<u8> = gaussian.into_iter().flat_map(u16::to_le_bytes).collect();
    assert!(starts("intra") != gaussian && starts("residual") != gaussian && starts("intra") != starts("residual"));
}

fn detail_needs_a_postfilter(path: &Path) {
    let video = VideoInfo { width: 96, height: 80, ..VideoInfo::default() };
    let config = EncoderConfig { detail: Some(1.0), model: ModelSource::File(path.to_owned()), ..EncoderConfig::new(video) };
    let error = Encoder::new(config).err().expect("a model without a postfilter").to_string();
    assert!(error.contains("postfilter"), "{error}");
}
