//! The engine beside a plain reading of the specification (docs/bitstream.md, section 13), sample by sample.

use std::cell::Cell;
use std::sync::Arc;

use super::Reader;
use crate::entropy::{LatentGrid, RawDtype};
use crate::frame::Frame;
use crate::integer::LayerParams;
use crate::model::{Model, ModelSource};
use crate::pipeline::engine::{Engine, IntegerEngine, Part, Scaled};
use crate::quality::{FrameQuality, QualityMap, RestMap};

/// `[channel][row][column]`.
#[derive(Clone)]
struct Map {
    channels: usize,
    rows: usize,
    cols: usize,
    data: Vec<i64>,
}

impl Map {
    fn new(channels: usize, rows: usize, cols: usize, value: impl Fn(usize, usize, usize) -> i64) -> Self {
        let place = |i: usize| (i / cols / rows, i / cols % rows, i % cols);
        let data = (0..channels * rows * cols).map(place).map(|(c, y, x)| value(c, y, x)).collect();
        Self { channels, rows, cols, data }
    }

    fn at(&self, c: usize, y: usize, x: usize) -> i64 {
        self.data[(c * self.rows + y) * self.cols + x]
    }

    fn shuffle(&self) -> Self {
        Self::new(self.channels / 4, 2 * self.rows, 2 * self.cols, |c, y, x| self.at(4 * c + 2 * (y % 2) + x % 2, y / 2, x / 2))
    }

    fn unshuffle(&self) -> Self {
        Self::new(4 * self.channels, self.rows / 2, self.cols / 2, |c, y, x| self.at(c / 4, 2 * y + c % 4 / 2, 2 * x + c % 2))
    }

    fn plus(&self, other: &Self) -> Self {
        Self::new(self.channels, self.rows, self.cols, |c, y, x| sat16(self.at(c, y, x) + other.at(c, y, x)))
    }

    fn act(&self) -> Self {
        Self::new(self.channels, self.rows, self.cols, |c, y, x| {
            let v = self.at(c, y, x);
            v.max((13 * v + 64) >> 7)
        })
    }

    fn part(&self, channels: &[usize]) -> Self {
        Self::new(channels.len(), self.rows, self.cols, |c, y, x| self.at(channels[c], y, x))
    }
}

fn sat16(v: i64) -> i64 {
    v.clamp(-32_768, 32_767)
}

/// The layers of a model by their names.
struct Layers<'a> {
    reader: Reader<'a>,
    /// The area, of the two of a frame of 64x128, that rests.
    resting: Cell<Option<usize>>,
}

