//! Limits as they are written.

use lamina_core::{Error, Result};

use super::clip;

/// The time over which a quota is counted, in microseconds: the kernel's default.
pub(super) const CPU_PERIOD: u64 = 100_000;

/// The smallest quota that the kernel takes.
const MIN_QUOTA: u64 = 1_000;

/// A size as Docker's flags write it: digits, and optionally one of `b`, `k`, `m`, `g`, `t` in any case,
/// each 1024 of the one before, which `b` or `ib` may follow.
///
/// # Errors
/// InvalidArgument for anything else, for nothing, and for what 63 bits do not hold.
pub fn bytes(text: &str) -> Result<u64> {
    let refused =
        || Error::invalid_argument(format!("{:?} is no size, such as 512m or 2g", clip(text)));
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(refused()),
    };
    let number: u64 = digits.parse().map_err(|_| refused())?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes > 0 && i64::try_from(bytes).is_ok() => Ok(bytes),
        _ => Err(refused()),
    }
}

/// A number of processors such as `1.5`, as microseconds in every 100 000: at least 0.01.
///
/// # Errors
/// InvalidArgument for anything that is not digits with an optional point, and below 0.01.
pub fn cpus(text: &str) -> Result<u64> {
    let refused = || {
        let text = clip(text);
        Error::invalid_argument(format!("{text:?} is no number of processors of at least 0.01"))
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
        return Err(refused());
    }
    // Five digits after the point make a microsecond; the rest is cut off.
    let part: String = part.chars().chain("00000".chars()).take(5).collect();
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
    let quota = number(whole)
        .and_then(|whole| whole.checked_mul(CPU_PERIOD))
        .zip(number(&part))
        .and_then(|(whole, part)| whole.checked_add(part))
        .ok_or_else(refused)?;
    if quota < MIN_QUOTA || i64::try_from(quota).is_err() { Err(refused()) } else { Ok(quota) }
}

/// What a process may use of something (setrlimit(2)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// As the kernel names it: `RLIMIT_NOFILE`.
    pub(super) kind: String,
    /// What counts.
    pub(super) soft: u64,
    /// How far a program may raise it.
    pub(super) hard: u64,
}

/// What can be limited.
const KINDS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A limit as `nofile=1024:4096`: soft and hard, or one number for both; `-1` or `unlimited` for none.
///
/// # Errors
/// InvalidArgument for a kind that there is not, what is no number, and soft above hard.
pub fn ulimit(text: &str) -> Result<Ulimit> {
    let refused = |why: &str| {
        let text = clip(text);
        Error::invalid_argument(format!("the limit {text:?} {why}"))
    };
    let (kind, values) = text.split_once('=').ok_or_else(|| refused("has no value"))?;
    if !KINDS.contains(&kind) {
        return Err(refused(&format!("is none of {}", KINDS.join(", "))));
    }
    let number = |text: &str| match text {
        "-1" | "unlimited" => Some(u64::MAX),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (Some(soft), Some(hard)) = (number(soft), number(hard)) else {
        return Err(refused("is no number, nor two as 1024:4096"));
    };
    if soft > hard {
        return Err(refused("has a soft limit above the hard one"));
    }
    Ok(Ulimit { kind: format!("RLIMIT_{}", kind.to_ascii_uppercase()), soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, value) in [
            ("1", 1),
            ("4096b", 4096),
            ("6M", 6 << 20),
            ("512m", 512 << 20),
            ("2g", 2 << 30),
            ("2GiB", 2 << 30),
            ("10kb", 10 << 10),
            ("1t", 1 << 40),
            ("9223372036854775807", u64::MAX / 2),
        ] {
            assert_eq!(bytes(text).unwrap(), value, "{text}");
        }
        for text in
            ["", "0", "0m", "m", "-1", "+1", "1.5g", "1 g", "1x", "9223372036854775808", "8388608t"]
        {
            assert!(bytes(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn processors() {
        for (text, quota) in [
            ("1", 100_000),
            ("0.5", 50_000),
            (".5", 50_000),
            ("2.", 200_000),
            ("1.25", 125_000),
            ("0.01", 1_000),
            ("0.123456789", 12_345),
            ("128", 12_800_000),
        ] {
            assert_eq!(cpus(text).unwrap(), quota, "{text}");
        }
        for text in
            ["", ".", "0", "0.009", "-1", "+1", "1e3", "1,5", "NaN", "inf", "99999999999999999999"]
        {
            assert!(cpus(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn ulimits() {
        let of = |text: &str| ulimit(text).map(|limit| (limit.kind, limit.soft, limit.hard)).ok();
        assert_eq!(of("nofile=1024:4096"), Some(("RLIMIT_NOFILE".into(), 1024, 4096)));
        assert_eq!(of("nproc=5"), Some(("RLIMIT_NPROC".into(), 5, 5)));
        assert_eq!(of("core=0:-1"), Some(("RLIMIT_CORE".into(), 0, u64::MAX)));
        assert_eq!(of("memlock=unlimited"), Some(("RLIMIT_MEMLOCK".into(), u64::MAX, u64::MAX)));
        for bad in ["", "nofile", "nofile=", "files=1", "nofile=2:1", "nofile=1:2:3", "nofile=+1"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
