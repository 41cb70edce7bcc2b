//! The date of the source, by which builds give the same every time.

use jiff::Timestamp;
use lamina_core::{Error, Result};

const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// What the environment says (<https://reproducible-builds.org/specs/source-date-epoch/>).
///
/// # Errors
/// InvalidArgument for what is no number of seconds.
pub(crate) fn of_the_source() -> Result<Option<Timestamp>> {
    parse(std::env::var_os(VARIABLE).as_deref().and_then(std::ffi::OsStr::to_str))
}

fn parse(text: Option<&str>) -> Result<Option<Timestamp>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds = text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds.map(Some).ok_or_else(|| {
        Error::invalid_argument(format!(
            "{VARIABLE} is {text:?}; it has to be a number of seconds since 1970"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read() {
        assert_eq!(parse(None).unwrap(), None);
        assert_eq!(parse(Some("")).unwrap(), None);
        let found = parse(Some("1234567890")).unwrap().unwrap();
        assert_eq!(found.to_string(), "2009-02-13T23:31:30Z");
        for text in ["now", "1.5", "99999999999999999999"] {
            assert!(parse(Some(text)).is_err(), "{text}");
        }
    }
}
