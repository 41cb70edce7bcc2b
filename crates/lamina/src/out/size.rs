//! Sizes for people, as ctr prints them: binary units with one decimal.

/// How sizes are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// `4.0 KiB`
    Human,
    /// `4096`
    Bytes,
}

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

impl Sizes {
    /// From a flag that asks for plain bytes.
    pub(crate) fn in_bytes(bytes: bool) -> Self {
        if bytes { Sizes::Bytes } else { Sizes::Human }
    }

    /// A size as text.
    pub(crate) fn show(self, size: u64) -> String {
        if self == Sizes::Bytes {
            return size.to_string();
        }
        let mut tenths = u128::from(size) * 10;
        let mut unit = 0;
        // 1023.95 would be printed as 1024.0 of the smaller unit.
        while (tenths + 5) / 10 >= 1024 && unit + 1 < UNITS.len() {
            tenths = (tenths + 512) / 1024;
            unit += 1;
        }
        let name = UNITS.get(unit).copied().unwrap_or_default();
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal() {
        for (size, text) in [
            (0, "0.0 B"),
            (1023, "1023.0 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (4096, "4.0 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Sizes::Human.show(size), text);
        }
        assert_eq!(Sizes::Bytes.show(4096), "4096");
    }
}
