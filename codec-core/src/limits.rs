//! Bounds on what a stream may ask for.

use crate::{Error, Result};

/// Largest sizes that a decoder or parser accepts. Nothing is allocated for a stream before these checks have passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Display width in luma samples.
    pub max_width: u32,
    /// Display height in luma samples.
    pub max_height: u32,
    /// Display width times display height.
    pub max_pixels: u64,
    /// Bytes of one unit, framing included.
    pub max_unit_bytes: usize,
}

impl Default for Limits {
    /// Sides up to 8192 samples, the area of 8192 x 4352, units of 64 MiB.
    fn default() -> Self {
        Self { max_width: 8192, max_height: 8192, max_pixels: Self::MAX_PIXELS, max_unit_bytes: 64 << 20 }
    }
}

impl Limits {
    /// The default of [`Self::max_pixels`].
    pub const MAX_PIXELS: u64 = 8192 * 4352;

    /// Checks a display size.
    ///
    /// # Errors
    /// [`Error::Limit`] naming the value and its bound.
    pub fn check_size(&self, width: u32, height: u32) -> Result<()> {
        check("width", width.into(), self.max_width.into())?;
        check("height", height.into(), self.max_height.into())?;
        let pixels = u64::from(width) * u64::from(height);
        check("pixels of a frame", pixels, self.max_pixels)
    }

    /// Checks the size of a whole unit, framing included.
    ///
    /// # Errors
    /// [`Error::Limit`] naming the value and its bound.
    pub fn check_unit_bytes(&self, bytes: u64) -> Result<()> {
        check("bytes of a unit", bytes, self.max_unit_bytes as u64)
    }
}

fn check(what: &str, value: u64, bound: u64) -> Result<()> {
    if value <= bound {
        return Ok(());
    }
    Err(Error::Limit(format!(
        "{what}: {value}, at most {bound} are accepted; raise the limit (max-resolution of ngcdec for pixels) if you trust the source"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<()>) -> String {
        match result {
            Err(Error::Limit(message)) => message,
            other => panic!("expected Error::Limit, got {other:?}"),
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        let limits = Limits::default();
        limits.check_size(8192, 4352).unwrap();
        limits.check_size(4352, 8192).unwrap();
        limits.check_unit_bytes(64 << 20).unwrap();
    }

    #[test]
    fn messages_name_value_and_bound() {
        let limits = Limits { max_pixels: 1000, ..Limits::default() };
        let width = message(limits.check_size(8193, 1));
        assert!(width.contains("width: 8193") && width.contains("8192"), "{width}");
        let height = message(limits.check_size(1, 9000));
        assert!(height.contains("height: 9000") && height.contains("8192"), "{height}");
        let area = message(limits.check_size(40, 26));
        assert!(area.contains("1040") && area.contains("1000"), "{area}");
        let unit = message(limits.check_unit_bytes(u64::MAX));
        assert!(unit.contains("18446744073709551615") && unit.contains("67108864"), "{unit}");
    }

    #[test]
    fn largest_sides_do_not_overflow() {
        let limits = Limits { max_width: u32::MAX, max_height: u32::MAX, ..Limits::default() };
        assert!(message(limits.check_size(u32::MAX, u32::MAX)).contains("18446744065119617025"));
    }
}
