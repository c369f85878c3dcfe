//! Quality maps in the encoder: what they are made of, and what of them can be afforded.

use super::adaptive::AdaptiveQuality;
use super::config::EncoderConfig;
use super::symbols::Bound;
use crate::bitstream::{Profile, QUALITY_MAX};
use crate::entropy::SymbolWriter;
use crate::frame::Plane;
use crate::lookahead::Importance;
use crate::quality::{MapCoder, QualityMap};
use crate::{Error, Result};

/// A map may take this share of what a frame may have.
const SHARE: f64 = 0.1;

/// Makes and codes the quality maps of one stream.
#[derive(Clone)]
pub(super) struct MapEncoder {
    /// `None` where the profile has no maps.
    coder: Option<MapCoder>,
    adaptive: AdaptiveQuality,
}

impl MapEncoder {
    /// `strength`: of adaptive quality, in quality indices for each doubling of the activity; `None`: as much as looks best, where the
    /// profile has maps.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if it is out of range, or if the profile has no maps.
    pub fn new(profile: Profile, display: (usize, usize), strength: Option<f32>) -> Result<Self> {
        let mut maps =
            Self { coder: (profile == Profile::Rt).then(|| MapCoder::new(display)), adaptive: AdaptiveQuality::new(0.0) };
        maps.set_strength(strength)?;
        Ok(maps)
    }

    /// As in [`Self::new`], from the next frame on.
    pub fn set_strength(&mut self, strength: Option<f32>) -> Result<()> {
        let usual = if self.coder.is_some() { EncoderConfig::USUAL_ADAPTIVE_QUALITY } else { 0.0 };
        let strength = strength.unwrap_or(usual);
        check_strength(strength)?;
        if strength > 0.0 && self.coder.is_none() {
            return Err(no_maps("adaptive quality"));
        }
        self.adaptive.set_strength(strength);
        Ok(())
    }

    /// The map that a frame should have. `given` comes from outside.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the given one has another size, or if the profile has no maps.
    pub fn plan(
        &mut self,
        given: Option<QualityMap>,
        luma: &Plane,
        display: (usize, usize),
        keyframe: bool,
        importance: Option<&Importance>,
    ) -> Result<Option<QualityMap>> {
        let (rows, cols) = QualityMap::grid(display.0 as u32, display.1 as u32);
        match given.as_ref().map(QualityMap::size) {
            Some(_) if self.coder.is_none() => return Err(no_maps("a quality map")),
            Some(size) if size != (rows, cols) => {
                let (width, height) = display;
                return Err(Error::InvalidConfig(format!(
                    "a quality map of {}x{} cells for a video of {width}x{height}: it needs {rows} rows of {cols} cells",
                    size.0, size.1
                )));
            }
            _ => {}
        }
        Ok(self.adaptive.add_to(given, luma, display, keyframe, importance))
    }

    /// Forgets the past: a keyframe comes, of the given display size.
    pub fn reset(&mut self, display: (usize, usize)) {
        if let Some(coder) = &mut self.coder {
            *coder = MapCoder::new(display);
        }
    }

    /// Codes the wanted map of a frame with the index `quality`, as far as `bound` allows. Gives back what the decoder will see.
    pub fn code(
        &mut self,
        wanted: Option<QualityMap>,
        quality: u8,
        bound: Option<Bound>,
        writer: &mut SymbolWriter,
    ) -> Option<QualityMap> {
        let coder = self.coder.as_mut()?;
        let wanted = if bound.is_some() { wanted.map(|map| affordable(&map, quality)) } else { wanted };
        code_within(coder, wanted.as_ref(), bound, writer);
        coder.map().cloned()
    }
}

/// Codes a map, or that it is that of the frame before, where it takes more than its share of what `bound` allows.
pub(super) fn code_within(coder: &mut MapCoder, wanted: Option<&QualityMap>, bound: Option<Bound>, writer: &mut SymbolWriter) {
    let (mark, before, start) = (writer.mark(), coder.clone(), writer.bits());
    coder.encode(wanted, writer);
    let now = writer.bits();
    if bound.is_some_and(|bound| now - start > bound.part(SHARE).wanted || now > bound.most) {
        writer.rewind(mark);
        *coder = before;
        coder.encode_same(writer);
    }
}

/// Lets no place be so much better than the rest that the worst index, which holds the smallest bitrates, loses its effect: the better
/// side of the map closes over the last indices.
fn affordable(map: &QualityMap, quality: u8) -> QualityMap {
    let least = -i32::from((QUALITY_MAX - quality) / 2);
    map.changed(|_, value| value.max(least))
}

/// Checks the strength of adaptive quality.
pub(super) fn check_strength(strength: f32) -> Result<()> {
    let most = AdaptiveQuality::MAX_STRENGTH;
    if !(0.0..=most).contains(&strength) {
        return Err(Error::InvalidConfig(format!("adaptive quality of strength {strength}: the range is 0..={most}")));
    }
    Ok(())
}

fn no_maps(what: &str) -> Error {
    Error::InvalidConfig(format!("{what} needs a model of the rt profile: streams of paper have one quality for a whole frame"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_side_of_a_map_closes_at_the_worst_indices() {
        let map = QualityMap::new(64, 64, vec![-15, -3, 0, 15]).unwrap();
        for (quality, wanted) in [(20, [-15, -3, 0, 15]), (51, [-6, -3, 0, 15]), (60, [-1, -1, 0, 15]), (63, [0, 0, 0, 15])] {
            assert_eq!(affordable(&map, quality).values(), wanted, "{quality}");
        }
    }

    #[test]
    fn streams_of_paper_have_no_maps() {
        let refused = |error: Error| assert!(matches!(&error, Error::InvalidConfig(m) if m.contains("rt profile")), "{error}");
        refused(MapEncoder::new(Profile::Paper, (64, 64), Some(1.5)).err().unwrap());
        let mut maps = MapEncoder::new(Profile::Paper, (64, 64), None).unwrap();
        refused(maps.set_strength(Some(0.5)).unwrap_err());
        let luma = Plane::new(64, 64);
        refused(maps.plan(Some(QualityMap::zero(64, 64)), &luma, (64, 64), true, None).unwrap_err());
        let planned = maps.plan(None, &luma, (64, 64), true, None).unwrap();
        let mut writer = SymbolWriter::new();
        assert!(maps.code(planned, 20, None, &mut writer).is_none() && writer.bits() == 0.0);
    }

    #[test]
    fn a_map_that_costs_too_much_waits() {
        let noise: Vec<i8> = (0..60).map(|i| (i * 7 % 31) as i8 - 15).collect();
        let map = QualityMap::new(320, 192, noise).unwrap();
        let mut maps = MapEncoder::new(Profile::Rt, (320, 192), Some(0.0)).unwrap();
        let mut code = |map: &QualityMap, wanted| {
            let mut writer = SymbolWriter::new();
            let found = maps.code(Some(map.clone()), 20, Some(Bound { wanted, most: wanted }), &mut writer);
            (found, writer.bits())
        };
        assert_eq!(code(&map, 1e6).0.as_ref(), Some(&map));
        let other = QualityMap::zero(320, 192);
        // Zero is cheap enough for 10 000 bits, but noise is not for 1000.
        assert_eq!(code(&other, 1e4).0, None);
        let (found, bits) = code(&map, 1e3);
        assert!(found.is_none() && bits < 8.0, "{bits}");
    }
}
