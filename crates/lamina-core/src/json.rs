//! How JSON from image tools is read: as Go reads it where that is harmless.
//!
//! Go's encoder writes `null` for a nil list or map, and its decoder takes `null` for "not set", so
//! real images are full of `"Cmd": null`.

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default value. Use with `#[serde(default)]` for a missing field.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a size: an integer that is not negative. Go's type is signed, so nothing above `i64::MAX`
/// is a size either.
pub(crate) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = i64::deserialize(deserializer)?;
    u64::try_from(size).map_err(|_| serde::de::Error::custom(format!("negative size {size}")))
}
