use super::*;

const SIZE: Size = Size { width: 160, height: 128 };

fn picture() -> Vec<u8> {
    let luma = (0..SIZE.width * SIZE.height).map(|i| {
        let (x, y) = ((i % SIZE.width) as f32, (i / SIZE.width) as f32);
        (126.0 + 50.0 * (x * 0.3).sin() + 40.0 * (y * 0.23 + x * 0.07).cos()) as u8
    });
    let chroma = (0..SIZE.width * SIZE.height / 2).map(|i| (64 + i % 97) as u8);
    luma.chain(chroma).collect()
}

struct Buffers {
    frames: usize,
    crop: usize,
    y: Vec<u8>,
    uv: Vec<u8>,
}

impl Buffers {
    fn new(frames: usize, crop: usize, value: u8) -> Self {
        Buffers { frames, crop, y: vec![value; frames * crop * crop], uv: vec![value; frames * crop * crop / 2] }
    }

    fn canvas(&mut self) -> Canvas<'_> {
        Canvas { frames: self.frames, crop: self.crop, y: &mut self.y, uv: &mut self.uv }
    }
}

fn still(centre: [f32; 2]) -> Camera {
    Camera { centre, velocity: [0.0; 2], acceleration: [0.0; 2], zoom_rate: 0.0, turn_rate: 0.0, shake: Vec::new(), shutter: 0.0 }
}

#[test]
fn pan_shows_later_parts_of_the_picture() {
    let frame = picture();
    let source = Picture { size: SIZE, frame: &frame };
    let mut camera = still([60.0, 64.0]);
    camera.velocity = [4.0, -2.0];
    let mut out = Buffers::new(4, 64, 0);
    film(source, &camera, &mut out.canvas());
    let [luma, u, v] = SIZE.planes(&frame);
    for t in 0..4 {
        let (x, y) = (60 - 32 + 4 * t, 64 - 32 - 2 * t);
        for row in 0..64 {
            let got = &out.y[(t * 64 + row) * 64..][..64];
            assert_eq!(got, luma.row(x, y + row, 64), "frame {t}, row {row}");
        }
        for row in 0..32 {
            for (c, plane) in [u, v].iter().enumerate() {
                let got = &out.uv[((t * 2 + c) * 32 + row) * 32..][..32];
                assert_eq!(got, plane.row(x / 2, y / 2 + row, 32), "frame {t}, plane {c}");
            }
        }
    }
}

#[test]
fn an_open_shutter_blurs_along_the_motion_and_nothing_else() {
    let mut frame = picture();
    // Columns in turn of 40 and 200: the mean of any two neighbours is 120. Rows are alike.
    for (i, pixel) in frame[..SIZE.width * SIZE.height].iter_mut().enumerate() {
        *pixel = if i % 2 == 0 { 40 } else { 200 };
    }
    let source = Picture { size: SIZE, frame: &frame };
    let film_with = |velocity: [f32; 2], shutter: f32| {
        let camera = Camera { velocity, shutter, ..still([80.0, 64.0]) };
        let mut out = Buffers::new(1, 64, 0);
        film(source, &camera, &mut out.canvas());
        out.y
    };
    let sharp = film_with([0.0; 2], 0.0);
    assert_eq!(film_with([4.0, 0.0], 0.5), [120; 64 * 64], "two moments, a column apart");
    assert_eq!(film_with([4.0, 0.0], 0.0), sharp, "a closed shutter");
    assert_eq!(film_with([0.0, 4.0], 0.5), sharp, "along the columns");
    assert_eq!(film_with([0.0; 2], 1.0), sharp, "without motion");
}

#[test]
fn zoom_and_turn_keep_the_centre() {
    let mut camera = still([60.0, 64.0]);
    camera.zoom_rate = 0.1;
    camera.turn_rate = 0.2;
    for t in [0, 3, 9] {
        let view = camera.view(t, 0.0, 64);
        let [x, y] = view.source(31.5, 31.5);
        assert!((x - 59.5).abs() < 1e-4 && (y - 63.5).abs() < 1e-4);
        let [right, _] = view.source(32.5, 31.5);
        let (zoom, turn) = ((0.1 * t as f32).exp(), 0.2 * t as f32);
        assert!((right - x - zoom * turn.cos()).abs() < 1e-4);
    }
}

#[test]
fn layer_covers_a_part_and_moves() {
    let frame = vec![200; SIZE.bytes()];
    let source = Picture { size: SIZE, frame: &frame };
    let mut camera = still([80.0, 64.0]);
    camera.velocity = [3.0, 0.0];
    let mut out = Buffers::new(3, 64, 50);
    overlay(source, &camera, &mut out.canvas(), &mut Rng::new(&[5]));
    let centre = |t: usize| {
        let inside = (0..64 * 64).filter(|i| out.y[t * 64 * 64 + i] > 125);
        let (count, sum) = inside.fold((0, 0), |(n, s), i| (n + 1, s + i % 64));
        assert!((20..4000).contains(&count), "{count} pixels");
        sum as f32 / count as f32
    };
    assert!(out.y.iter().all(|y| (50..=200).contains(y)));
    // The camera moves to the right, so what it sees moves to the left.
    assert!(centre(2) < centre(0) - 2.0, "{} to {}", centre(0), centre(2));
}

#[test]
fn fade_keeps_black_and_grey_chroma() {
    let mut out = Buffers::new(3, 64, 128);
    out.y[0] = 16;
    out.y[2 * 64 * 64] = 16;
    fade(&mut out.canvas(), 0.5);
    assert_eq!((out.y[0], out.y[1]), (16, 128));
    assert_eq!(out.y[2 * 64 * 64], 16);
    assert_eq!(out.y[2 * 64 * 64 + 1], 16 + 112 / 2);
    assert!(out.uv.iter().all(|&c| c == 128));
}

#[test]
fn blur_spreads_and_keeps_the_sum() {
    let mut out = Buffers::new(1, 64, 40);
    out.y[32 * 64 + 32] = 240;
    blur(&mut out.canvas(), 1.0, 1.0);
    let peak = out.y[32 * 64 + 32];
    // 1 / (2 pi sigma^2) = 0.159 of the step of 200.
    assert!((68..=76).contains(&peak), "{peak}");
    let sum: i32 = out.y.iter().map(|&y| i32::from(y) - 40).sum();
    assert!((190..=210).contains(&sum), "{sum}");
    assert!(out.uv.iter().all(|&c| c == 40));
}

#[test]
fn noise_has_the_deviation() {
    let mut out = Buffers::new(2, 128, 100);
    noise(&mut out.canvas(), 1.5, &mut Rng::new(&[3]));
    let n = out.y.len() as f32;
    let variance = out.y.iter().map(|&y| (f32::from(y) - 100.0).powi(2)).sum::<f32>() / n;
    // Rounding to whole levels adds 1/12.
    assert!((variance - 1.5 * 1.5 - 1.0 / 12.0).abs() < 0.25, "{variance}");
    assert_ne!(out.y[..128], out.y[128 * 128..][..128]);
}
