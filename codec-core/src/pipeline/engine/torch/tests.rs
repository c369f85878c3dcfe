//! What crosses between host and device, counted on the CPU.

use std::sync::Arc;

use tch::Device;

use super::super::{Engine, Filtered, IntegerEngine, LooksBack, Part, Scaled};
use super::TorchEngine;
use crate::architecture::DetailConfig;
use crate::bitstream::VideoInfo;
use crate::detail::DetailMap;
use crate::entropy::LatentGrid;
use crate::frame::Frame;
use crate::integer::Area;
use crate::model::{DetailFile, Model, ModelSource, detail_file};
use crate::nn::Precision;
use crate::nn::transfer::{Transfers, counted};
use crate::quality::{FrameQuality, QualityGrid, QualityMap, RestMap};
use crate::{Decoder, DecoderConfig, DeviceSpec, Encoder, EncoderConfig, FrameOptions, Packet};

const SIZE: (usize, usize) = (192, 128);

/// A texture that moves, and brightens where nothing can be predicted.
fn picture(number: usize) -> Frame {
    let mut frame = Frame::new(SIZE.0, SIZE.1);
    for plane in frame.planes_mut() {
        for row in 0..plane.height {
            let texture =
                |col: usize| ((row * 7 + (col + 2 * number) * 5) % 97 + (row * (col + 2 * number)) % 31 + 9 * number) as u8;
            plane.row_mut(row).iter_mut().enumerate().for_each(|(col, sample)| *sample = 40 + texture(col));
        }
    }
    frame
}

/// With quality maps and detail maps, as by default.
fn encode(device: DeviceSpec) -> (Vec<Packet>, Vec<Transfers>) {
    let video = VideoInfo { width: SIZE.0 as u32, height: SIZE.1 as u32, ..VideoInfo::default() };
    let mut encoder = Encoder::new(EncoderConfig { device, threads: 1, ..EncoderConfig::new(video) }).unwrap();
    (0..6).map(|number| counted(|| encoder.encode(&picture(number).view(), FrameOptions::default()).unwrap())).unzip()
}

fn decode(device: DeviceSpec, postfilter: bool, units: &[Packet]) -> (Vec<Frame>, Vec<Transfers>) {
    let mut decoder = Decoder::new(DecoderConfig { device, threads: 1, ..DecoderConfig::default() }).unwrap();
    decoder.set_detail((!postfilter).then_some(0.0));
    units.iter().map(|unit| counted(|| decoder.decode(&unit.data).unwrap().to_frame())).unzip()
}

/// A third of the cells of a grid, in diagonals three cells wide.
fn some_cells(rows: usize, cols: usize) -> Area {
    let places = (0..rows).flat_map(|row| (0..cols).map(move |col| (row + col) / 3 % 3 != 1));
    Area::without(&places.collect::<Vec<_>>(), cols)
}

/// What an engine makes of the same frames and latents: latents, pictures, and the map of a postfilter that looks back.
fn results(engine: &mut dyn Engine) -> (Vec<Scaled>, Vec<Frame>, Vec<f32>) {
    let (first, second) = (picture(0), picture(1));
    let (rows, cols) = (first.height() / 16, first.width() / 16);
    let (mut scaled, mut pictures, mut map) = (Vec::new(), Vec::new(), Vec::new());
    let mut quality = QualityMap::zero(SIZE.0 as u32, SIZE.1 as u32);
    quality = quality.changed(|cell, _| cell as i32 % 13 - 6);
    let quality = FrameQuality { index: 30, map: Some(quality), rest: None };
    let (still, shift) = (quality.cells((0, 0)), (8, 40));
    // Some areas of the P-frame rest.
    let rest = RestMap::new((rows, cols), |(row, col)| (row + col) % 3 == 1);
    assert!(!rest.is_empty());
    let shifted = FrameQuality { rest: Some(rest), ..quality }.cells(shift);
    for part in [Part::Intra, Part::Residual] {
        let grid = if part == Part::Intra { still.grid() } else { shifted.grid() };
        match part {
            Part::Intra => engine.analyse_intra(&first, grid).unwrap(),
            _ => engine.analyse_residual(&second, &first, shift, grid).unwrap(),
        }
        let mut out = Scaled::default();
        // Half of the latent changes before the hyper-latent is made, as by a prediction.
        let mut halve = |y: &mut [f32]| {
            y.iter_mut().step_by(2).for_each(|y| *y *= 0.5);
            Ok(())
        };
        engine.scale(part, grid, if part == Part::Intra { Some(&mut halve) } else { None }, &mut out).unwrap();
        let mut latent = LatentGrid::new(rows, cols, out.y.len() / (rows * cols));
        latent.data.iter_mut().zip(&out.y).for_each(|(value, y)| *value = (y.round() * 256.0) as i32);
        // Some that saturate.
        latent.data.iter_mut().step_by(1009).for_each(|value| *value *= 4000);
        let mut picture = Frame::new(first.width(), first.height());
        match part {
            Part::Intra => engine.synthesise_intra(&latent, grid, &mut picture).unwrap(),
            _ => engine.synthesise_residual(&latent, &first, shift, grid, &mut picture).unwrap(),
        }
        scaled.push(out);
        pictures.push(picture);
    }
    engine.set_detail(200).unwrap();
    let whole = Area::whole(2 * rows, 2 * cols);
    let filtered =
        Filtered { decoded: &pictures[1], past: Some(&pictures[0]), quality: still.grid(), detail: None, area: &whole };
    engine.postfilter_map(filtered, &mut map).unwrap();
    // What the same filter would write at some cells in the next frame; at the others the map stays.
    let part = some_cells(2 * rows, 2 * cols);
    let before = map.clone();
    engine.postfilter_map(Filtered { decoded: &pictures[0], past: Some(&second), area: &part, ..filtered }, &mut map).unwrap();
    let channels = map.len() / (4 * rows * cols);
    let changed = |cell: usize| map[cell * channels..][..channels] != before[cell * channels..][..channels];
    for row in 0..2 * rows {
        assert!(part.gaps(row).flatten().all(|col| !changed(row * 2 * cols + col)));
        assert!(part.row(row).flatten().all(|col| changed(row * 2 * cols + col)));
    }
    (scaled, pictures, map)
}

