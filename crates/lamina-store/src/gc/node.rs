//! What the collector reasons about: things by name, and what their labels refer to.

use std::sync::Arc;

use lamina_core::Labels;
use lamina_core::labels::{GC_BREF, GC_REF_CONTENT, GC_REF_IMAGE, GC_REF_SNAPSHOT};
use lamina_core::lease::ResourceType;

/// A kind of thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A namespace's blob, by digest.
    Content,
    /// A snapshot, by key; with its snapshotter.
    Snapshot(Arc<str>),
    /// An image record, by name.
    Image,
    /// A container record, by id.
    Container,
    /// An ingest, by reference.
    Ingest,
    /// An activation of the mount manager, by name.
    Mount,
    /// A sandbox record, by id.
    Sandbox,
}

/// A thing of one namespace. References never cross namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) id: Box<str>,
}

impl Node {
    pub(crate) fn new(kind: Kind, id: impl Into<Box<str>>) -> Self {
        Node { kind, id: id.into() }
    }

    pub(crate) fn content(digest: impl AsRef<str>) -> Self {
        Node::new(Kind::Content, digest.as_ref())
    }

    pub(crate) fn snapshot(snapshotter: &str, key: impl AsRef<str>) -> Self {
        Node::new(Kind::Snapshot(snapshotter.into()), key.as_ref())
    }

    /// The thing that a lease's entry names.
    pub(crate) fn leased(kind: &ResourceType, id: &str) -> Self {
        match kind {
            ResourceType::Content => Node::content(id),
            ResourceType::Ingest => Node::new(Kind::Ingest, id),
            ResourceType::Image => Node::new(Kind::Image, id),
            ResourceType::Snapshot(snapshotter) => Node::snapshot(snapshotter, id),
        }
    }
}

/// What labels refer to (`containerd.io/gc.ref.*`): the labelled thing keeps these.
pub(crate) fn references(labels: &Labels) -> impl Iterator<Item = Node> + '_ {
    labels.iter().filter_map(|(key, value)| {
        if let Some(rest) = key.strip_prefix(GC_REF_CONTENT) {
            return is_suffix(rest).then(|| Node::content(value));
        }
        if let Some(rest) = key.strip_prefix(GC_REF_IMAGE) {
            return is_suffix(rest).then(|| Node::new(Kind::Image, value.as_str()));
        }
        let snapshotter = head(key.strip_prefix(GC_REF_SNAPSHOT)?)?;
        Some(Node::snapshot(snapshotter, value))
    })
}

/// What labels refer back to (`containerd.io/gc.bref.*`): these keep the labelled thing.
pub(crate) fn back_references(labels: &Labels) -> impl Iterator<Item = Node> + '_ {
    labels.iter().filter_map(|(key, value)| {
        let what = key.strip_prefix(GC_BREF)?;
        for (word, kind) in
            [("container", Kind::Container), ("content", Kind::Content), ("image", Kind::Image)]
        {
            if let Some(rest) = what.strip_prefix(word) {
                return is_suffix(rest).then(|| Node::new(kind, value.as_str()));
            }
        }
        let snapshotter = head(what.strip_prefix("snapshot.")?)?;
        Some(Node::snapshot(snapshotter, value))
    })
}

/// Behind a complete label key comes nothing, or a suffix that only makes keys differ.
fn is_suffix(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['.', '/'])
}

/// The snapshotter's name in `<name>[/suffix]`.
fn head(rest: &str) -> Option<&str> {
    rest.split('/').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| (format!("containerd.io/gc.{k}"), (*v).to_owned())).collect()
    }

    #[test]
    fn labels_refer() {
        let all = labels(&[
            ("ref.content", "a"),
            ("ref.content.l.0", "b"),
            ("ref.content/x", "c"),
            ("ref.contents", "no"),
            ("ref.snapshot.overlayfs", "d"),
            ("ref.snapshot.native/1", "e"),
            ("ref.snapshot.", "no"),
            ("ref.image.base", "f"),
            ("root", "no"),
            ("bref.container", "g"),
            ("bref.content.x", "h"),
            ("bref.image/y", "i"),
            ("bref.snapshot.native/0", "j"),
            ("bref.snapshotx", "no"),
        ]);
        let mut found: Vec<Node> = references(&all).collect();
        found.sort();
        let mut want = vec![
            Node::content("a"),
            Node::content("b"),
            Node::content("c"),
            Node::snapshot("overlayfs", "d"),
            Node::snapshot("native", "e"),
            Node::new(Kind::Image, "f"),
        ];
        want.sort();
        assert_eq!(found, want);
        let mut found: Vec<Node> = back_references(&all).collect();
        found.sort();
        let mut want = vec![
            Node::new(Kind::Container, "g"),
            Node::content("h"),
            Node::new(Kind::Image, "i"),
            Node::snapshot("native", "j"),
        ];
        want.sort();
        assert_eq!(found, want);
    }
}
