//! Detail files: a filter of one's own in place of the model's, and what is said of files that do not fit.

use std::path::{Path, PathBuf};

use codec_core::frame::Frame;
use codec_core::training::architecture::{DetailConfig, PostfilterConfig, Profile};
use codec_core::training::entropy::{RawDtype, RawTensor};
use codec_core::training::model::{DetailFile, Model, detail_file};
use codec_core::training::rt::weights;
use codec_core::{
    Decoder, DecoderConfig, DetailModel, DeviceSpec, EncoderConfig, Error, ModelSource, Packet, estimated_decoding_memory,
};
use gst::prelude::*;
use ngc_tests::pipes::launch;
use ngc_tests::{encode, encoder_config, repository, synthetic_frame};

/// A filter with made-up weights.
fn made_up(width: usize, seed: usize) -> (DetailConfig, Vec<(String, RawTensor)>) {
    const PACKED: usize = 96;
    let mut tensors = Vec::new();
    let mut add = |name: String, dtype, shape: &[usize], data: Vec<u8>| {
        tensors.push((format!("postfilter.{name}"), RawTensor { dtype, shape: shape.to_vec(), data }));
    };
    let fractions = |from: u8, to: u8| vec![from, to];
    let mut layer = |name: &str, outputs: usize, inputs: usize, depthwise: bool| {
        let values: Vec<i16> = (0..outputs * inputs).map(|i| ((i * 7919 + seed) % 201) as i16 - 100).collect();
        let packed = weights::pack(&values, inputs);
        let bytes = packed.len() / outputs;
        let shape = if depthwise { vec![outputs, 1, bytes] } else { vec![outputs, bytes] };
        add(format!("{name}.weight"), RawDtype::U8, &shape, packed);
        add(format!("{name}.bias"), RawDtype::I32, &[outputs], vec![0; 4 * outputs]);
        add(format!("{name}.shift"), RawDtype::U8, &[outputs], vec![10; outputs]);
        add(format!("{name}.fractions"), RawDtype::U8, &[2], fractions(9, 9));
    };
    layer("input", width, PACKED, false);
    for (part, outputs, inputs, depthwise) in [
        ("mix_in", width, width, false),
        ("depthwise", width, 9, true),
        ("mix_out", width, width, false),
        ("expand", 2 * width, width, false),
        ("project", width, 2 * width, false),
    ] {
        layer(&format!("blocks.0.{part}"), outputs, inputs, depthwise);
    }
    layer("output", 66, width, false);
    layer("recurrence.input", width, PACKED, false);
    layer("recurrence.carry", 2, width, false);
    let unit = 4096u16.to_le_bytes().repeat(64 * width);
    add("gain.table".into(), RawDtype::U16, &[64, width], unit);
    add("gain.fractions".into(), RawDtype::U8, &[2], fractions(9, 9));
    add("start.table".into(), RawDtype::F32, &[64, 2], 0.5f32.to_le_bytes().repeat(128));
    let postfilter = PostfilterConfig { width: width as i64, blocks: 1, recurrent: true };
    (DetailConfig { profile: Profile::Rt, postfilter }, tensors)
}

/// The filter of the built-in model.
fn own() -> (DetailConfig, Vec<(String, RawTensor)>) {
    let model = Model::load(&ModelSource::Embedded).unwrap();
    let postfilter = model.config().postfilter.clone().unwrap();
    let tensors = model.tensors().unwrap().into_iter().filter(|(name, _)| name.starts_with("postfilter.")).collect();
    (DetailConfig { profile: Profile::Rt, postfilter }, tensors)
}

fn bytes_of((config, tensors): &(DetailConfig, Vec<(String, RawTensor)>)) -> Vec<u8> {
    detail_file(config, tensors, &[]).unwrap()
}

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn units() -> Vec<Packet> {
    let frames: Vec<Frame> = (0..4).map(|i| synthetic_frame(192, 128, i)).collect();
    encode(EncoderConfig { detail: Some(1.0), adaptive_detail: false, ..encoder_config(192, 128) }, &frames)
}

fn open_on(device: DeviceSpec, which: DetailModel, file: Option<&Path>) -> codec_core::Result<Decoder> {
    let detail_file = file.map(Path::to_owned);
    Decoder::new(DecoderConfig { threads: 1, device, detail_model: which, detail_file, ..DecoderConfig::default() })
}

fn open(which: DetailModel, file: Option<&Path>) -> codec_core::Result<Decoder> {
    open_on(DeviceSpec::Cpu, which, file)
}

