//! Tightly packed planar 4:2:0 pictures: Y, then U, then V, no padding, even sides.

/// Width and height in luma pixels, both even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

/// A window in luma pixels; all four numbers are even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    pub x: usize,
    pub y: usize,
    pub size: Size,
}

/// One plane of a picture, rows without padding.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    pub data: &'a [u8],
    pub width: usize,
    pub height: usize,
}

impl Size {
    pub fn new(width: usize, height: usize) -> Self {
        Size { width, height }
    }

    pub fn short_side(self) -> usize {
        self.width.min(self.height)
    }

    /// Bytes of one picture.
    pub fn bytes(self) -> usize {
        self.width * self.height * 3 / 2
    }

    /// The whole picture as a window.
    pub fn rect(self) -> Rect {
        Rect { x: 0, y: 0, size: self }
    }

    /// Y, U and V of a picture of this size. `frame` has [`Size::bytes`] bytes.
    pub fn planes(self, frame: &[u8]) -> [Plane<'_>; 3] {
        let luma = self.width * self.height;
        let (y, uv) = frame.split_at(luma);
        let (u, v) = uv.split_at(luma / 4);
        let chroma = |data| Plane { data, width: self.width / 2, height: self.height / 2 };
        [Plane { data: y, width: self.width, height: self.height }, chroma(u), chroma(v)]
    }
}

impl Rect {
    /// The largest window inside `self`, centred, whose width and height are multiples of the given
    /// even numbers.
    pub fn shrink_to_multiple(self, of_width: usize, of_height: usize) -> Rect {
        let size = Size::new(self.size.width / of_width * of_width, self.size.height / of_height * of_height);
        Rect { x: self.x + (self.size.width - size.width) / 4 * 2, y: self.y + (self.size.height - size.height) / 4 * 2, size }
    }
}

impl<'a> Plane<'a> {
    /// Row `y`, `width` pixels from column `x`.
    pub fn row(&self, x: usize, y: usize, width: usize) -> &'a [u8] {
        let start = y * self.width + x;
        &self.data[start..start + width]
    }
}

/// Cuts a window out of a picture of size `size`.
pub fn crop(frame: &[u8], size: Size, window: Rect) -> Vec<u8> {
    let mut out = Vec::with_capacity(window.size.bytes());
    for (i, plane) in size.planes(frame).iter().enumerate() {
        let shift = usize::from(i > 0);
        for y in 0..window.size.height >> shift {
            let y = (window.y >> shift) + y;
            out.extend_from_slice(plane.row(window.x >> shift, y, window.size.width >> shift));
        }
    }
    out
}

/// 8-bit RGB (interleaved, full range) to I420, BT.601 limited range (Rec. ITU-R BT.601-7, 2.5).
/// Chroma is the mean of 2x2 pixels, that is, sited at their centre.
pub fn from_rgb(rgb: &[u8], size: Size) -> Vec<u8> {
    let (w, h) = (size.width, size.height);
    let mut out = vec![0; size.bytes()];
    let (luma, chroma) = out.split_at_mut(w * h);
    let (u, v) = chroma.split_at_mut(w * h / 4);
    for (pixel, y) in rgb.chunks_exact(3).zip(luma) {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
        *y = (16.5 + (65.481 * r + 128.553 * g + 24.966 * b) / 255.0) as u8;
    }
    for cy in 0..h / 2 {
        for cx in 0..w / 2 {
            let mut mean = [0.0_f32; 3];
            for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let at = ((2 * cy + dy) * w + 2 * cx + dx) * 3;
                for (m, &c) in mean.iter_mut().zip(&rgb[at..at + 3]) {
                    *m += f32::from(c) / (4.0 * 255.0);
                }
            }
            let [r, g, b] = mean;
            u[cy * w / 2 + cx] = (128.5 - 37.797 * r - 74.203 * g + 112.0 * b) as u8;
            v[cy * w / 2 + cx] = (128.5 + 112.0 * r - 93.786 * g - 18.214 * b) as u8;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rgb_primaries_in_limited_range() {
        let size = Size::new(4, 2);
        let convert = |rgb: [u8; 3]| {
            let picture = from_rgb(&rgb.repeat(8), size);
            assert!(picture[..8].iter().all(|&y| y == picture[0]));
            [picture[0], picture[8], picture[10]]
        };
        assert_eq!(convert([0, 0, 0]), [16, 128, 128]);
        assert_eq!(convert([255, 255, 255]), [235, 128, 128]);
        assert_eq!(convert([128, 128, 128]), [126, 128, 128]);
        assert_eq!(convert([255, 0, 0]), [81, 90, 240]);
        assert_eq!(convert([0, 255, 0]), [145, 54, 34]);
        assert_eq!(convert([0, 0, 255]), [41, 240, 110]);
    }

    #[test]
    fn crop_takes_the_window_of_every_plane() {
        let size = Size::new(8, 4);
        let frame: Vec<u8> = (0..48).collect();
        let window = Rect { x: 2, y: 2, size: Size::new(4, 2) };
        let cut = crop(&frame, size, window);
        assert_eq!(cut, [18, 19, 20, 21, 26, 27, 28, 29, 37, 38, 45, 46]);
    }

    #[test]
    fn shrinking_keeps_even_offsets() {
        let r = Size::new(486, 270).rect().shrink_to_multiple(16, 8);
        assert_eq!((r.x, r.y, r.size), (2, 2, Size::new(480, 264)));
    }
}
