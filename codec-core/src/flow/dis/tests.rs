use super::*;
use crate::flow::testing::{Texture, endpoint_error};

/// Estimates a motion that takes the texture's `truth` from the previous image to the current one.
fn error_of(config: DisConfig, size: (usize, usize), truth: impl Fn(f32, f32) -> (f32, f32)) -> f32 {
    let texture = Texture::new();
    let previous = texture.plane(size.0, size.1, |x, y| (x, y));
    let current = texture.plane(size.0, size.1, |x, y| {
        let (u, v) = truth(x, y);
        (x + u, y + v)
    });
    let field = DisFlow::new(config).unwrap().estimate(&current, &previous, f64::INFINITY).unwrap();
    assert_eq!((field.cols, field.rows), (size.0 / 4, size.1 / 4));
    assert_eq!(field.data.len(), field.rows * field.cols * 2);
    endpoint_error(&field, 24.0, truth)
}

#[test]
fn recovers_translations() {
    for (size, motion) in
        [((64, 64), (1.5, -0.75)), ((128, 128), (-3.25, 5.5)), ((192, 128), (9.0, -7.0)), ((320, 192), (-22.5, 13.25))]
    {
        let error = error_of(DisConfig::medium(), size, |_, _| motion);
        assert!(error < 0.15, "{motion:?} in {size:?}: {error}");
        let error = error_of(DisConfig::fast(), size, |_, _| motion);
        assert!(error < 0.8, "fast, {motion:?} in {size:?}: {error}");
    }
}

#[test]
fn recovers_zoom_and_rotation() {
    let zoom = |x: f32, y: f32| ((x - 128.0) * 0.04, (y - 96.0) * 0.04);
    let error = error_of(DisConfig::medium(), (256, 192), zoom);
    assert!(error < 0.2, "zoom: {error}");
    let turn = |x: f32, y: f32| ((y - 96.0) * 0.05, (128.0 - x) * 0.05);
    let error = error_of(DisConfig::medium(), (256, 192), turn);
    assert!(error < 0.2, "rotation: {error}");
}

#[test]
fn options_still_find_the_motion() {
    let plain = DisConfig { mean_normalised: false, propagate: false, ..DisConfig::medium() };
    let error = error_of(plain, (128, 128), |_, _| (4.0, 2.5));
    assert!(error < 0.3, "{error}");
}

#[test]
fn a_change_of_brightness_is_not_motion() {
    let texture = Texture::new();
    let previous = texture.plane(128, 128, |x, y| (x, y));
    let mut current = texture.plane(128, 128, |x, y| (x + 2.0, y - 1.0));
    current.data.iter_mut().for_each(|v| *v = v.saturating_add(12));
    let field = DisFlow::default().estimate(&current, &previous, f64::INFINITY).unwrap();
    let error = endpoint_error(&field, 16.0, |_, _| (2.0, -1.0));
    assert!(error < 0.3, "{error}");
}

#[test]
fn no_motion_gives_no_flow() {
    let texture = Texture::new();
    let flat = Plane::from_vec(vec![77; 64 * 128], 64, 128).unwrap();
    for plane in [texture.plane(192, 64, |x, y| (x, y)), flat] {
        for config in [DisConfig::medium(), DisConfig::fast()] {
            let field = DisFlow::new(config).unwrap().estimate(&plane, &plane, f64::INFINITY).unwrap();
            assert!(field.data.iter().all(|v| v.abs() < 1e-3));
        }
    }
}

#[test]
fn unlike_planes_give_finite_flow_and_repeat_exactly() {
    let mut estimator = DisFlow::default();
    let noise = |seed: u32| {
        let byte = |i: u32| (((i ^ seed).wrapping_mul(0x9e37_79b1) >> 7) ^ (i.wrapping_mul(seed) >> 11)) as u8;
        Plane::from_vec((0..128 * 64).map(byte).collect(), 128, 64).unwrap()
    };
    let (a, b, extreme) = (noise(1), noise(77), Plane::from_vec(vec![255; 128 * 64], 128, 64).unwrap());
    let first = estimator.estimate(&a, &b, f64::INFINITY).unwrap();
    // Half of the image at scale 1, which the coarsest scale and every reset add up to.
    assert!(first.data.iter().all(|v| v.is_finite() && v.abs() < 128.0));
    assert!(estimator.estimate(&a, &extreme, f64::INFINITY).unwrap().data.iter().all(|v| v.is_finite()));
    estimator.estimate(&Plane::new(64, 64), &Plane::new(64, 64), f64::INFINITY).unwrap();
    assert_eq!(estimator.estimate(&a, &b, f64::INFINITY).unwrap(), first);
    assert_eq!(DisFlow::default().estimate(&a, &b, f64::INFINITY).unwrap(), first);
}

#[test]
fn bad_input_is_refused() {
    let mut estimator = DisFlow::default();
    for (a, b) in [((64, 64), (64, 128)), ((96, 64), (96, 64)), ((64, 0), (64, 0)), ((0, 0), (0, 0))] {
        let result = estimator.estimate(&Plane::new(a.0, a.1), &Plane::new(b.0, b.1), f64::INFINITY);
        assert!(matches!(result, Err(Error::InvalidConfig(_))), "{a:?} {b:?}");
    }
    for (finest_scale, iterations) in [(0, 16), (3, 16), (1, 0)] {
        let config = DisConfig { finest_scale, iterations, ..DisConfig::medium() };
        assert!(matches!(DisFlow::new(config), Err(Error::InvalidConfig(_))));
    }
}

#[test]
fn low_lambda_leaves_noise_alone_and_still_finds_motion() {
    let texture = Texture::new();
    let noise = |i: usize| ((i.wrapping_mul(2_654_435_761) >> 16) % 13) as i32 - 6;
    let mut previous = texture.plane(192, 128, |x, y| (x, y));
    let mut current = texture.plane(192, 128, |x, y| (x + 5.0, y));
    for (i, (a, b)) in previous.data.iter_mut().zip(&mut current.data).enumerate() {
        *a = (i32::from(*a) + noise(i)).clamp(0, 255) as u8;
        *b = (i32::from(*b) + noise(i + 7919)).clamp(0, 255) as u8;
    }
    let mut estimator = DisFlow::default();
    let roughness = |field: &FlowField| {
        let rows = field.data.chunks_exact(2 * field.cols);
        rows.map(|row| row.windows(3).map(|v| f64::from((v[2] - v[0]).abs())).sum::<f64>()).sum::<f64>()
    };
    let photometric = estimator.estimate(&current, &previous, f64::INFINITY).unwrap();
    let frugal = estimator.estimate(&current, &previous, 20.0).unwrap();
    assert!(roughness(&frugal) < 0.5 * roughness(&photometric), "{} {}", roughness(&frugal), roughness(&photometric));
    assert!(endpoint_error(&frugal, 24.0, |_, _| (5.0, 0.0)) < 0.5);
}
