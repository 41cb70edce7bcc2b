//! Labels: short texts that clients hang on things, and the ones that mean something here.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// Labels by key, in key order.
pub type Labels = BTreeMap<String, String>;

/// The most bytes a key and its value may have together (`containerd/pkg/labels`).
pub const MAX_BYTES: usize = 4096;

/// Snapshot: the chain ID it will have; the protocol of remote snapshotters goes by it.
pub const SNAPSHOT_REF: &str = "containerd.io/snapshot.ref";
/// What every label that a snapshot back end receives begins with, save [`SNAPSHOT_REF`].
pub const SNAPSHOT_PREFIX: &str = "containerd.io/snapshot/";
/// Layer of an image, for a lazy snapshotter: the image's name.
pub const CRI_IMAGE_REF: &str = "containerd.io/snapshot/cri.image-ref";
/// Layer of an image, for a lazy snapshotter: the digest of the image's manifest.
pub const CRI_MANIFEST_DIGEST: &str = "containerd.io/snapshot/cri.manifest-digest";
/// Layer of an image, for a lazy snapshotter: the digest of its blob.
pub const CRI_LAYER_DIGEST: &str = "containerd.io/snapshot/cri.layer-digest";
/// Layer of an image, for a lazy snapshotter: the digests of its blob and those above it, by commas.
pub const CRI_IMAGE_LAYERS: &str = "containerd.io/snapshot/cri.image-layers";
/// Snapshot: the diff ID of the layer.
pub const SNAPSHOT_DIFF_ID: &str = "containerd.io/snapshot/diff-id";
/// Snapshot: the chain ID below it.
pub const SNAPSHOT_PARENT_CHAIN_ID: &str = "containerd.io/snapshot/parent-chain-id";
/// Snapshot: user-id map, `container:host:size[,…]`.
pub const SNAPSHOT_UID_MAP: &str = "containerd.io/snapshot/uidmapping";
/// Snapshot: group-id map, `container:host:size[,…]`.
pub const SNAPSHOT_GID_MAP: &str = "containerd.io/snapshot/gidmapping";
/// Snapshot: wanted size limit in bytes, a hint.
pub const SNAPSHOT_MAX_SIZE: &str = "containerd.io/snapshot/max-size";
/// Snapshot, synthetic: the upper directory of an overlay snapshot.
pub const SNAPSHOT_UPPER_DIR: &str = "containerd.io/snapshot/overlay.upperdir";
/// Blob: the digest of its uncompressed form.
pub const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// Blob: `<this>.<registry, without its port>` lists the repositories it came from.
pub const DISTRIBUTION_SOURCE: &str = "containerd.io/distribution.source";
/// Namespace: the snapshotter to use when a client names none.
pub const DEFAULT_SNAPSHOTTER: &str = "containerd.io/defaults/snapshotter";
/// Namespace: its blobs may be shared with others also under the policy `isolated`.
pub const NAMESPACE_SHAREABLE: &str = "containerd.io/namespace.shareable";
/// Anything: keep it.
pub const GC_ROOT: &str = "containerd.io/gc.root";
/// Anything that can expire: until when, RFC 3339.
pub const GC_EXPIRE: &str = "containerd.io/gc.expire";
/// Lease: its resources alone are held, not what their labels refer to.
pub const GC_FLAT: &str = "containerd.io/gc.flat";
/// What a reference to a blob begins with.
pub const GC_REF_CONTENT: &str = "containerd.io/gc.ref.content";
/// What a reference to a snapshot begins with, then `.<snapshotter>`.
pub const GC_REF_SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.";
/// What a reference to an image begins with.
pub const GC_REF_IMAGE: &str = "containerd.io/gc.ref.image";
/// What a back reference begins with: the thing named keeps the labelled one.
pub const GC_BREF: &str = "containerd.io/gc.bref.";

/// Checks sizes: an empty key is refused, key and value together are at most 4096 bytes.
///
/// # Errors
/// InvalidArgument that names the key.
pub fn check(labels: &Labels) -> Result<()> {
    for (key, value) in labels {
        check_one(key, value)?;
    }
    Ok(())
}

