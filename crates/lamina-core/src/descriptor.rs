//! Descriptors: what content is, its digest, its size (OCI image spec, "Content Descriptors").
//!
//! A descriptor comes from a document somebody else wrote. Its digest was checked in form, its size
//! is a claim: readers stop at it, nobody allocates by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Platform, json, media_type};

/// Points at content.
///
/// JSON is the form of OCI image documents. Reading needs `mediaType`, `digest` and `size`, refuses
/// negative sizes and digests of wrong form, and ignores unknown fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content says it is; see [`media_type`].
    pub media_type: String,
    /// The digest.
    pub digest: Digest,
    /// Size in bytes, as claimed.
    #[serde(deserialize_with = "json::size")]
    pub size: u64,
    /// Where else it may be had. Only layers that are not distributable use this.
    #[serde(default, deserialize_with = "json::or_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "json::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The content itself in base64, as written. Kept for whoever writes the document again, never
    /// used in place of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What it runs on; in an index, the key by which a manifest is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of the artifact a manifest holds, when it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

json::object!(Descriptor);

impl Descriptor {
    /// A descriptor of the three parts that are always there.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Descriptor {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// Describes `content` by its SHA-256.
    pub fn of(media_type: impl Into<String>, content: &[u8]) -> Self {
        Descriptor::new(media_type, Digest::sha256(content), content.len() as u64)
    }

    /// Whether it points at an index.
    pub fn is_index(&self) -> bool {
        media_type::is_index(&self.media_type)
    }

    /// Whether it points at a manifest.
    pub fn is_manifest(&self) -> bool {
        media_type::is_manifest(&self.media_type)
    }

    /// Whether it points at an image config.
    pub fn is_config(&self) -> bool {
        media_type::is_config(&self.media_type)
    }

    /// Whether it points at a layer.
    pub fn is_layer(&self) -> bool {
        media_type::is_layer(&self.media_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(json: &str) -> Result<Descriptor, String> {
        serde_json::from_str(&json.replace("D!", DIGEST)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_whole_form_round_trips() {
        let json = serde_json::json!({
            "mediaType": media_type::OCI_MANIFEST, "digest": DIGEST, "size": 7,
            "urls": ["https://example.com/x"], "annotations": {"a": "b"}, "data": "e30=",
            "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"},
            "artifactType": "application/x",
        });
        let descriptor: Descriptor = serde_json::from_value(json.clone()).unwrap();
        assert!(descriptor.is_manifest() && !descriptor.is_index());
        assert_eq!(serde_json::to_value(&descriptor).unwrap(), json);
        let short = Descriptor::of(media_type::OCI_CONFIG, b"");
        assert_eq!(
            serde_json::to_string(&short).unwrap(),
            format!(r#"{{"mediaType":"{}","digest":"{DIGEST}","size":0}}"#, media_type::OCI_CONFIG)
        );
    }

    #[test]
    fn unset_may_be_null_and_unknown_is_ignored() {
        let descriptor = read(
            r#"{"mediaType":"x","digest":"D!","size":1,"urls":null,"annotations":null,"platform":null,
                "data":null,"artifactType":null,"new":[{}]}"#,
        )
        .unwrap();
        assert_eq!(descriptor, Descriptor::new("x", Digest::sha256(b""), 1));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (json, says) in [
            (r#"{"mediaType":"x","digest":"D!","size":-1}"#, "negative size -1"),
            (r#"{"mediaType":"x","digest":"D!","size":1.0}"#, "floating point"),
            (
                r#"{"mediaType":"x","digest":"D!","size":9223372036854775808}"#,
                "9223372036854775808",
            ),
            (r#"{"mediaType":"x","digest":"D!","size":"1"}"#, "string"),
            (r#"{"mediaType":"x","digest":"D!"}"#, "missing field `size`"),
            (r#"{"mediaType":"x","digest":"sha256:../../x","size":1}"#, "invalid digest"),
            (r#"["x","D!",1]"#, "expected a JSON object"),
            (r#"{"digest":"D!","size":1}"#, "missing field `mediaType`"),
            (r#"{"mediaType":"x","digest":"D!","digest":"D!","size":1}"#, "duplicate field"),
            (r#"{"mediaType":"x","digest":"D!","size":1,"annotations":{"a":1}}"#, "integer"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
