//! Model files that are damaged, foreign or poisoned: a clear error, never a panic.

use codec_core::training::entropy::{SymbolCounts, Tables};
use codec_core::training::model::{Model, with_tables};
use codec_core::{Encoder, EncoderConfig, Error, FrameOptions, ModelSource};
use ngc_tests::{encoder_config, real_frames, repository};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::Digest;

fn load(bytes: &[u8]) -> codec_core::Result<std::sync::Arc<Model>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    Model::load(&ModelSource::File(file.path().to_owned()))
}

fn shipped() -> Vec<u8> {
    std::fs::read(repository("models/rt.safetensors")).unwrap()
}

/// Length of the JSON header, which starts at byte 8.
fn header_length(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// The file with one text in its header replaced by another of the same length.
fn with_header(find: &str, replace: &str) -> Vec<u8> {
    assert_eq!(find.len(), replace.len());
    let mut bytes = shipped();
    let end = 8 + header_length(&bytes);
    let at = bytes[8..end].windows(find.len()).position(|w| w == find.as_bytes()).expect("the header holds the text") + 8;
    bytes[at..at + replace.len()].copy_from_slice(replace.as_bytes());
    bytes
}

#[test]
fn random_damage_never_panics() {
    let whole = shipped();
    let header = 8 + header_length(&whole);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut below = |bound: usize| random.random_range(0..bound);
    let mut refused = 0;
    for i in 0..60 {
        let mut bytes = whole.clone();
        // Most of the damage goes to the header, where it hurts most.
        let range = if i % 4 == 0 { whole.len() } else { header };
        for _ in 0..1 + below(3) {
            bytes[below(range)] = below(256) as u8;
        }
        if i % 10 == 9 {
            bytes.truncate(below(whole.len()));
        }
        refused += usize::from(load(&bytes).is_err());
    }
    assert!(refused > 30, "{refused} of 60 refused");
}

#[test]
fn absurd_headers_are_refused() {
    let mut huge = shipped();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    for (name, bytes) in [
        ("a header longer than any file", huge),
        ("nothing", Vec::new()),
        ("a header without tensors", [&2u64.to_le_bytes()[..], b"{}"].concat()),
        ("another format", b"PK\x03\x04 a pickled checkpoint, perhaps".to_vec()),
        ("a newer format", with_header("ngc-model-3", "ngc-model-9")),
        ("a width of its own", with_header("\\\"width\\\":64", "\\\"width\\\":96")),
    ] {
        match load(&bytes) {
            Err(Error::ModelMismatch(_) | Error::Unsupported(_)) => {}
            Err(other) => panic!("{name}: {other}"),
            Ok(_) => panic!("{name} was loaded"),
        }
    }
}

#[test]
fn values_that_are_no_numbers_are_refused_by_name() {
    let mut bytes = shipped();
    let start = 8 + header_length(&bytes);
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    let (name, offset) = header
        .as_object()
        .unwrap()
        .iter()
        .find(|(_, tensor)| tensor["dtype"] == "F32")
        .map(|(name, tensor)| (name.clone(), tensor["data_offsets"][0].as_u64().unwrap() as usize))
        .unwrap();
    bytes[start + offset..start + offset + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    // Someone who writes such values writes the checksum that fits.
    let sha = |bytes: &[u8]| sha2::Sha256::digest(&bytes[start..]).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (old, new) = (sha(&shipped()), sha(&bytes));
    let at = bytes[8..start].windows(old.len()).position(|w| w == old.as_bytes()).expect("the header holds the checksum") + 8;
    bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
    let error = load(&bytes).err().expect("a poisoned model").to_string();
    assert!(error.contains(&name) && error.contains("not finite"), "{error}");
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let whole = shipped();
    for at in [8 + header_length(&whole) + 5, whole.len() * 2 / 3, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        let error = load(&bytes).err().expect("a damaged model").to_string();
        assert!(error.contains("damaged") && error.contains("checksum"), "{error}");
    }
    load(&whole).unwrap();
}

#[test]
fn the_shipped_probabilities_fit_and_others_take_their_place() {
    let clip = repository("examples/media/flower.mp4");
    let frames = real_frames(&clip, 320, 192, 8);
    let coded_with = |model: ModelSource| {
        let mut bytes = [0; 2];
        let mut counts = [SymbolCounts::default(), SymbolCounts::default()];
        for quality in [23, 33, 42] {
            let mut encoder = Encoder::new(EncoderConfig { model: model.clone(), quality, ..encoder_config(320, 192) }).unwrap();
            encoder.take_symbol_counts();
            for frame in &frames {
                let unit = encoder.encode(&frame.view(), FrameOptions::default()).unwrap();
                let kind = usize::from(!unit.keyframe);
                bytes[kind] += unit.data.len();
                counts[kind].merge(&encoder.take_symbol_counts());
            }
        }
        (bytes, counts)
    };
    let (shipped_bytes, [_, inter]) = coded_with(ModelSource::Embedded);
    assert!(inter.total() > 10_000, "{} symbols", inter.total());

    let shipped = Model::load(&ModelSource::Embedded).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file_with = |name: &str, tables: Tables| {
        let path = dir.path().join(name);
        std::fs::write(&path, with_tables(&shipped, &[("residual", tables)]).unwrap()).unwrap();
        ModelSource::File(path)
    };
    let gaussian = file_with("gaussian", Tables::gaussian());
    assert_ne!(Model::load(&gaussian).unwrap().id(), shipped.id());
    let (gaussian_bytes, _) = coded_with(gaussian);
    // Keyframes have tables of their own.
    assert_eq!(gaussian_bytes[0], shipped_bytes[0]);
    assert_ne!(gaussian_bytes[1], shipped_bytes[1]);
    // For the symbols of P-frames Gaussians are worse, and tables of this very clip are a little better. (Bytes depend on what the encoder
    // makes of other costs, too.)
    let of_shipped = inter.bits(shipped.residual_entropy().tables());
    let [of_gaussians, of_clip] = [Tables::gaussian(), inter.tables()].map(|tables| inter.bits(&tables) / of_shipped);
    assert!(of_clip < 0.995 && of_gaussians > 1.0, "{of_clip} {of_gaussians}");

    let missing = with_tables(&shipped, &[("flow", Tables::gaussian())]).unwrap_err().to_string();
    assert!(missing.contains("flow.integer.tables"), "{missing}");
}