/// [`check`] for one label.
///
/// # Errors
/// InvalidArgument that names the key.
pub fn check_one(key: &str, value: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid_argument("a label key must not be empty"));
    }
    let bytes = key.len() + value.len();
    if bytes > MAX_BYTES {
        let shown: String = key.chars().take(40).collect();
        return Err(Error::invalid_argument(format!(
            "label key and value length ({bytes} bytes) is over the maximum of {MAX_BYTES} bytes, key: {shown:?}"
        )));
    }
    Ok(())
}

/// The labels a snapshot back end receives: [`SNAPSHOT_REF`] and those under [`SNAPSHOT_PREFIX`].
pub fn inherited(labels: &Labels) -> Labels {
    labels
        .iter()
        .filter(|(key, _)| *key == SNAPSHOT_REF || key.starts_with(SNAPSHOT_PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Carries out an update of labels by field paths, as every `Update` call does.
///
/// No paths, or the path `labels`, replaces all; `labels.<key>` sets that key, or deletes it when
/// `new` lacks it or has it empty. Empty values are never kept. Paths other than labels are handed
/// to `other`, which says whether it knows them.
///
/// # Errors
/// InvalidArgument for a path that nobody knows and for labels over their bounds; `current` is then
/// unchanged.
pub fn apply_update(
    current: &mut Labels,
    new: &Labels,
    paths: &[String],
    mut other: impl FnMut(&str) -> bool,
) -> Result<()> {
    let mut next = current.clone();
    if paths.is_empty() {
        next = new.clone();
    }
    for path in paths {
        if path == "labels" {
            next = new.clone();
        } else if let Some(key) = path.strip_prefix("labels.") {
            match new.get(key) {
                Some(value) => next.insert(key.to_owned(), value.clone()),
                None => next.remove(key),
            };
        } else if !other(path) {
            return Err(Error::invalid_argument(format!(
                "cannot update field {path:?}: not mutable"
            )));
        }
    }
    next.retain(|_, value| !value.is_empty());
    check(&next)?;
    *current = next;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn updates_by_path() {
        let start = labels(&[("a", "1"), ("b", "2")]);
        type Pairs = &'static [(&'static str, &'static str)];
        let cases: &[(Pairs, &[&str], Pairs)] = &[
            (&[("c", "3")], &[], &[("c", "3")]),
            (&[("c", "3")], &["labels"], &[("c", "3")]),
            (&[("a", "9"), ("c", "3")], &["labels.a"], &[("a", "9"), ("b", "2")]),
            (&[], &["labels.a"], &[("b", "2")]),
            (&[("a", "")], &["labels.a"], &[("b", "2")]),
            (&[("a.b", "x")], &["labels.a.b"], &[("a", "1"), ("a.b", "x"), ("b", "2")]),
        ];
        for (new, paths, want) in cases {
            let mut current = start.clone();
            let paths: Vec<String> = paths.iter().map(|p| (*p).to_owned()).collect();
            apply_update(&mut current, &labels(new), &paths, |_| false).unwrap();
            assert_eq!(current, labels(want), "{new:?} {paths:?}");
        }
        let mut current = start.clone();
        assert!(
            apply_update(&mut current, &start, &["labels.a".into(), "parent".into()], |_| false)
                .is_err()
        );
        assert_eq!(current, start);
    }

    #[test]
    fn bounds() {
        check(&labels(&[("k", &"v".repeat(4095))])).unwrap();
        assert!(check(&labels(&[("k", &"v".repeat(4096))])).is_err());
        assert!(check(&labels(&[("", "v")])).is_err());
    }

    #[test]
    fn only_snapshot_labels_are_inherited() {
        let all = labels(&[
            ("containerd.io/snapshot.ref", "x"),
            ("containerd.io/snapshot/a", "y"),
            ("containerd.io/snapshot.reference", "no"),
            ("containerd.io/gc.root", "no"),
        ]);
        let kept: Vec<String> = inherited(&all).into_keys().collect();
        assert_eq!(kept, ["containerd.io/snapshot.ref", "containerd.io/snapshot/a"]);
    }
}
