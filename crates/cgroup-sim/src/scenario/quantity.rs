//! Times and sizes.

/// Nanoseconds of `250us`, `10ms`, `1.5s`, `2m`.
pub(super) fn time(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let unit = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // No sign; that there are any is what `parse` asks.
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = fraction.parse::<u64>().ok()?.checked_mul(unit)? / scale;
    whole.checked_add(fraction)
}

/// Bytes of `64K`, `1M`, `2G`, `4096`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) => (digits, 10 * (1 + "KMG".find(&text[digits.len()..])?)),
        None => (text, 0),
    };
    // No sign; that there are any is what `parse` asks.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::{size, time};

    #[test]
    fn times() {
        assert_eq!(time("250us"), Some(250_000));
        assert_eq!(time("1.5s"), Some(1_500_000_000));
        assert_eq!(time("2m"), Some(120_000_000_000));
        assert_eq!(time("0ms"), Some(0));
        assert_eq!(time("1.000000001s"), Some(1_000_000_001));
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "+1s",
            "1.s",
            "1.+5s",
            ".5s",
            "1.0000000001s",
            "1h",
            "99999999999m",
            "1 s",
        ] {
            assert_eq!(time(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64K"), Some(65_536));
        assert_eq!(size("2G"), Some(2 << 30));
        assert_eq!(size("7"), Some(7));
        for text in ["", "K", "+1K", "1k", "1.5M", "-1", "99999999999999999999", "99999999999999G"]
        {
            assert_eq!(size(text), None, "{text:?}");
        }
    }
}
