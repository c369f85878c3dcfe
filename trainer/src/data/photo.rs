//! Photos to I420 pictures.

use std::path::Path;

use image::imageops::{self, FilterType};

use super::error::DataError;
use super::i420::{self, Size};

/// Short sides at which a photo is stored; it is only ever shrunk.
pub const SHORT_SIDES: [usize; 2] = [432, 720];
/// Photos with a smaller short side are not used.
const MIN_SIDE: usize = 256;

/// One stored version of a photo.
#[derive(Debug)]
pub struct Photo {
    pub size: Size,
    pub frame: Vec<u8>,
}

/// Decodes a photo and shrinks it to each of [`SHORT_SIDES`] that is not above its own; a smaller
/// photo is kept as it is. Widths are multiples of 16, heights of 8 (the rest is cropped). Empty if
/// the short side is below 256.
///
/// # Errors
/// [`DataError::Decode`] if the file is no picture in a supported format.
pub fn load_photo(path: &Path) -> Result<Vec<Photo>, DataError> {
    let picture = image::ImageReader::open(path)
        .and_then(|reader| reader.with_guessed_format())
        .map_err(DataError::io(path))?
        .decode()
        .map_err(|e| DataError::decode(path, e.to_string()))?
        .into_rgb8();
    let (width, height) = picture.dimensions();
    let short = width.min(height) as usize;
    if short < MIN_SIDE {
        return Ok(Vec::new());
    }
    let mut sides: Vec<usize> = SHORT_SIDES.into_iter().filter(|&s| s <= short).collect();
    if sides.is_empty() {
        sides.push(short);
    }
    let store = |side: usize| {
        let scale = |length: u32| (length as usize * side + short / 2) / short;
        let (w, h) = (scale(width), scale(height));
        let mut scaled =
            if side == short { picture.clone() } else { imageops::resize(&picture, w as u32, h as u32, FilterType::Lanczos3) };
        let size = Size::new(w / 16 * 16, h / 8 * 8);
        let (x, y) = ((w - size.width) / 2, (h - size.height) / 2);
        let cut = imageops::crop(&mut scaled, x as u32, y as u32, size.width as u32, size.height as u32);
        Photo { size, frame: i420::from_rgb(cut.to_image().as_raw(), size) }
    };
    Ok(sides.into_iter().map(store).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_photo_in_both_sizes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grey.png");
        image::RgbImage::from_pixel(1000, 750, image::Rgb([128, 128, 128])).save(&path).unwrap();
        let photos = load_photo(&path).unwrap();
        let sizes: Vec<Size> = photos.iter().map(|p| p.size).collect();
        assert_eq!(sizes, [Size::new(576, 432), Size::new(960, 720)]);
        for photo in &photos {
            let [y, u, v] = photo.size.planes(&photo.frame);
            assert!(y.data.iter().all(|&y| y == 126), "16 + 219 * 128 / 255");
            assert!(u.data.iter().chain(v.data).all(|&c| c == 128));
        }
    }

    #[test]
    fn no_picture_is_an_error_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broken.jpg");
        std::fs::write(&path, b"not a picture").unwrap();
        let error = load_photo(&path).unwrap_err();
        assert!(error.to_string().contains("broken.jpg"), "{error}");
        assert!(matches!(error, DataError::Decode { .. }));
    }
}