fn show(mut decoder: Decoder, units: &[Packet]) -> Vec<Frame> {
    units.iter().map(|unit| decoder.decode(&unit.data).unwrap().to_frame()).collect()
}

fn refusal(file: &Path) -> Error {
    open(DetailModel::Rich, Some(file)).err().expect("a file that does not fit")
}

#[test]
fn a_rich_filter_takes_the_place_of_the_models_own() {
    let (files, units) = (Files::new(), units());
    let same = files.file("same", &bytes_of(&own()));
    let other = files.file("other", &bytes_of(&made_up(16, 3)));
    let shown = |which, file: Option<&Path>| show(open(which, file).unwrap(), &units);
    let (fast, off) = (shown(DetailModel::Fast, None), shown(DetailModel::Off, None));
    assert!(fast.iter().zip(&off).all(|(a, b)| a.plane(0) != b.plane(0)));
    assert_eq!(shown(DetailModel::Rich, Some(&same)), fast);
    let rich = shown(DetailModel::Rich, Some(&other));
    for (rich, off) in rich.iter().zip(&off) {
        assert!(rich.plane(0) != off.plane(0) && rich.plane(1) == off.plane(1) && rich.plane(2) == off.plane(2));
    }
    assert_ne!(rich, fast);
    // On a processor the choice is the fast one.
    assert_eq!(shown(DetailModel::Auto, Some(&other)), fast);
    assert_eq!(shown(DetailModel::Auto, None), fast);
    assert_eq!(shown(DetailModel::Auto, Some(Path::new("/nowhere"))), fast);
    // The strength is the caller's, as with the fast one.
    let mut faithful = open(DetailModel::Rich, Some(&other)).unwrap();
    faithful.set_detail(Some(0.0));
    assert_eq!(show(faithful, &units), off);
}

#[test]
fn the_filter_may_change_while_decoding_and_is_read_once() {
    let (files, units) = (Files::new(), units());
    let path = files.file("rich", &bytes_of(&made_up(24, 5)));
    let [fast, rich, off] = [DetailModel::Fast, DetailModel::Rich, DetailModel::Off]
        .map(|which| show(open(which, Some(&path)).unwrap(), &units[..1]).remove(0));
    let mut decoder = open(DetailModel::Fast, Some(&path)).unwrap();
    let mut after = |which| {
        decoder.set_detail_model(which).unwrap();
        // Keyframes have no past.
        decoder.decode(&units[0].data).unwrap().to_frame()
    };
    assert_eq!(after(DetailModel::Rich), rich);
    std::fs::remove_file(&path).unwrap();
    assert_eq!([DetailModel::Off, DetailModel::Fast, DetailModel::Rich].map(&mut after), [off, fast, rich.clone()]);
    // Without a file the filter stays as it was.
    let mut without = open(DetailModel::Fast, None).unwrap();
    let error = without.set_detail_model(DetailModel::Rich).unwrap_err().to_string();
    assert!(error.contains("detail-file") && error.contains("NGC_DETAIL_FILE"), "{error}");
    assert_eq!(without.decode(&units[0].data).unwrap().to_frame(), after(DetailModel::Fast));
}

#[test]
fn files_of_another_kind_are_named_with_the_cure() {
    let files = Files::new();
    let rich = files.file("rich", &bytes_of(&made_up(8, 1)));
    let model = repository("models/rt.safetensors");
    let error = refusal(&model).to_string();
    assert!(
        error.contains("rt.safetensors: this is a model file") && error.contains("pass it as the property model-file"),
        "{error}"
    );
    let error = Model::load(&ModelSource::File(rich.clone())).err().expect("no model").to_string();
    assert!(error.contains("rich: this is a detail file") && error.contains("pass it as the property detail-file"), "{error}");
    let missing = refusal(Path::new("/nowhere.safetensors"));
    assert!(matches!(&missing, Error::ModelMissing(text) if text.contains("/nowhere.safetensors")), "{missing}");
    let paper =
        DetailConfig { profile: Profile::Paper, postfilter: PostfilterConfig { recurrent: false, ..made_up(8, 1).0.postfilter } };
    let paper = files.file("paper", &bytes_of(&(paper, Vec::new())));
    let error = refusal(&paper).to_string();
    assert!(
        error.contains("paper")
            && error.contains("profile paper, but the model is of profile rt")
            && error.contains("detail-model=fast"),
        "{error}"
    );
}

