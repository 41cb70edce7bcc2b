//! Single fields: what must be there, sizes, digests, field masks, filters.

use lamina_core::{Digest, Error, Filters, Result};

/// The message in a field that must be set.
///
/// # Errors
/// InvalidArgument that names `field`.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::invalid_argument(format!("{field} is required")))
}

/// A size, offset or count of bytes: not negative.
///
/// # Errors
/// InvalidArgument that names `field`.
pub fn decode_size(field: &str, size: i64) -> Result<u64> {
    u64::try_from(size)
        .map_err(|_| Error::invalid_argument(format!("{field} {size} must not be negative")))
}

/// A size on the wire, where it has 63 bits; no file is longer.
pub fn encode_size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A digest.
///
/// # Errors
/// InvalidArgument that names `field`, for the empty text too.
pub fn decode_digest(field: &str, digest: &str) -> Result<Digest> {
    Digest::parse(digest).map_err(|error| error.context(field))
}

/// A digest that need not be given: empty is none.
///
/// # Errors
/// InvalidArgument that names `field`.
pub fn decode_optional_digest(field: &str, digest: &str) -> Result<Option<Digest>> {
    if digest.is_empty() { Ok(None) } else { decode_digest(field, digest).map(Some) }
}

/// A digest that need not be given on the wire.
pub fn encode_optional_digest(digest: Option<Digest>) -> String {
    digest.map_or_else(String::new, |digest| digest.to_string())
}

/// The paths of a field mask; no mask is no paths, which stands for every field that can be changed.
/// What a path may be, the stores say.
pub fn decode_mask(mask: Option<prost_types::FieldMask>) -> Vec<String> {
    mask.map_or_else(Vec::new, |mask| mask.paths)
}

/// The paths as a field mask; none for no paths.
pub fn encode_mask(paths: &[String]) -> Option<prost_types::FieldMask> {
    (!paths.is_empty()).then(|| prost_types::FieldMask { paths: paths.to_vec() })
}

/// Filters, of which one must match; none match everything.
///
/// # Errors
/// InvalidArgument (`filters: …`) for the first text that is not a filter.
pub fn decode_filters(texts: &[String]) -> Result<Filters> {
    Filters::parse_all(texts)
}

/// Filters as texts that mean the same.
pub fn encode_filters(filters: &Filters) -> Vec<String> {
    filters.to_texts()
}

#[cfg(test)]
mod tests {
    use lamina_core::Kind;

    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(required("info", Some(1)).unwrap(), 1);
        let error = required::<()>("info", None).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::InvalidArgument, "info is required"));
    }

    #[test]
    fn sizes_are_not_negative() {
        for size in [0, 1, i64::MAX] {
            assert_eq!(encode_size(decode_size("size", size).unwrap()), size);
        }
        assert_eq!(encode_size(u64::MAX), i64::MAX);
        for size in [-1, i64::MIN] {
            let error = decode_size("desc.size", size).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument);
            assert_eq!(error.message(), format!("desc.size {size} must not be negative"));
        }
    }

    #[test]
    fn digests_are_checked() {
        let digest = Digest::sha256(b"");
        assert_eq!(decode_digest("digest", digest.as_str()).unwrap(), digest);
        for text in ["", "sha256:", "sha256:../../etc", "md5:0", &digest.as_str()[..70]] {
            let error = decode_digest("expected", text).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{text:?}");
            assert!(error.chain().starts_with("expected: invalid digest"), "{}", error.chain());
        }
        assert_eq!(decode_optional_digest("expected", "").unwrap(), None);
        assert_eq!(encode_optional_digest(None), "");
        let there = decode_optional_digest("expected", digest.as_str()).unwrap();
        assert_eq!(encode_optional_digest(there), digest.as_str());
        decode_optional_digest("expected", "sha256:0").unwrap_err();
    }

    #[test]
    fn masks_keep_their_paths() {
        let paths = vec!["labels.a.b".to_owned(), "target".to_owned()];
        assert_eq!(decode_mask(encode_mask(&paths)), paths);
        assert_eq!(encode_mask(&[]), None);
        assert_eq!(decode_mask(None), Vec::<String>::new());
    }

    #[test]
    fn filters_say_what_is_wrong_with_them() {
        let texts = vec!["name==redis".to_owned(), "labels.\"a b\"~=^x".to_owned()];
        let filters = decode_filters(&texts).unwrap();
        assert_eq!(decode_filters(&encode_filters(&filters)).unwrap(), filters);
        assert!(decode_filters(&[]).unwrap().match_everything());
        let error = decode_filters(&["name=redis".to_owned()]).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.chain().starts_with("filters: "), "{}", error.chain());
    }
}
