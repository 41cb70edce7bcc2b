//! Names of entries. None becomes a path on this host; they are looked up among each other.

use lamina_core::{Digest, Error, Result};
use serde::Deserialize;

/// A name in one form: without `./`, double and trailing slashes.
///
/// # Errors
/// InvalidArgument for names that lead out of the archive.
pub(super) fn clean(name: &str) -> Result<String> {
    let outside = name.starts_with('/') || name.split('/').any(|part| part == "..");
    if outside {
        let shown: String = name.chars().take(200).collect();
        return Err(Error::invalid_argument(format!(
            "the archive has an entry {shown:?}, which would lie outside of it"
        )));
    }
    Ok(parts(name).collect::<Vec<_>>().join("/"))
}

/// Where a symbolic link at `link` leads to; `None` out of the archive.
pub(super) fn join(link: &str, to: &str) -> Option<String> {
    if to.starts_with('/') {
        return None;
    }
    let mut path: Vec<&str> = parts(link).collect();
    path.pop();
    for part in parts(to) {
        match part {
            ".." => drop(path.pop()?),
            part => path.push(part),
        }
    }
    Some(path.join("/"))
}

/// The digest that a blob of a layout is named by; `None` for other files.
///
/// # Errors
/// InvalidArgument for a file among blobs whose name is no digest.
pub(super) fn blob(name: &str) -> Result<Option<Digest>> {
    let Some((algorithm, hex)) = name.strip_prefix("blobs/").and_then(|rest| rest.split_once('/'))
    else {
        return Ok(None);
    };
    let digest = Digest::parse(&format!("{algorithm}:{hex}"));
    digest.map(Some).map_err(|error| error.context(format!("the archive's entry {name:?}")))
}

/// Refuses layouts of a version that is not known.
pub(super) fn check_layout(bytes: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let layout: Layout = serde_json::from_slice(bytes)
        .map_err(|e| Error::invalid_argument(format!("oci-layout is malformed: {e}")))?;
    let version = layout.image_layout_version;
    if version.starts_with("1.") {
        return Ok(());
    }
    let version: String = version.chars().take(50).collect();
    Err(Error::unimplemented(format!("an OCI layout of version {version:?} cannot be read")))
}

fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split('/').filter(|part| !matches!(*part, "" | "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        assert_eq!(clean("./a//b/").unwrap(), "a/b");
        for name in ["/etc/passwd", "../a", "a/../../b", ".."] {
            assert!(clean(name).unwrap_err().chain().contains("outside"), "{name}");
        }
        assert_eq!(join("a/layer.tar", "../b/layer.tar").as_deref(), Some("b/layer.tar"));
        assert_eq!(join("layer.tar", "b.tar").as_deref(), Some("b.tar"));
        assert_eq!(join("a/layer.tar", "../../b"), None);
        assert_eq!(join("a", "/b"), None);
    }

    #[test]
    fn blobs_are_named_by_digests() {
        let name = format!("blobs/sha256/{}", "0".repeat(64));
        assert!(blob(&name).unwrap().is_some());
        assert!(blob("blobs/sha256/x").is_err());
        assert_eq!(blob("a/layer.tar").unwrap(), None);
        check_layout(br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        assert!(check_layout(br#"{"imageLayoutVersion":"2.0.0"}"#).is_err());
        assert!(check_layout(b"{").is_err());
    }
}
