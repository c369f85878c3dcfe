//! What of a clip is worth storing: scenes without cuts, duplicates, fades and letterbox bars.

use super::i420::{Rect, Size};
use super::thumbnail::{CUT_WINDOW, Thumbnail, is_cut};

/// A frame this close to the last kept one (mean absolute luma difference of 8x8 means) is a copy.
const DUPLICATE: f32 = 0.02;
/// Standard deviation of the 8x8 means below which a frame shows nothing.
const FLAT: f32 = 4.0;
/// Contrast grows or falls by this factor per frame in a fade.
const FADE_STEP: f32 = 1.02;
/// Bars: no row (column) mean above this, and no pixel above `BAR_PEAK`, in any looked-at frame.
const BAR_MEAN: f32 = 24.0;
const BAR_PEAK: u8 = 48;
/// Scaling blurs the edge of a bar over this many pixels.
const BAR_MARGIN: usize = 2;

/// Frame numbers of each scene of at least `min_frames` frames, ascending. Copies of the frame
/// before, blank frames and the fades next to them belong to no scene.
pub fn find_scenes(size: Size, frames: &[Vec<u8>], min_frames: usize) -> Vec<Vec<usize>> {
    let thumbnails: Vec<Thumbnail> = frames.iter().map(|f| Thumbnail::new(f, size.width, size.height, size.width)).collect();
    let faded = fades(&thumbnails);

    let mut kept: Vec<usize> = Vec::new();
    for (i, thumbnail) in thumbnails.iter().enumerate() {
        let copy = kept.last().is_some_and(|&last| thumbnails[last].difference(thumbnail) < DUPLICATE);
        if !copy {
            kept.push(i);
        }
    }
    let change: Vec<f32> = kept.windows(2).map(|pair| thumbnails[pair[0]].difference(&thumbnails[pair[1]])).collect();

    let mut scenes = vec![Vec::new()];
    for (k, &frame) in kept.iter().enumerate() {
        if faded[frame] || (k > 0 && starts_scene(&change, k - 1)) {
            scenes.push(Vec::new());
        }
        if let (false, Some(scene)) = (faded[frame], scenes.last_mut()) {
            scene.push(frame);
        }
    }
    scenes.retain(|scene| scene.len() >= min_frames.max(1));
    scenes
}

/// The window without black bars. A picture that would lose more than two fifths of a side is
/// taken for a dark scene and kept whole.
pub fn picture_area(size: Size, frames: &[Vec<u8>]) -> Rect {
    let (w, h) = (size.width, size.height);
    let mut rows = vec![(0.0_f32, 0_u8); h];
    let mut columns = vec![(0.0_f32, 0_u8); w];
    let step = frames.len().div_ceil(24).max(1);
    for frame in frames.iter().step_by(step) {
        let luma = &frame[..w * h];
        let mut sums = vec![0_u32; w];
        for (row, line) in rows.iter_mut().zip(luma.chunks_exact(w)) {
            let mut sum = 0_u32;
            for ((&pixel, total), column) in line.iter().zip(&mut sums).zip(&mut columns) {
                sum += u32::from(pixel);
                *total += u32::from(pixel);
                column.1 = column.1.max(pixel);
                row.1 = row.1.max(pixel);
            }
            row.0 = row.0.max(sum as f32 / w as f32);
        }
        for (column, sum) in columns.iter_mut().zip(sums) {
            column.0 = column.0.max(sum as f32 / h as f32);
        }
    }
    let (top, bottom) = bars(&rows);
    let (left, right) = bars(&columns);
    if (top + bottom) * 5 > h * 2 || (left + right) * 5 > w * 2 {
        return size.rect();
    }
    Rect { x: left, y: top, size: Size::new(w - left - right, h - top - bottom) }
}

/// Even widths of the dark margins at both ends of a list of (mean, peak).
fn bars(lines: &[(f32, u8)]) -> (usize, usize) {
    let dark = |line: &&(f32, u8)| line.0 <= BAR_MEAN && line.1 <= BAR_PEAK;
    let width = |count: usize| match count {
        0 => 0,
        n => (n + BAR_MARGIN).next_multiple_of(2),
    };
    (width(lines.iter().take_while(dark).count()), width(lines.iter().rev().take_while(dark).count()))
}

