//! What can be found.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that was promised is not there, or not what it was.
    Damage,
    /// Something is there that nobody owns; it only takes space.
    Garbage,
    /// Something is to go and could not go yet.
    Busy,
}

impl Severity {
    /// The word it goes by.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Damage => "damage",
            Severity::Garbage => "garbage",
            Severity::Busy => "busy",
        }
    }
}

/// A kind of finding. The words are stable: scripts may go by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// SQLite finds its file damaged, or a row refers to a missing one.
    Database,
    /// The file of a listed blob is missing or has another size.
    BlobLost,
    /// The file of a listed blob has another digest.
    BlobCorrupt,
    /// A file lies among the blobs that no row names.
    BlobStray,
    /// A blob that no namespace has is still on disk.
    BlobDead,
    /// A blob is live although no namespace has it.
    BlobUnowned,
    /// The file of an ingest is shorter than what was said to be durable.
    IngestShort,
    /// A directory lies among the ingests that no row names.
    IngestStray,
    /// The snapshotter that has these snapshots does not work here, so nothing more is known of them.
    SnapshotterAway,
    /// The files of a snapshot are missing.
    SnapshotLost,
    /// A snapshot lies on disk that no row names.
    SnapshotStray,
    /// A removed snapshot is still on disk.
    SnapshotDead,
    /// A snapshot's parent is missing, removed, or not committed.
    SnapshotParent,
    /// A snapshot's chain ID is not that of its parent and its diff ID.
    SnapshotChain,
    /// A live snapshot has no name in any namespace.
    SnapshotUnnamed,
    /// A committed snapshot is not settled by its back end.
    SnapshotUnsettled,
    /// A snapshot's id lies beyond those that were reserved.
    SnapshotId,
    /// A name's parent is not the name of the snapshot's parent.
    NameParent,
    /// A name stands for a removed snapshot.
    NameDead,
}

impl Code {
    /// All of them, in the order in which they are checked.
    pub const ALL: [Code; 19] = [
        Code::Database,
        Code::BlobLost,
        Code::BlobCorrupt,
        Code::BlobStray,
        Code::BlobDead,
        Code::BlobUnowned,
        Code::IngestShort,
        Code::IngestStray,
        Code::SnapshotterAway,
        Code::SnapshotLost,
        Code::SnapshotStray,
        Code::SnapshotDead,
        Code::SnapshotParent,
        Code::SnapshotChain,
        Code::SnapshotUnnamed,
        Code::SnapshotUnsettled,
        Code::SnapshotId,
        Code::NameParent,
        Code::NameDead,
    ];

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Code::BlobStray | Code::IngestStray | Code::SnapshotStray => Severity::Garbage,
            Code::BlobDead | Code::SnapshotDead | Code::SnapshotUnsettled => Severity::Busy,
            _ => Severity::Damage,
        }
    }

    /// The word it goes by.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Database => "database",
            Code::BlobLost => "blob-lost",
            Code::BlobCorrupt => "blob-corrupt",
            Code::BlobStray => "blob-stray",
            Code::BlobDead => "blob-dead",
            Code::BlobUnowned => "blob-unowned",
            Code::IngestShort => "ingest-short",
            Code::IngestStray => "ingest-stray",
            Code::SnapshotterAway => "snapshotter-away",
            Code::SnapshotLost => "snapshot-lost",
            Code::SnapshotStray => "snapshot-stray",
            Code::SnapshotDead => "snapshot-dead",
            Code::SnapshotParent => "snapshot-parent",
            Code::SnapshotChain => "snapshot-chain",
            Code::SnapshotUnnamed => "snapshot-unnamed",
            Code::SnapshotUnsettled => "snapshot-unsettled",
            Code::SnapshotId => "snapshot-id",
            Code::NameParent => "name-parent",
            Code::NameDead => "name-dead",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_word_and_the_page_explains_it() {
        let page = include_str!("../../../../docs/fsck.md");
        for code in Code::ALL {
            let word = serde_json::to_value(code).unwrap();
            assert_eq!(word, code.as_str());
            assert!(
                page.contains(&format!("| `{}` |", code.as_str())),
                "docs/fsck.md lacks {word}"
            );
        }
        assert_eq!(page.matches("\n| `").count(), Code::ALL.len(), "docs/fsck.md has other codes");
    }
}
