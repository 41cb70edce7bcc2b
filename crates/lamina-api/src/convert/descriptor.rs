//! Descriptors. The API carries media type, digest, size and annotations, and nothing else of them.

use lamina_core::{Descriptor, Result};

use super::field;
use crate::proto::containerd::types;

/// A descriptor.
///
/// # Errors
/// InvalidArgument that names `field`, for a digest of wrong form or a negative size.
pub fn decode(field: &str, descriptor: types::Descriptor) -> Result<Descriptor> {
    let types::Descriptor { media_type, digest, size, annotations } = descriptor;
    let digest = field::decode_digest(&format!("{field}.digest"), &digest)?;
    let size = field::decode_size(&format!("{field}.size"), size)?;
    Ok(Descriptor { annotations, ..Descriptor::new(media_type, digest, size) })
}

/// A descriptor to send.
pub fn encode(descriptor: Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type,
        digest: descriptor.digest.to_string(),
        size: field::encode_size(descriptor.size),
        annotations: descriptor.annotations,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lamina_core::{Kind, Platform};

    use super::*;

    #[test]
    fn what_the_api_carries_comes_back() {
        let mut descriptor = Descriptor::of("application/vnd.oci.image.manifest.v1+json", b"{}");
        descriptor.annotations = BTreeMap::from([("org.example".to_owned(), "x".to_owned())]);
        let sent = encode(descriptor.clone());
        assert_eq!((sent.size, sent.digest.as_str()), (2, descriptor.digest.as_str()));
        assert_eq!(decode("target", sent).unwrap(), descriptor);

        let more = Descriptor { platform: Some(Platform::host()), ..descriptor.clone() };
        assert_eq!(decode("target", encode(more)).unwrap(), descriptor);
    }

    #[test]
    fn broken_ones_are_refused_by_field() {
        let good = encode(Descriptor::of("x", b"x"));
        let error = decode("target", types::Descriptor { size: -1, ..good.clone() }).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.chain().starts_with("target.size -1"), "{}", error.chain());
        for digest in ["", "sha256:..", "SHA256:0"] {
            let digest = digest.to_owned();
            let error = decode("target", types::Descriptor { digest, ..good.clone() }).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument);
            assert!(error.chain().starts_with("target.digest: "), "{}", error.chain());
        }
    }
}
