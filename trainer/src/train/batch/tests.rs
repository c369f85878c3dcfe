use super::*;
use crate::data::testing::moving_clips;
use crate::data::{SamplerOptions, Split};

const CLIPS: usize = 6;

fn sampler() -> (tempfile::TempDir, Arc<Sampler>) {
    let dir = tempfile::tempdir().unwrap();
    moving_clips(dir.path(), 4, 9);
    let options = SamplerOptions { photo_share: 0.4, graphics_share: 0.2, seed: 5, split: Split::Train };
    let sampler = Arc::new(Sampler::open(dir.path(), options).unwrap());
    (dir, sampler)
}

fn source(sampler: &Arc<Sampler>, cache: Option<DeviceCache>) -> BatchSource {
    BatchSource::new(Arc::clone(sampler), (CLIPS, 64), cache, Device::Cpu)
}

/// Bytes of the batches of some steps.
fn batches(mut source: BatchSource, frames: usize) -> Vec<(Tensor, Tensor)> {
    (0..12).map(|step| source.batch(step, 0, frames).unwrap()).map(|batch| (batch.y, batch.uv)).collect()
}

#[test]
fn what_the_device_cuts_is_what_travels() {
    let (_dir, sampler) = sampler();
    for frames in [1, 4] {
        let plain = batches(source(&sampler, None), frames);
        assert_eq!(plain[0].0.size(), [CLIPS as i64, frames as i64, 1, 64, 64]);
        // All items, and one clip (beside photos) alone.
        for limit in [u64::MAX / 2, 320 * 1024] {
            let cache = DeviceCache::fill(&sampler, frames, limit, Device::Cpu).unwrap().unwrap();
            let whole = limit > 1 << 30;
            let held = if frames == 1 { 6 } else { 3 };
            assert_eq!(cache.held().0.len() == held, whole, "{cache:?}");
            assert_eq!(batches(source(&sampler, Some(cache.share())), frames), plain);
            let pool = SamplingPool::start(2).unwrap();
            assert_eq!(batches(source(&sampler, Some(cache)).with_pool(Some(pool)), frames), plain);
        }
    }
}

#[test]
fn a_device_cuts_part_of_a_batch_and_the_rest_travels() {
    let (_dir, sampler) = sampler();
    let cache = DeviceCache::fill(&sampler, 4, u64::MAX / 2, Device::Cpu).unwrap().unwrap();
    let staging = source(&sampler, Some(cache)).staging;
    let cuts = |step| sampler.sample_without((step, 0), CLIPS, 4, 64, &|item| staging.held.as_ref().unwrap().contains(item));
    let counts: Vec<usize> = (0..12).map(|step| cuts(step).unwrap().cuts.len()).collect();
    assert!(counts.iter().any(|&n| n > 0 && n < CLIPS), "{counts:?}");
    assert!(cuts(0).unwrap().cuts.iter().chain(&cuts(1).unwrap().cuts).any(|(_, cut)| cut.mirrored));
}

#[test]
fn nothing_is_kept_where_nothing_fits() {
    let (_dir, sampler) = sampler();
    for limit in [0, 1000] {
        assert!(DeviceCache::fill(&sampler, 4, limit, Device::Cpu).unwrap().is_none());
    }
    let parsed = ["auto", "off", "800MiB"].map(|text| text.parse::<CacheSize>().unwrap());
    assert_eq!(parsed, [CacheSize::Auto, CacheSize::Off, CacheSize::Bytes(800 << 20)]);
    assert_eq!(parsed.map(|size| size.on(Device::Cpu)), [0, 0, 800 << 20]);
    assert_eq!(parsed.map(|size| size.on(Device::Cuda(0))), [4 << 30, 0, 800 << 20]);
    assert!("much".parse::<CacheSize>().unwrap_err().contains("800MiB"));
}

#[test]
fn a_batch_that_is_sent_ahead_is_the_same() {
    let (_dir, sampler) = sampler();
    let plain = batches(source(&sampler, None), 3);
    let mut ahead = source(&sampler, None).with_pool(Some(SamplingPool::start(1).unwrap()));
    for (step, (y, uv)) in plain.iter().enumerate() {
        let step = step as u64;
        let batch = ahead.batch(step, 0, 3).unwrap();
        assert_eq!((&batch.y, &batch.uv), (y, uv));
        assert!(ahead.sent.is_none());
        while ahead.sent.is_none() {
            ahead.send_ahead(step + 1, 0, 3).unwrap();
        }
    }
    // What has been sent for other lengths is of no use.
    assert_eq!(ahead.batch(12, 0, 5).unwrap().y, source(&sampler, None).batch(12, 0, 5).unwrap().y);
    // Without a pool there is nothing to send.
    let mut alone = source(&sampler, None);
    alone.send_ahead(1, 0, 3).unwrap();
    assert!(alone.sent.is_none());
}

#[test]
fn parts_of_a_batch_are_its_clips() {
    let (_dir, sampler) = sampler();
    let batch = source(&sampler, None).batch(0, 0, 2).unwrap();
    let (whole, part) = (batch.clip(0..CLIPS), batch.clip(2..5));
    for (whole, part) in whole.unwrap().frames.iter().zip(part.unwrap().frames) {
        assert_eq!((whole.y.narrow(0, 2, 3), whole.uv.narrow(0, 2, 3)), (part.y, part.uv));
    }
}
