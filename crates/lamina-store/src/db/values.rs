//! Columns as the schema keeps them and values as the rest of the crate has them.

use std::str::FromStr;

use jiff::Timestamp;
use lamina_core::{Digest, Error, Labels, Result};
use rusqlite::types::{FromSql, Type};
use rusqlite::{Row, RowIndex};

/// Labels as the JSON object the schema keeps.
pub fn labels_to_json(labels: &Labels) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    serde_json::Value::Object(object).to_string()
}

/// Labels from the JSON object the schema keeps.
///
/// # Errors
/// DataLoss when it is not an object of strings.
pub fn labels_from_json(json: &str) -> Result<Labels> {
    if json == "{}" {
        return Ok(Labels::new());
    }
    serde_json::from_str(json)
        .map_err(|cause| Error::data_loss("labels in the database").with_source(cause))
}

/// A time as nanoseconds since 1970 UTC; beyond what 64 bits hold (the year 2262) it stays there.
pub fn ns(time: Timestamp) -> i64 {
    let ns = time.as_nanosecond();
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// A time from nanoseconds since 1970 UTC.
pub fn from_ns(ns: i64) -> Timestamp {
    // Every i64 of nanoseconds lies between the years 1677 and 2262, which a Timestamp can hold.
    Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A number as SQLite keeps it, which ends at 2⁶³ - 1.
pub(in crate::db) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Typed columns of a row. A value that does not read back is an error that [`failed`] makes
/// DataLoss.
///
/// [`failed`]: super::error::failed
pub(in crate::db) trait Columns {
    /// A JSON object of labels.
    fn labels(&self, index: impl RowIndex) -> rusqlite::Result<Labels>;
    /// A time in nanoseconds.
    fn time(&self, index: impl RowIndex) -> rusqlite::Result<Timestamp>;
    /// A digest.
    fn digest(&self, index: impl RowIndex) -> rusqlite::Result<Digest>;
    /// A digest or NULL.
    fn digest_or_null(&self, index: impl RowIndex) -> rusqlite::Result<Option<Digest>>;
    /// A number that is never negative.
    fn count(&self, index: impl RowIndex) -> rusqlite::Result<u64>;
}

impl Columns for Row<'_> {
    fn labels(&self, index: impl RowIndex) -> rusqlite::Result<Labels> {
        labels_from_json(self.get_ref(index)?.as_str()?).map_err(|e| unreadable(Type::Text, e))
    }

    fn time(&self, index: impl RowIndex) -> rusqlite::Result<Timestamp> {
        self.get(index).map(from_ns)
    }

    fn digest(&self, index: impl RowIndex) -> rusqlite::Result<Digest> {
        Digest::from_str(self.get_ref(index)?.as_str()?).map_err(|e| unreadable(Type::Text, e))
    }

    fn digest_or_null(&self, index: impl RowIndex) -> rusqlite::Result<Option<Digest>> {
        match self.get_ref(index)?.as_str_or_null()? {
            None => Ok(None),
            Some(text) => Digest::from_str(text).map(Some).map_err(|e| unreadable(Type::Text, e)),
        }
    }

    fn count(&self, index: impl RowIndex) -> rusqlite::Result<u64> {
        let value = i64::column_result(self.get_ref(index)?)?;
        u64::try_from(value)
            .map_err(|_| unreadable(Type::Integer, Error::data_loss(format!("{value} < 0"))))
    }
}

fn unreadable(kind: Type, cause: Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_round_trip() {
        let labels: Labels =
            [("a".into(), "\"\\\u{0}ü".into()), ("b".into(), String::new())].into();
        assert_eq!(labels_from_json(&labels_to_json(&labels)).unwrap(), labels);
        assert_eq!(labels_to_json(&Labels::new()), "{}");
        for bad in ["", "[]", "{\"a\":1}", "{\"a\":\"b\""] {
            assert_eq!(labels_from_json(bad).unwrap_err().kind(), lamina_core::Kind::DataLoss);
        }
    }

    #[test]
    fn times_round_trip() {
        for value in [0, 1, -1, i64::MAX, i64::MIN, 1_700_000_000_123_456_789] {
            assert_eq!(ns(from_ns(value)), value);
        }
        assert_eq!(ns(Timestamp::MAX), i64::MAX);
        assert_eq!(ns(Timestamp::MIN), i64::MIN);
    }
}