impl Layers<'_> {
    fn sum(params: &LayerParams, o: usize, acc: i64) -> i64 {
        let e = params.shift[o];
        sat16((acc + i64::from(params.bias[o]) + (1i64 << e >> 1)) >> e)
    }

    fn point(&self, name: &str, outputs: usize, x: &Map) -> Map {
        let params = self.reader.layer(name, outputs, x.channels).unwrap();
        Map::new(outputs, x.rows, x.cols, |o, row, col| {
            let weights = &params.weight[o * x.channels..][..x.channels];
            Self::sum(&params, o, weights.iter().enumerate().map(|(i, &w)| i64::from(w) * x.at(i, row, col)).sum())
        })
    }

    fn depthwise(&self, name: &str, x: &Map) -> Map {
        let params = self.reader.layer(name, x.channels, 9).unwrap();
        Map::new(x.channels, x.rows, x.cols, |c, row, col| {
            let mut acc = 0;
            for tap in 0..9 {
                let (r, s) = (row + tap / 3, col + tap % 3);
                if (1..=x.rows).contains(&r) && (1..=x.cols).contains(&s) {
                    acc += i64::from(params.weight[9 * c + tap]) * x.at(c, r - 1, s - 1);
                }
            }
            Self::sum(&params, c, acc)
        })
    }

    /// Zeros where cells rest.
    fn within(&self, x: &Map) -> Map {
        let rests = |row: usize| self.resting.get() == Some(row / (x.rows / 2));
        Map::new(x.channels, x.rows, x.cols, |c, row, col| if rests(row) { 0 } else { x.at(c, row, col) })
    }

    fn blocks(&self, prefix: &str, count: usize, x: Map) -> Map {
        (0..count).fold(x, |x, i| {
            let name = |part: &str| format!("{prefix}.{i}.{part}");
            let c = x.channels;
            let deep = self.depthwise(&name("depthwise"), &self.within(&self.point(&name("mix_in"), c, &x).act()));
            let x = x.plus(&self.point(&name("mix_out"), c, &deep));
            let wide = self.point(&name("expand"), 2 * c, &x).act();
            x.plus(&self.point(&name("project"), c, &wide))
        })
    }

    /// Of cells at 1/8.
    fn gain(&self, name: &str, q: &Indices, x: &Map) -> Map {
        let gain = self.reader.sub(name);
        let table = gain.values("table", RawDtype::U16, 64 * x.channels, u16::from_le_bytes).unwrap();
        let f = gain.values("fractions", RawDtype::U8, 2, |[b]: [u8; 1]| b).unwrap();
        let s = 12 + i64::from(f[0]) - i64::from(f[1]);
        Map::new(x.channels, x.rows, x.cols, |c, row, col| {
            sat16((x.at(c, row, col) * i64::from(table[q.at(row / 2, col / 2) * x.channels + c]) + (1 << (s - 1))) >> s)
        })
    }

    fn dequantise(&self, branch: &str, q: &Indices, y: &Map) -> Map {
        let gain = self.reader.sub(format!("{branch}.coder.decoder_gain"));
        let table = gain.values("table", RawDtype::U32, 64 * y.channels, u32::from_le_bytes).unwrap();
        let f = gain.values("fractions", RawDtype::U8, 2, |[b]: [u8; 1]| b).unwrap()[1];
        Map::new(y.channels, y.rows, y.cols, |c, row, col| {
            sat16((y.at(c, row, col) * i64::from(table[q.at(row, col) * y.channels + c]) + (1 << (23 - f))) >> (24 - f))
        })
    }
}

/// Quality indices of the cells at 1/16 of a frame of 64x128.
struct Indices(Vec<usize>);

impl Indices {
    /// By a map of four rows of two cells, on a rotated grid. Fractions of powers of two are exact in floats.
    fn new(quality: i32, map: [[i8; 2]; 4], (dy, dx): (usize, usize)) -> Self {
        let between = |centre: usize, cells: usize| ((centre as f64 - 16.0) / 32.0).clamp(0.0, cells as f64 - 1.0);
        let index = |cell: usize| {
            let (y, x) = (between((16 * (cell / 4) + 8 + 128 - dy) % 128, 4), between((16 * (cell % 4) + 8 + 64 - dx) % 64, 2));
            let mut value = 0.0;
            for (row, values) in map.iter().enumerate() {
                for (col, &v) in values.iter().enumerate() {
                    let near = |distance: f64| (1.0 - distance.abs()).max(0.0);
                    value += f64::from(v) * near(y - row as f64) * near(x - col as f64);
                }
            }
            (quality + (4.0 * value + 0.5).floor() as i32).clamp(0, 63) as usize
        };
        Self((0..32).map(index).collect())
    }

    fn at(&self, row: usize, col: usize) -> usize {
        self.0[row * 4 + col]
    }
}

/// A frame in half steps, rotated.
fn packed(frame: &Frame, (dy, dx): (usize, usize)) -> Map {
    Map::new(96, frame.height() / 8, frame.width() / 8, |c, row, col| {
        let (plane, side, k) = if c < 64 { (0, 8, c) } else { (1 + (c - 64) / 16, 4, c % 16) };
        let plane = frame.plane(plane);
        let (sy, sx) = (dy * side / 8, dx * side / 8);
        let y = (row * side + k / side + plane.height - sy) % plane.height;
        let x = (col * side + k % side + plane.width - sx) % plane.width;
        2 * i64::from(plane.row(y)[x]) - 255
    })
}

