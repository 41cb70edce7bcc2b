//! What kind of document bytes are, decided before they are read as one.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Limits, check_bytes, from_json, schema1};
use crate::digest::clip;
use crate::{Error, Result, media_type};

/// The top-level fields that tell an index from a manifest. `null` counts as missing.
#[derive(Default)]
pub(super) struct Envelope {
    media_type: String,
    has_manifests: bool,
    has_config: bool,
    has_layers: bool,
    has_fs_layers: bool,
}

/// Reads the envelope; refuses schema 1.
pub(super) fn read(bytes: &[u8], limits: Limits, what: &str) -> Result<Envelope> {
    check_bytes(bytes, limits, what)?;
    let envelope: Envelope = from_json(bytes, what)?;
    if envelope.has_fs_layers || media_type::is_schema1(&envelope.media_type) {
        return Err(schema1());
    }
    Ok(envelope)
}

impl Envelope {
    /// Refuses what is not clearly an index.
    pub(super) fn must_be_index(&self) -> Result<()> {
        if self.has_config || self.has_layers {
            return Err(ambiguous("index", "has \"config\" or \"layers\" of a manifest"));
        }
        self.must_be_of("index", media_type::is_index)
    }

    /// Refuses what is not clearly a manifest.
    pub(super) fn must_be_manifest(&self) -> Result<()> {
        if self.has_manifests {
            return Err(ambiguous("manifest", "has \"manifests\" of an index"));
        }
        self.must_be_of("manifest", media_type::is_manifest)
    }

    pub(super) fn detect(&self) -> Result<String> {
        let by_fields = match (self.has_manifests, self.has_config || self.has_layers) {
            (true, false) => media_type::OCI_INDEX,
            (false, true) => media_type::OCI_MANIFEST,
            (true, true) => {
                return Err(ambiguous("document", "has fields of both an index and a manifest"));
            }
            // An index may be empty; then it has to say that it is one.
            (false, false) if media_type::is_index(&self.media_type) => media_type::OCI_INDEX,
            (false, false) => {
                return Err(Error::invalid_argument("document is neither an index nor a manifest"));
            }
        };
        match by_fields {
            media_type::OCI_INDEX => self.must_be_index()?,
            _ => self.must_be_manifest()?,
        }
        let stated = &self.media_type;
        Ok(if stated.is_empty() { by_fields.to_owned() } else { stated.clone() })
    }

    fn must_be_of(&self, what: &str, is: impl Fn(&str) -> bool) -> Result<()> {
        if self.media_type.is_empty() || is(&self.media_type) {
            return Ok(());
        }
        Err(ambiguous(what, &format!("says that it is {:?}", clip(&self.media_type))))
    }
}

fn ambiguous(what: &str, why: &str) -> Error {
    Error::invalid_argument(format!("{what} is ambiguous: it {why}"))
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    /// Go's decoder finds fields without regard to case and takes the last of several. Another
    /// spelling or a repetition would therefore show Go and us different documents: refused.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        const FIELDS: [&str; 5] = ["mediaType", "manifests", "config", "layers", "fsLayers"];
        let mut envelope = Envelope::default();
        let mut seen = [false; FIELDS.len()];
        while let Some(key) = map.next_key::<String>()? {
            let Some(field) = FIELDS.iter().position(|field| fold(field) == fold(&key)) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if key != FIELDS[field] {
                return Err(A::Error::custom(format!(
                    "field {key:?} is not spelled {:?}",
                    FIELDS[field]
                )));
            }
            if std::mem::replace(&mut seen[field], true) {
                return Err(A::Error::custom(format!("field {key:?} is there twice")));
            }
            if field == 0 {
                envelope.media_type = map.next_value::<Option<String>>()?.unwrap_or_default();
                continue;
            }
            let is_there = map.next_value::<Option<IgnoredAny>>()?.is_some();
            match field {
                1 => envelope.has_manifests = is_there,
                2 => envelope.has_config = is_there,
                3 => envelope.has_layers = is_there,
                _ => envelope.has_fs_layers = is_there,
            }
        }
        Ok(envelope)
    }
}

/// Upper case first: it also folds `ſ` (to `s`), as Go does.
fn fold(key: &str) -> String {
    key.to_uppercase().to_lowercase()
}
