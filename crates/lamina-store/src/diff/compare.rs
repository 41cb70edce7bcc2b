//! Two mount lists become a layer in the content store.
//!
//! In one pass: what is read becomes tar, its digest is the diff ID, and compressed it goes into the
//! ingest, whose digest is the blob's. An overlay over what is compared with it is not mounted: its
//! upper directory says what changed.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lamina_core::content::{CommitOptions, WriteOptions};
use lamina_core::diff::CompareOptions;
use lamina_core::labels::UNCOMPRESSED;
use lamina_core::{Descriptor, Digest, Error, Labels, Mount, Result, labels, media_type};
use lamina_sys::fs;

use super::LocalDiffer;
use super::compression::Compression;
use super::create::{CreateOptions, Failure, Form, Trees, create};
use super::encode::{self, Encoded, encode};
use crate::blocking::Caller;
use crate::content::Writer;
use crate::mount::plain_overlay;

/// The upper directory of an overlay, and what the names of its attributes begin with.
type Upper = (PathBuf, &'static str);

impl LocalDiffer {
    /// Steps: `diff.create.…`, then those of a blob.
    pub(super) fn compare_now(
        &self,
        lower: &[Mount],
        upper: &[Mount],
        options: CompareOptions,
        caller: &Caller,
    ) -> Result<Descriptor> {
        let (media_type, compression) = format(&options.media_type)?;
        labels::check(&options.labels)?;
        if upper.is_empty() {
            return Err(Error::invalid_argument("no mounts to compare: the upper list is empty"));
        }
        let own = options.reference.is_empty();
        let reference = if own { fresh_reference()? } else { options.reference };
        let latest = options.source_date_epoch.map(seconds);
        let made = self.blob(&reference, options.labels, compression, |differ, writer| {
            differ.write(lower, upper, compression, latest, caller, writer)
        });
        if own && made.is_err() {
            self.forget(&reference);
        }
        let (digest, size) = made?;
        Ok(Descriptor::new(media_type, digest, size))
    }

    /// Fills an ingest, which becomes a blob.
    fn blob(
        &self,
        reference: &str,
        mut labels: Labels,
        compression: Compression,
        fill: impl FnOnce(&Self, &mut Writer) -> Result<Encoded>,
    ) -> Result<(Digest, u64)> {
        let mut writer = self.content.writer_now(reference, WriteOptions::default())?;
        let layer = fill(self, &mut writer)?;
        if compression != Compression::None {
            labels.insert(UNCOMPRESSED.to_owned(), layer.diff_id.to_string());
        }
        let size = writer.offset();
        Ok((self.keep(writer, &labels)?, size))
    }

    /// Drops an ingest that nobody knows of but this call.
    fn forget(&self, reference: &str) {
        match self.content.abort_now(reference) {
            Err(error) if !error.is_not_found() => {
                tracing::warn!(reference, "the ingest of a failed layer stays: {}", error.chain());
            }
            _ => {}
        }
    }

    /// Writes the layer into the ingest, from its start.
    fn write(
        &self,
        lower: &[Mount],
        upper: &[Mount],
        compression: Compression,
        latest: Option<i64>,
        caller: &Caller,
        writer: &mut Writer,
    ) -> Result<Encoded> {
        let cancelled = || caller.has_left();
        let options = CreateOptions { latest, cancelled: &cancelled, steps: self.steps.clone() };
        let below = match lower {
            [] => None,
            mounts => Some(self.reach_read_only(mounts)?),
        };
        let below = below.as_ref().map(|reached| reached.path());
        let mut attempt = |upper: &Path, form: Form| {
            writer.truncate(0)?;
            let lower = below.map(open).transpose()?;
            let trees = Trees { lower, upper: open(upper)?, form };
            encode(
                compression,
                encode::cores(),
                |blocks| create(trees, blocks, &options),
                |bytes| writer.write(bytes),
            )
        };
        if let Some((upper, prefix)) = upper_directory(lower, upper)? {
            match attempt(&upper, Form::Upper { prefix }) {
                Ok(layer) => return Ok(layer),
                Err(Failure::Error(error)) => return Err(error),
                Err(Failure::NeedsMount) => {}
            }
        }
        let above = self.reach_read_only(upper)?;
        attempt(above.path(), Form::Merged).map_err(|failure| match failure {
            Failure::Error(error) => error,
            Failure::NeedsMount => Error::internal("a mounted tree that has to be mounted"),
        })
    }

    /// The ingest becomes a blob. One that is here already gets what it may lack.
    fn keep(&self, writer: Writer, labels: &Labels) -> Result<Digest> {
        let digest = writer.digest_now();
        let committed =
            writer.commit(CommitOptions { labels: labels.clone(), ..CommitOptions::default() });
        let digest = match (committed, digest) {
            (Err(error), Some(digest)) if error.is_already_exists() => digest,
            (committed, _) => return committed,
        };
        let Some(diff_id) = labels.get(UNCOMPRESSED) else { return Ok(digest) };
        let mut info = self.content.info_now(&digest)?;
        if !info.labels.contains_key(UNCOMPRESSED) {
            info.labels.insert(UNCOMPRESSED.to_owned(), diff_id.clone());
            self.content.update_now(info, &[format!("labels.{UNCOMPRESSED}")])?;
        }
        Ok(digest)
    }
}

/// The media type that is meant, and its compression.
fn format(media_type: &str) -> Result<(&str, Compression)> {
    match media_type {
        "" => Ok((media_type::OCI_LAYER_GZIP, Compression::Gzip)),
        media_type::OCI_LAYER_GZIP => Ok((media_type, Compression::Gzip)),
        media_type::OCI_LAYER_ZSTD => Ok((media_type, Compression::Zstd)),
        media_type::OCI_LAYER => Ok((media_type, Compression::None)),
        other => Err(Error::unimplemented(format!(
            "write a layer of media type {other:?}; OCI layers, plain, gzip or zstd, can be written"
        ))),
    }
}

/// The upper directory to look at by itself: that of an overlay whose lower directories are exactly
/// what the lower mounts show.
fn upper_directory(lower: &[Mount], upper: &[Mount]) -> Result<Option<Upper>> {
    let ([lower], [upper]) = (lower, upper) else { return Ok(None) };
    let Some(above) = plain_overlay(upper)? else { return Ok(None) };
    let Some(directory) = above.upper else { return Ok(None) };
    let over = match plain_overlay(lower)? {
        Some(below) => {
            below.upper.is_none()
                && below.lower == above.lower
                && below.attributes == above.attributes
        }
        None => {
            let plain = lower.kind == "bind" && lower.target.is_empty();
            let mapped = lower.options.iter().any(|option| option.contains("idmap="));
            plain && !mapped && above.lower == [Path::new(&lower.source)]
        }
    };
    Ok(over.then_some((directory, above.attributes)))
}

fn open(path: &Path) -> Result<OwnedFd> {
    fs::open_dir(path).map_err(|cause| {
        Error::internal(format!("open {} to compare it", path.display())).with_source(cause)
    })
}

/// Whole seconds, as a layer has them.
fn seconds(time: Timestamp) -> i64 {
    let (second, fraction) = (time.as_second(), time.subsec_nanosecond());
    if fraction < 0 { second - 1 } else { second }
}

/// A name that no other ingest has: the time and three random bytes.
fn fresh_reference() -> Result<String> {
    let random = crate::random::bytes::<3>()?;
    let now = Timestamp::now().as_nanosecond();
    Ok(format!("{now}-{}", crate::random::hex(&random)))
}