/// The output for an unpacked map, rotated back.
fn output(map: &Map, prediction: Option<&Frame>, (dy, dx): (usize, usize)) -> Frame {
    let mut frame = Frame::new(8 * map.cols, 8 * map.rows);
    for p in 0..3 {
        let (side, first) = if p == 0 { (8, 0) } else { (4, 48 + 16 * p) };
        let (height, width) = (map.rows * side, map.cols * side);
        for y in 0..height {
            for x in 0..width {
                let (r, s) = ((y + dy * side / 8) % height, (x + dx * side / 8) % width);
                let o = map.at(first + r % side * side + s % side, r / side, s / side);
                let base = prediction.map_or(8160, |frame| 64 * i64::from(frame.plane(p).row(y)[x]));
                frame.plane_mut(p).row_mut(y)[x] = ((o + base + 32) >> 6).clamp(0, 255) as u8;
            }
        }
    }
    frame
}

fn noise(seed: u64) -> impl FnMut(i64) -> i64 {
    let mut state = seed;
    move |limit| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64 % (2 * limit + 1) - limit
    }
}

fn noise_frame(seed: u64) -> Frame {
    let mut frame = Frame::new(64, 128);
    let mut next = noise(seed);
    frame.planes_mut().iter_mut().flat_map(|plane| &mut plane.data).for_each(|v| *v = (128 + next(90)) as u8);
    frame
}

/// A latent with a few large values.
fn latent(seed: u64, channels: usize) -> LatentGrid {
    let mut next = noise(seed);
    let mut grid = LatentGrid::new(8, 4, channels);
    grid.data.iter_mut().for_each(|v| *v = if next(9) == 9 { next(40_000) as i32 } else { next(300) as i32 });
    grid
}

fn map_of(grid: &LatentGrid) -> Map {
    Map::new(grid.channels, grid.rows, grid.cols, |c, y, x| i64::from(grid.data[(y * grid.cols + x) * grid.channels + c]))
}

#[test]
fn the_engine_does_what_the_specification_says() {
    check(29, [[0; 2]; 4], None);
}

#[test]
fn the_engine_follows_a_quality_map() {
    check(34, [[-3, 2], [15, -15], [0, 5], [1, -1]], None);
}

#[test]
fn the_engine_takes_areas_that_rest_for_places_outside_the_picture() {
    check(40, [[0; 2]; 4], Some(0));
    check(21, [[-3, 2], [15, -15], [0, 5], [1, -1]], Some(1));
}

