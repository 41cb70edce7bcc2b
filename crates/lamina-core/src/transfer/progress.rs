//! How a transfer goes: what is told while it runs, in the words that clients print.

use std::fmt;

use crate::Descriptor;

/// Something that happened in a transfer, or how far a part of it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What it is about.
    pub stage: Stage,
    /// The part: an image's name, or one blob as `layer-sha256:…`, `manifest-sha256:…`,
    /// `config-sha256:…`, `index-sha256:…`. Empty for the whole.
    pub name: String,
    /// The names of the parts this one belongs to.
    pub parents: Vec<String>,
    /// Bytes done; they may go back when a source fails and another begins anew.
    pub done: u64,
    /// Bytes in all; 0 when unknown.
    pub total: u64,
    /// What the part is.
    pub descriptor: Option<Descriptor>,
}

impl Progress {
    /// A word on the whole transfer.
    pub fn whole(stage: Stage) -> Self {
        Progress {
            stage,
            name: String::new(),
            parents: Vec::new(),
            done: 0,
            total: 0,
            descriptor: None,
        }
    }
}

/// Hears of a transfer. Called from its midst, so it must not block; it may forget all but the last
/// word on each part.
pub trait ProgressSink: Send + Sync + fmt::Debug {
    /// Takes one word.
    fn send(&self, progress: Progress);
}

/// What happens. `Display` is the text on the wire, [`Stage::parse`] reads it; clients print texts
/// they do not know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// A pull looks the reference up at the source named.
    Resolving(String),
    /// A pull of the source named begins.
    Pulling(String),
    /// A pull has read the reference; content comes.
    FetchingContent,
    /// The part waits for its turn.
    Waiting,
    /// The part comes.
    Downloading,
    /// The part goes.
    Uploading,
    /// The part was there before.
    AlreadyExists,
    /// The part is there.
    Complete,
    /// The layer becomes files.
    Extracting,
    /// The layer is a snapshot.
    Extracted,
    /// The image record of that name was made.
    Saved,
    /// The pull of the source named is done.
    CompletedPull(String),
    /// A push to the destination named begins.
    Pushing(String),
    /// A push has read the record; content goes.
    PushingContent,
    /// All content is at the destination.
    PushedContent,
    /// The push to the destination named is done.
    CompletedPush(String),
    /// An import begins.
    Importing,
    /// The import is done.
    CompletedImport,
    /// An export begins.
    Exporting,
    /// The export is done.
    CompletedExport,
    /// A word of a daemon that is not known here.
    Other(String),
}

impl Stage {
    /// Reads a text.
    pub fn parse(text: &str) -> Self {
        for make in WITH_PLACE {
            let prefix = make(String::new()).to_string();
            if let Some(place) = text.strip_prefix(&prefix) {
                return make(place.to_owned());
            }
        }
        let plain = PLAIN.iter().find(|stage| stage.text() == text);
        plain.cloned().unwrap_or_else(|| Stage::Other(text.to_owned()))
    }

    /// The text, up to the place named. containerd's, to the letter.
    fn text(&self) -> &str {
        match self {
            Stage::Resolving(_) => "Resolving from ",
            Stage::Pulling(_) => "Pulling from ",
            Stage::FetchingContent => "fetching image content",
            Stage::Waiting => "waiting",
            Stage::Downloading => "downloading",
            Stage::Uploading => "uploading",
            Stage::AlreadyExists => "already exists",
            Stage::Complete => "complete",
            Stage::Extracting => "extracting",
            Stage::Extracted => "extracted",
            Stage::Saved => "saved",
            Stage::CompletedPull(_) => "Completed pull from ",
            Stage::Pushing(_) => "Pushing to ",
            Stage::PushingContent => "pushing content",
            Stage::PushedContent => "pushed content",
            Stage::CompletedPush(_) => "Completed push to ",
            Stage::Importing => "Importing",
            Stage::CompletedImport => "Completed import",
            Stage::Exporting => "Exporting",
            Stage::CompletedExport => "Completed export",
            Stage::Other(text) => text,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Resolving(place)
            | Stage::Pulling(place)
            | Stage::CompletedPull(place)
            | Stage::Pushing(place)
            | Stage::CompletedPush(place) => f.pad(&format!("{}{place}", self.text())),
            _ => f.pad(self.text()),
        }
    }
}

/// The stages whose text ends in a place.
const WITH_PLACE: [fn(String) -> Stage; 5] =
    [Stage::Resolving, Stage::Pulling, Stage::CompletedPull, Stage::Pushing, Stage::CompletedPush];

/// The stages whose text is whole.
const PLAIN: [Stage; 15] = [
    Stage::FetchingContent,
    Stage::Waiting,
    Stage::Downloading,
    Stage::Uploading,
    Stage::AlreadyExists,
    Stage::Complete,
    Stage::Extracting,
    Stage::Extracted,
    Stage::Saved,
    Stage::PushingContent,
    Stage::PushedContent,
    Stage::Importing,
    Stage::CompletedImport,
    Stage::Exporting,
    Stage::CompletedExport,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_read_as_it_is_written() {
        let x = || "OCI Registry (docker.io/library/redis:7)".to_owned();
        for (stage, text) in [
            (Stage::Resolving(x()), "Resolving from OCI Registry (docker.io/library/redis:7)"),
            (Stage::Pulling(x()), "Pulling from OCI Registry (docker.io/library/redis:7)"),
            (Stage::FetchingContent, "fetching image content"),
            (Stage::Waiting, "waiting"),
            (Stage::Downloading, "downloading"),
            (Stage::Uploading, "uploading"),
            (Stage::AlreadyExists, "already exists"),
            (Stage::Complete, "complete"),
            (Stage::Extracting, "extracting"),
            (Stage::Extracted, "extracted"),
            (Stage::Saved, "saved"),
            (
                Stage::CompletedPull(x()),
                "Completed pull from OCI Registry (docker.io/library/redis:7)",
            ),
            (Stage::Pushing(x()), "Pushing to OCI Registry (docker.io/library/redis:7)"),
            (Stage::PushingContent, "pushing content"),
            (Stage::PushedContent, "pushed content"),
            (
                Stage::CompletedPush(x()),
                "Completed push to OCI Registry (docker.io/library/redis:7)",
            ),
            (Stage::Importing, "Importing"),
            (Stage::CompletedImport, "Completed import"),
            (Stage::Exporting, "Exporting"),
            (Stage::CompletedExport, "Completed export"),
            (Stage::Other("verifying".into()), "verifying"),
            (Stage::Other("Downloading".into()), "Downloading"),
            (Stage::Other(String::new()), ""),
        ] {
            assert_eq!(stage.to_string(), text);
            assert_eq!(Stage::parse(text), stage);
        }
        assert_eq!(format!("{:>9}", Stage::Saved), "    saved");
    }
}
