//! Sizes, rates and times as people write them.

/// Bytes: `20MB` (10^6), `20MiB` (2^20), `900k`, `1G`, or a number of bytes.
///
/// # Errors
/// A text for the command line.
pub fn bytes(text: &str) -> Result<u64, String> {
    let size = text
        .parse::<bytesize::ByteSize>()
        .map_err(|_| format!("{text} is no size: use bytes, or kB, MB, GB, KiB, MiB or GiB"))?;
    let range = 1..=1 << 53;
    Some(size.as_u64()).filter(|bytes| range.contains(bytes)).ok_or_else(|| format!("{text} is not a size from 1 byte to 8 PiB"))
}

/// kbit/s: a number, or with `k` or `M`.
///
/// # Errors
/// A text for the command line.
pub fn kilobits(text: &str) -> Result<u32, String> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text[..end].trim(), &text[end..]);
    let factor = match unit {
        "" | "k" => 1.0,
        "M" => 1e3,
        _ => return Err(format!("{unit} is no unit of bitrate: use k or M")),
    };
    let value: f64 = number.parse().map_err(|_| format!("{text} is no number"))?;
    let value = (value * factor).round();
    if (1.0..=1e7).contains(&value) { Ok(value as u32) } else { Err("bitrates go from 1 kbit/s to 10000M".into()) }
}

/// A time: seconds, `minutes:seconds` or `hours:minutes:seconds`, each with a fraction.
///
/// # Errors
/// A text for the command line.
pub fn time(text: &str) -> Result<gst::ClockTime, String> {
    let wrong = || format!("{text} is no time: use seconds or hours:minutes:seconds");
    let mut nanoseconds = 0f64;
    let parts: Vec<_> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(wrong());
    }
    for part in parts {
        let value: f64 = part.parse().map_err(|_| wrong())?;
        if !value.is_finite() || value < 0.0 {
            return Err(wrong());
        }
        nanoseconds = nanoseconds * 60.0 + value * 1e9;
    }
    // A thousand days.
    if nanoseconds > 8.64e16 { Err(wrong()) } else { Ok(gst::ClockTime::from_nseconds(nanoseconds.round() as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("20MB"), Ok(20_000_000));
        assert_eq!(bytes("1.5 MiB"), Ok(1_572_864));
        assert_eq!(bytes("900k"), Ok(900_000));
        assert_eq!(bytes("123"), Ok(123));
        for wrong in ["", "MB", "-1MB", "1TBX", "0", "nan", "1e300GB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_and_times() {
        assert_eq!((kilobits("500"), kilobits("500k"), kilobits("2.5M")), (Ok(500), Ok(500), Ok(2500)));
        assert!(kilobits("11000M").is_err() && kilobits("0.1").is_err());
        let milliseconds = |text| time(text).map(|t| t.mseconds());
        assert_eq!(
            (milliseconds("1.5"), milliseconds("2:03.25"), milliseconds("1:00:00")),
            (Ok(1500), Ok(123_250), Ok(3_600_000))
        );
        for wrong in ["", "x", "-1", "1:2:3:4", "inf"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