/// `resting`: the area of the P-frame that rests.
fn check(quality: u8, map: [[i8; 2]; 4], resting: Option<usize>) {
    let shared = QualityMap::new(64, 128, map.concat()).unwrap();
    let of_map = || FrameQuality { index: quality, map: (!shared.is_zero()).then(|| shared.clone()), rest: None };
    let quality_of = |shift| of_map().cells(shift);
    let indices = |(dy, dx): (usize, usize)| Indices::new(quality.into(), map, (dy, dx));
    let model: Arc<Model> = Model::load(&ModelSource::Embedded).unwrap();
    let tensors = model.tensors().unwrap();
    let lookup = |name: &str| tensors.get(name).cloned();
    let layers = Layers { reader: Reader::new(&lookup), resting: Cell::new(None) };
    let config = model.config.clone();
    let (c, d) = (config.intra.width as usize, config.intra.deep_width as usize);
    let (n, m) = (config.intra.nonlinear() as usize, config.intra.linear as usize);
    // The branches may have different numbers of linear channels.
    let residual = n + config.residual.linear as usize;
    let linear = |all: usize| -> Vec<usize> {
        let half = (all - n) / 2;
        (n / 2..n / 2 + half).chain(n + half..all).collect()
    };

    let analysis = |branch: &str, q: &Indices, x: &Map| -> Map {
        let at = |part: &str| format!("{branch}.analysis.{part}");
        let x = layers.gain(&at("gain"), q, &layers.point(&at("input"), c, x));
        let x = layers.blocks(&at("blocks"), config.intra.analysis_blocks, x).unshuffle();
        let x = layers.blocks(&at("deep"), config.intra.deep_blocks, layers.point(&at("down"), d, &x));
        layers.within(&layers.point(&at("output"), n, &x))
    };
    let synthesis = |branch: &str, q: &Indices, y: &Map, context: Option<&Map>| -> Map {
        let at = |part: &str| format!("{branch}.synthesis.{part}");
        let x = layers.blocks(&at("deep"), config.intra.deep_blocks, layers.point(&at("input"), d, y));
        let mut x = layers.gain(&at("gain"), q, &layers.point(&at("up"), 4 * c, &x).shuffle());
        if let Some(context) = context.filter(|_| config.context) {
            x = x.plus(&layers.point(&at("context"), c, context));
        }
        let x = layers.blocks(&at("blocks"), config.intra.synthesis_blocks, x);
        let straight =
            layers.point(&at("linear"), 4 * 96, &y.part(&linear(if branch == "intra" { n + m } else { residual }))).shuffle();
        layers.within(&layers.point(&at("output"), 96, &x).plus(&straight))
    };

    // An I-frame, on two threads.
    let mut engine = IntegerEngine::new(&model, 2).unwrap();
    let mut found = Frame::new(64, 128);
    let grid = latent(1, n + m);
    engine.synthesise_intra(&grid, quality_of((0, 0)).grid(), &mut found).unwrap();
    let q = &indices((0, 0));
    let wanted = output(&synthesis("intra", q, &layers.dequantise("intra", q, &map_of(&grid)), None), None, (0, 0));
    assert!(found == wanted, "an I-frame");

    // A P-frame with free latent, context and shift.
    let (prediction, shift) = (noise_frame(5), (6usize, 10usize));
    let grid = latent(2, residual);
    let rest = resting.map(|area| RestMap::new((8, 4), |(row, _)| row == area));
    let cells = FrameQuality { rest, ..of_map() }.cells((6, 10));
    engine.synthesise_residual(&grid, &prediction, (6, 10), cells.grid(), &mut found).unwrap();
    layers.resting.set(resting);
    let q = &indices(shift);
    let context = packed(&prediction, shift);
    let mut y = layers.dequantise("residual", q, &map_of(&grid));
    if config.free_latent {
        y.data.extend(analysis("intra", q, &context).data);
        y.channels += n;
    }
    let wanted = output(&synthesis("residual", q, &y, Some(&context)), Some(&prediction), shift);
    assert!(found == wanted, "a P-frame");
    layers.resting.set(None);

    // The encoder's side, in quantiser steps.
    let (frame, mut scaled) = (noise_frame(7), Scaled::default());
    engine.analyse_intra(&frame, quality_of((0, 0)).grid()).unwrap();
    engine.scale(Part::Intra, quality_of((0, 0)).grid(), None, &mut scaled).unwrap();
    let q = &indices((0, 0));
    let wanted = analysis("intra", q, &packed(&frame, (0, 0)));
    let gain = layers.reader.sub("intra.coder.encoder_gain");
    let table = gain.values("table", RawDtype::U32, 64 * (n + m), u32::from_le_bytes).unwrap();
    let output = layers.reader.sub("intra.analysis.output");
    let bits = output.values("fractions", RawDtype::U8, 2, |[b]: [u8; 1]| b).unwrap()[1];
    for (i, &found) in scaled.y.iter().enumerate() {
        let (channel, position) = (i % (n + m), i / (n + m));
        // The first half of the networks' channels leads the latent.
        if channel < n / 2 {
            let (row, col) = (position / wanted.cols, position % wanted.cols);
            let y = wanted.at(channel, row, col) as f64;
            let wanted = y * f64::from(table[q.at(row, col) * (n + m) + channel]) * (-16.0 - f64::from(bits)).exp2();
            assert!((f64::from(found) - wanted).abs() <= wanted.abs() * 1e-6, "latent {i}: {found}, not {wanted}");
        }
    }
}