#[test]
fn damaged_files_are_refused() {
    let files = Files::new();
    let (config, tensors) = made_up(8, 1);
    let whole = bytes_of(&(config.clone(), tensors.clone()));
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        let error = refusal(&files.file("cut", &whole[..length]));
        assert!(matches!(&error, Error::ModelMismatch(text) if text.contains("cut")), "{length}: {error}");
    }
    for at in (0..whole.len()).step_by(whole.len() / 97).chain([whole.len() - 1]) {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        // Nothing depends on what the header says beside formats, configuration, checksum and places.
        if let Ok(file) = DetailFile::load(&files.file("flipped", &flipped)) {
            drop(file);
            let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
            assert!(at < header, "byte {at} of {} is not looked at", whole.len());
        }
    }
    let without = |name: &str| tensors.iter().filter(|(n, _)| n != name).cloned().collect::<Vec<_>>();
    let error = detail_file(&config, &without("postfilter.output.bias"), &[]).unwrap_err().to_string();
    assert!(error.contains("postfilter.output.bias is missing"), "{error}");
    // Sizes that a configuration asks for are those of tensors, before anything is made of them.
    let huge = DetailConfig { postfilter: PostfilterConfig { width: 1024, blocks: 16, recurrent: true }, ..config.clone() };
    assert!(detail_file(&huge, &tensors, &[]).unwrap_err().to_string().contains("postfilter.input.weight"));
    for (width, blocks) in [(0, 1), (-8, 1), (i64::MAX, 1), (8, usize::MAX)] {
        let absurd = DetailConfig { postfilter: PostfilterConfig { width, blocks, recurrent: true }, ..config.clone() };
        let error = detail_file(&absurd, &tensors, &[]).unwrap_err().to_string();
        assert!(error.contains("1 to 1024 channels"), "{error}");
    }
}

#[test]
fn a_rich_filter_takes_more_memory() {
    let needed = |which| estimated_decoding_memory(1920, 1080, which);
    assert_eq!(needed(DetailModel::Auto), needed(DetailModel::Fast));
    assert!(needed(DetailModel::Rich) > needed(DetailModel::Fast));
}

#[test]
#[cfg(feature = "torch")]
fn libtorch_shows_nearly_the_same() {
    let (files, units) = (Files::new(), units());
    let path = files.file("rich", &bytes_of(&made_up(16, 3)));
    let [cpu, torch] = [DeviceSpec::Cpu, DeviceSpec::CpuTorch]
        .map(|device| show(open_on(device, DetailModel::Rich, Some(&path)).unwrap(), &units));
    let off = show(open(DetailModel::Off, None).unwrap(), &units);
    for ((cpu, torch), off) in cpu.iter().zip(&torch).zip(&off) {
        let (alike, changed) = (ngc_tests::psnr(cpu, torch, 0), ngc_tests::psnr(cpu, off, 0));
        assert!(alike > 45.0 && alike > changed + 10.0, "{alike} dB, without filter {changed} dB");
    }
}

#[test]
fn the_decoder_takes_a_detail_file_by_its_properties() {
    let files = Files::new();
    let rich = files.file("rich", &bytes_of(&made_up(8, 1)));
    let units = units();
    let shown = |properties: &str| -> Result<Vec<u8>, String> {
        let text =
            format!("appsrc name=in caps=video/x-ngc ! ngcparse ! ngcdec device=cpu {properties} ! appsink name=out sync=false");
        let pipeline = launch(&text);
        let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().unwrap();
        let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        source.push_buffer(gst::Buffer::from_mut_slice(units[0].data.clone())).unwrap();
        source.end_of_stream().unwrap();
        let sample = sink.pull_sample();
        let error = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]);
        pipeline.set_state(gst::State::Null).unwrap();
        match error.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => Err(error.error().message().to_owned()),
            _ => Ok(sample.unwrap().buffer().unwrap().map_readable().unwrap().to_vec()),
        }
    };
    let file = format!("detail-file={}", rich.display());
    let [fast, off, auto, richly] =
        ["fast", "off", "auto", "rich"].map(|which| shown(&format!("detail-model={which} {file}")).unwrap());
    assert!(fast != off && fast == auto && richly != fast && richly != off);
    let error = shown("detail-model=rich detail-file=/nowhere.safetensors").unwrap_err();
    assert!(error.contains("/nowhere.safetensors"), "{error}");
    let error = shown(&format!("detail-model=rich detail-file={}", repository("models/rt.safetensors").display())).unwrap_err();
    assert!(error.contains("pass it as the property model-file"), "{error}");
    assert_eq!(shown("detail-model=auto detail-file=/nowhere.safetensors").unwrap(), fast);
}