#[test]
fn both_ways_of_libtorch_make_what_the_processor_makes() {
    let model = Model::load(&ModelSource::Embedded).unwrap();
    let wanted = results(&mut IntegerEngine::new(&model, 1).unwrap());
    for precision in [Precision::Exact, Precision::ExactBytes] {
        let found = results(&mut TorchEngine::with_precision(&model, Device::Cpu, precision, 1).unwrap());
        assert!(found.1 == wanted.1 && found.2 == wanted.2, "{precision:?}: pictures or map");
        for (found, wanted) in found.0.iter().zip(&wanted.0) {
            assert!(found.y == wanted.y, "{precision:?}: a latent");
            assert!(found.z == wanted.z, "{precision:?}: a hyper-latent");
        }
    }
}

#[test]
fn a_rich_filter_makes_nearly_the_same_of_floats() {
    let model = Model::load(&ModelSource::Embedded).unwrap();
    let postfilter = model.config.postfilter.clone().unwrap();
    let own = model.tensors().unwrap().into_iter().filter(|(name, _)| name.starts_with("postfilter.")).collect::<Vec<_>>();
    let bytes = detail_file(&DetailConfig { profile: model.config.profile, postfilter }, &own, &[]).unwrap();
    let file = Arc::new(DetailFile::from_bytes(bytes).unwrap());
    let detail = DetailMap::new(QualityMap::zero(SIZE.0 as u32, SIZE.1 as u32).changed(|cell, _| cell as i32 % 9 - 4));
    let map_of = |engine: &mut dyn Engine, rich: bool| {
        let (first, second) = (picture(0), picture(1));
        let mut map = Vec::new();
        engine.set_rich(rich.then_some(&file)).unwrap();
        engine.set_detail(200).unwrap();
        assert_eq!(engine.postfilter(), Some(LooksBack(true)));
        let area = Area::whole(SIZE.1 / 8, SIZE.0 / 8);
        let quality = QualityGrid::uniform(30);
        let filtered = Filtered { decoded: &second, past: Some(&first), quality, detail: Some(&detail), area: &area };
        engine.postfilter_map(filtered, &mut map).unwrap();
        let part = some_cells(SIZE.1 / 8, SIZE.0 / 8);
        engine.postfilter_map(Filtered { decoded: &first, past: Some(&second), area: &part, ..filtered }, &mut map).unwrap();
        map
    };
    let wanted = map_of(&mut IntegerEngine::new(&model, 1).unwrap(), false);
    assert!(map_of(&mut IntegerEngine::new(&model, 1).unwrap(), true) == wanted);
    let mut engine = TorchEngine::with_precision(&model, Device::Cpu, Precision::Exact, 1).unwrap();
    let found = map_of(&mut engine, true);
    assert_eq!(found.len(), wanted.len());
    let error = |map: &[f32]| map.iter().zip(&wanted).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / wanted.len() as f64;
    let size = wanted.iter().map(|v| f64::from(v.abs())).sum::<f64>() / wanted.len() as f64;
    assert!(error(&found) < 0.03 * size, "{} of {size}", error(&found));
    // The model's own is exact again.
    assert!(map_of(&mut engine, false) == wanted);
}

#[test]
fn a_decoded_frame_crosses_once_each_way() {
    let (units, none) = encode(DeviceSpec::Cpu);
    assert_eq!(none, [Transfers::default(); 6]);
    for (postfilter, more) in [(false, 0), (true, 1)] {
        let (pictures, transfers) = decode(DeviceSpec::CpuTorch, postfilter, &units);
        // A latent; in P-frames a prediction before it. A picture back. For the screen once more each way: what is shown and was shown,
        // and what is to be done.
        assert_eq!(transfers[0], Transfers { uploads: 1 + more, downloads: 1 + more });
        assert_eq!(transfers[1..], [Transfers { uploads: 2 + more, downloads: 1 + more }; 5]);
        assert!(pictures == decode(DeviceSpec::Cpu, postfilter, &units).0, "postfilter {postfilter}");
    }
}

#[test]
fn what_libtorch_encodes_the_processor_decodes_to_the_same() {
    let (units, transfers) = encode(DeviceSpec::CpuTorch);
    // What a decoder does, an analysis, and a latent and its quality for each attempt at it.
    assert!(transfers.iter().all(|t| t.uploads <= 6 && t.downloads <= 4), "{transfers:?}");
    let wanted = decode(DeviceSpec::CpuTorch, true, &units).0;
    assert!(decode(DeviceSpec::Cpu, true, &units).0 == wanted);
}
