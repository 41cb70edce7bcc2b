//! What imported images are called: by what the archive says of them, within what the caller allows.

use std::collections::BTreeMap;

use lamina_core::transfer::NewReference;
use lamina_core::{Descriptor, Digest, Error, Reference, Result};

use crate::export::{IMAGE_NAME, REF_NAME};

/// The names of one image of an archive, as the rules in `references` make them.
pub(super) fn names(image: &Descriptor, references: &[NewReference]) -> Vec<String> {
    let mut names = Vec::new();
    for reference in references {
        let NewReference::Prefix { prefix, allow_overwrite, add_digest, skip_named_digest } =
            reference
        else {
            continue;
        };
        let own = own_name(image, prefix, *allow_overwrite);
        let digest = *add_digest && !(own.is_some() && *skip_named_digest);
        names.extend(own);
        if digest {
            names.push(format!("{prefix}@{}", image.digest));
        }
    }
    names.dedup();
    names
}

/// The name that the image brings, if it may have it under `prefix`.
fn own_name(image: &Descriptor, prefix: &str, any: bool) -> Option<String> {
    let annotation = |key| image.annotations.get(key).filter(|name| !name.is_empty());
    // This one is a whole name and taken as it is, or not at all.
    if let Some(name) = annotation(IMAGE_NAME) {
        return (any || lies_in(name, prefix)).then(|| name.clone());
    }
    let name = annotation(REF_NAME)?;
    if name.contains(['/', ':', '@']) {
        return (any || lies_in(name, prefix)).then(|| name.clone());
    }
    (!prefix.is_empty()).then(|| format!("{prefix}:{name}"))
}

/// Whether a name is `prefix` with a tag, a digest or more path behind it. All are in the empty one.
fn lies_in(name: &str, prefix: &str) -> bool {
    let Some(rest) = name.strip_prefix(prefix) else { return false };
    prefix.is_empty()
        || prefix.ends_with('/')
        || rest.is_empty()
        || rest.starts_with(['/', ':', '@'])
}

/// A tag of `docker save` as a whole name.
pub(super) fn of_tag(tag: &str) -> Result<String> {
    let named = |error: Error| error.context(format!("manifest.json names an image {tag:?}"));
    Reference::parse(tag).map(|reference| reference.to_string()).map_err(named)
}

/// Names given away, each to one image.
#[derive(Debug, Default)]
pub(super) struct Given(BTreeMap<String, Digest>);

impl Given {
    /// Gives a name; false when the image has it already.
    ///
    /// # Errors
    /// InvalidArgument when another image has it.
    pub(super) fn give(&mut self, name: &str, to: &Digest) -> Result<bool> {
        match self.0.insert(name.to_owned(), to.clone()) {
            None => Ok(true),
            Some(same) if same == *to => Ok(false),
            Some(other) => Err(Error::invalid_argument(format!(
                "two images of the archive are named {name:?}: {other} and {to}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(annotations: &[(&str, &str)]) -> Descriptor {
        let mut image = Descriptor::of("x", b"y");
        let owned = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        image.annotations = owned.collect();
        image
    }

    fn prefix(prefix: &str, any: bool, digest: bool, skip: bool) -> [NewReference; 1] {
        [NewReference::Prefix {
            prefix: prefix.to_owned(),
            allow_overwrite: any,
            add_digest: digest,
            skip_named_digest: skip,
        }]
    }

    #[test]
    fn names_come_from_annotations() {
        let whole = image(&[(IMAGE_NAME, "docker.io/library/a:1"), (REF_NAME, "1")]);
        let tag = image(&[(REF_NAME, "1")]);
        let long = image(&[(REF_NAME, "ghcr.io/x/a:1")]);
        let none = image(&[]);
        let digest = format!("p@{}", none.digest);
        for (image, rules, want) in [
            (&whole, prefix("p", true, false, false), vec!["docker.io/library/a:1"]),
            (&whole, prefix("p", false, false, false), vec![]),
            (
                &whole,
                prefix("docker.io/library/a", false, false, false),
                vec!["docker.io/library/a:1"],
            ),
            (&whole, prefix("docker.io/lib", false, false, false), vec![]),
            (&tag, prefix("p", false, true, true), vec!["p:1"]),
            (&tag, prefix("p", false, true, false), vec!["p:1", &digest]),
            (&tag, prefix("", true, false, false), vec![]),
            (&long, prefix("p", true, false, false), vec!["ghcr.io/x/a:1"]),
            (&long, prefix("ghcr.io/x/", false, false, false), vec!["ghcr.io/x/a:1"]),
            (&none, prefix("p", true, true, true), vec![&*digest]),
            (&none, prefix("p", true, false, false), vec![]),
        ] {
            assert_eq!(names(image, &rules), want, "{image:?} {rules:?}");
        }
    }

    #[test]
    fn a_name_is_one_images() {
        let (mut given, a, b) = (Given::default(), Digest::sha256(b"a"), Digest::sha256(b"b"));
        assert!(given.give("x", &a).unwrap());
        assert!(!given.give("x", &a).unwrap());
        assert!(given.give("x", &b).unwrap_err().chain().contains("two images"));
        assert_eq!(of_tag("redis:7").unwrap(), "docker.io/library/redis:7");
        assert!(of_tag("Not/A:Ref:x").is_err());
    }
}
