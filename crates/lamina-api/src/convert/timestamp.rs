//! Points in time.
//!
//! On the wire there are the years 1 to 9999, as seconds that may be negative and nanoseconds that may
//! not.

use jiff::Timestamp;
use lamina_core::{Error, Result};

const NANOS: i128 = 1_000_000_000;

/// The first second of the year 1: what Go's zero time is on the wire.
pub const MIN_SECONDS: i64 = -62_135_596_800;
/// The last second of the year 9999.
pub const MAX_SECONDS: i64 = 253_402_300_799;

/// A time. One that is not there is the Unix epoch, so that records which only name what is to be
/// changed can be read.
///
/// # Errors
/// InvalidArgument that names `field`, for what no timestamp may be, and for the last hours of the
/// year 9999, which cannot be represented here.
pub fn decode(field: &str, value: Option<prost_types::Timestamp>) -> Result<Timestamp> {
    Ok(decode_optional(field, value)?.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A time that need not be there.
///
/// # Errors
/// As [`decode`].
pub fn decode_optional(
    field: &str,
    value: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>> {
    let Some(prost_types::Timestamp { seconds, nanos }) = value else { return Ok(None) };
    let bad =
        || Error::invalid_argument(format!("{field}: no timestamp has {seconds} s and {nanos} ns"));
    if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) || !(0..NANOS).contains(&i128::from(nanos)) {
        return Err(bad());
    }
    let nanoseconds = i128::from(seconds) * NANOS + i128::from(nanos);
    Timestamp::from_nanosecond(nanoseconds).map(Some).map_err(|error| bad().with_source(error))
}

/// A time on the wire. One before the year 1 becomes its begin.
pub fn encode(time: Timestamp) -> prost_types::Timestamp {
    let nanoseconds = time.as_nanosecond().max(i128::from(MIN_SECONDS) * NANOS);
    let (seconds, nanos) = (nanoseconds.div_euclid(NANOS), nanoseconds.rem_euclid(NANOS));
    // Both fit: a timestamp has 63 bits of seconds, and a remainder is less than the divisor.
    prost_types::Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(MAX_SECONDS),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use lamina_core::Kind;
    use proptest::prelude::*;

    use super::*;

    fn wire(seconds: i64, nanos: i32) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos }
    }

    #[test]
    fn seconds_are_rounded_down_and_nanoseconds_kept() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2026-11-25T10:00:00.000000001Z", 1_795_600_800, 1),
            ("1969-12-31T23:59:59.999999999Z", -1, 999_999_999),
            ("1969-12-31T23:59:58.5Z", -2, 500_000_000),
            ("0001-01-01T00:00:00Z", MIN_SECONDS, 0),
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(encode(time), wire(seconds, nanos), "{text}");
            assert_eq!(decode("created_at", Some(wire(seconds, nanos))).unwrap(), time, "{text}");
        }
        assert_eq!(decode("created_at", None).unwrap(), Timestamp::UNIX_EPOCH);
        assert_eq!(decode_optional("created_at", None).unwrap(), None);
        assert_eq!(encode(Timestamp::MIN), wire(MIN_SECONDS, 0));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for (seconds, nanos) in [
            (0, -1),
            (0, 1_000_000_000),
            (0, i32::MIN),
            (MIN_SECONDS - 1, 0),
            (MAX_SECONDS, 0),
            (MAX_SECONDS + 1, 0),
            (i64::MIN, i32::MAX),
            (i64::MAX, 0),
        ] {
            let error = decode("updated_at", Some(wire(seconds, nanos))).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{seconds} {nanos}");
            assert!(error.message().starts_with("updated_at: "), "{error}");
        }
    }

    proptest! {
        #[test]
        fn times_come_back(seconds in MIN_SECONDS..Timestamp::MAX.as_second(), nanos in 0..1_000_000_000) {
            let sent = wire(seconds, nanos);
            prop_assert_eq!(encode(decode("t", Some(sent)).unwrap()), sent);
        }

        #[test]
        fn nothing_panics(seconds: i64, nanos: i32) {
            let _ = decode("t", Some(wire(seconds, nanos)));
        }
    }
}