/// Marks blank frames and the frames on either side of them while contrast still falls towards them.
fn fades(thumbnails: &[Thumbnail]) -> Vec<bool> {
    let mut faded: Vec<bool> = thumbnails.iter().map(|t| t.contrast < FLAT).collect();
    for i in 1..faded.len() {
        let rising = thumbnails[i].contrast > thumbnails[i - 1].contrast * FADE_STEP;
        // A scene that starts at full contrast after a blank frame is no fade.
        let jump = thumbnails[i - 1].contrast < FLAT && thumbnails[i].contrast > 4.0 * FLAT;
        faded[i] |= faded[i - 1] && rising && !jump;
    }
    for i in (1..faded.len()).rev() {
        let falling = thumbnails[i - 1].contrast > thumbnails[i].contrast * FADE_STEP;
        let jump = thumbnails[i].contrast < FLAT && thumbnails[i - 1].contrast > 4.0 * FLAT;
        faded[i - 1] |= faded[i] && falling && !jump;
    }
    faded
}

/// Whether the change number `i` stands out of the changes on both sides of it.
fn starts_scene(change: &[f32], i: usize) -> bool {
    let from = i.saturating_sub(CUT_WINDOW);
    let to = (i + CUT_WINDOW + 1).min(change.len());
    is_cut(change[i], (from..to).filter(|&k| k != i).map(|k| change[k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 64, height: 48 };

    /// A grating that moves by `shift` pixels, with contrast `gain`.
    fn picture(shift: usize, period: usize, gain: f32) -> Vec<u8> {
        let mut frame = vec![128; SIZE.bytes()];
        for y in 0..SIZE.height {
            for x in 0..SIZE.width {
                let phase = ((x + shift + y / 2) % period) as f32 / period as f32;
                frame[y * SIZE.width + x] = (126.0 + gain * 90.0 * (phase - 0.5)) as u8;
            }
        }
        frame
    }

    #[test]
    fn cut_splits_and_motion_does_not() {
        let mut frames: Vec<_> = (0..12).map(|i| picture(i, 48, 1.0)).collect();
        frames.extend((0..10).map(|i| picture(i, 31, -1.0)));
        let scenes = find_scenes(SIZE, &frames, 4);
        assert_eq!(scenes, [(0..12).collect::<Vec<_>>(), (12..22).collect()]);
    }

    #[test]
    fn duplicates_are_skipped() {
        let frames: Vec<_> = (0..12).map(|i| picture(i / 2, 48, 1.0)).collect();
        assert_eq!(find_scenes(SIZE, &frames, 4), [[0, 2, 4, 6, 8, 10]]);
    }

    #[test]
    fn fade_to_black_is_dropped() {
        let mut frames: Vec<_> = (0..10).map(|i| picture(i, 48, 1.0)).collect();
        frames.extend((0..8).map(|i| picture(10 + i, 48, 0.9 - 0.12 * i as f32)));
        frames.extend((0..4).map(|i| picture(18 + i, 48, 0.0)));
        frames.extend((0..6).map(|i| picture(22 + i, 48, 1.0)));
        let scenes = find_scenes(SIZE, &frames, 4);
        assert_eq!(scenes.len(), 2, "{scenes:?}");
        assert_eq!(scenes[1], (22..28).collect::<Vec<_>>());
        let end = scenes[0][scenes[0].len() - 1];
        assert!((7..=10).contains(&end), "the fade starts at 10: {scenes:?}");
    }

    #[test]
    fn bars_are_cropped() {
        let mut frame = picture(0, 48, 1.0);
        for y in 0..SIZE.height {
            for x in 0..SIZE.width {
                if !(6..42).contains(&y) || x >= 61 {
                    frame[y * SIZE.width + x] = 17;
                }
            }
        }
        let area = picture_area(SIZE, &[frame]);
        assert_eq!((area.x, area.y), (0, 8));
        assert_eq!(area.size, Size::new(64 - 6, 48 - 16));
    }

    #[test]
    fn dark_picture_is_kept_whole() {
        let frame = vec![18; SIZE.bytes()];
        assert_eq!(picture_area(SIZE, &[frame]), SIZE.rect());
    }
}
