//! Codes of the sequence header as types.

/// How the frames of a video are made of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interlacing {
    /// Of none.
    #[default]
    Progressive = 0,
    /// Of two whose lines alternate, the top one first.
    TopFieldFirst = 1,
    /// Of two whose lines alternate, the bottom one first.
    BottomFieldFirst = 2,
    /// It differs from frame to frame: see [`FieldFlags`](super::FieldFlags).
    Mixed = 3,
}

/// Where chroma samples lie between luma samples: Chroma420SampleLocType of ISO/IEC 23091-2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChromaSite {
    /// Not known.
    #[default]
    Unknown = 0,
    /// Beside the left luma samples, between two rows.
    Left = 1,
    /// Amid four luma samples.
    Centre = 2,
    /// On the upper left luma sample.
    TopLeft = 3,
    /// Between the upper luma samples.
    Top = 4,
    /// On the lower left luma sample.
    BottomLeft = 5,
    /// Between the lower luma samples.
    Bottom = 6,
}

/// Which sample values stand for black and white.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorRange {
    /// Not known.
    #[default]
    Unknown = 0,
    /// 0 and 255.
    Full = 1,
    /// 16 and 235.
    Limited = 2,
}

/// A value that the sequence header holds as its code.
pub(super) trait Code: Copy + 'static {
    /// What errors call it.
    const NAME: &'static str;
    /// By their codes, from 0 on.
    const ALL: &'static [Self];

    /// `None` for a code that has no meaning.
    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl Code for Interlacing {
    const NAME: &'static str = "the interlace mode";
    const ALL: &'static [Self] = &[Self::Progressive, Self::TopFieldFirst, Self::BottomFieldFirst, Self::Mixed];
}

impl Code for ChromaSite {
    const NAME: &'static str = "the chroma site";
    const ALL: &'static [Self] =
        &[Self::Unknown, Self::Left, Self::Centre, Self::TopLeft, Self::Top, Self::BottomLeft, Self::Bottom];
}

impl Code for ColorRange {
    const NAME: &'static str = "the colour range";
    const ALL: &'static [Self] = &[Self::Unknown, Self::Full, Self::Limited];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_positions() {
        assert!(Interlacing::ALL.iter().enumerate().all(|(i, &value)| value as usize == i));
        assert!(ChromaSite::ALL.iter().enumerate().all(|(i, &value)| value as usize == i));
        assert!(ColorRange::ALL.iter().enumerate().all(|(i, &value)| value as usize == i));
        assert_eq!((Interlacing::from_code(3), Interlacing::from_code(4)), (Some(Interlacing::Mixed), None));
        assert_eq!((ChromaSite::from_code(6), ChromaSite::from_code(7)), (Some(ChromaSite::Bottom), None));
        assert_eq!((ColorRange::from_code(2), ColorRange::from_code(3)), (Some(ColorRange::Limited), None));
    }
}
