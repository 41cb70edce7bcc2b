//! The directories of a back end that keeps one directory a snapshot.
//!
//! ```text
//! <root>/snapshots/<id>/     a snapshot
//! <root>/snapshots/new-<n>/  a stage
//! <root>/trash/…             removed, and being deleted
//! ```
//!
//! Everything moves by one rename: a stage to its id, an id to the trash. All of it is 0700 but what
//! the back end sets itself, whatever the umask. What has none of these names is somebody else's
//! and left alone.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use lamina_core::{Error, Result};
use lamina_sys::{Outcome, fs, tree};

use super::super::driver::{Removed, SnapshotId, Stage};
use super::error::failed;
use super::medium::Medium;

/// `snapshots/` and `trash/` of one back end.
#[derive(Debug)]
pub(super) struct Dirs {
    path: PathBuf,
    root: OwnedFd,
    snapshots: OwnedFd,
    trash: OwnedFd,
}

impl Dirs {
    /// Opens the directories at `root`, making what is missing.
    ///
    /// # Errors
    /// As of [`check_root`].
    pub(super) fn open(path: &Path) -> Result<Dirs> {
        check_root(path)?;
        let root = make_root(path)?;
        let (snapshots, trash) =
            (make_dir(&root, "snapshots", 0o700)?, make_dir(&root, "trash", 0o700)?);
        Ok(Dirs { path: path.to_owned(), root, snapshots, trash })
    }

    /// The root.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The file system they lie on.
    pub(super) fn medium(&self) -> Result<Medium> {
        let root = fs::reopen(&self.root, fs::OFlags::RDONLY | fs::OFlags::DIRECTORY)
            .map_err(|error| failed(error, "open the directory of snapshots"))?;
        Ok(Medium::new(root))
    }

    /// The path of a snapshot, for mounts.
    pub(super) fn path(&self, id: SnapshotId) -> PathBuf {
        self.path.join("snapshots").join(id.to_string())
    }

    /// The path of a stage.
    pub(super) fn stage_path(&self, stage: &Stage) -> PathBuf {
        self.path.join("snapshots").join(&stage.name)
    }

    /// Opens a snapshot.
    pub(super) fn open_snapshot(&self, id: SnapshotId) -> Result<OwnedFd> {
        fs::open_dir_at(&self.snapshots, id.to_string())
            .map_err(|error| failed(error, format!("open snapshot {id}")))
    }

    /// Whether a snapshot is there.
    pub(super) fn exists(&self, id: SnapshotId) -> Result<bool> {
        is_dir(&self.snapshots, &id.to_string())
    }

    /// A new stage, empty and 0700.
    pub(super) fn stage(&self, stage: &Stage) -> Result<OwnedFd> {
        self.discard(stage)?;
        make_dir(&self.snapshots, &stage.name, 0o700)
    }

    /// A new stage that is a file, empty and 0600.
    pub(super) fn stage_file(&self, stage: &Stage) -> Result<OwnedFd> {
        self.discard(stage)?;
        make_file(&self.snapshots, &stage.name)
    }

    /// Opens a snapshot that is a file.
    pub(super) fn open_file(&self, id: SnapshotId, flags: fs::OFlags) -> Result<OwnedFd> {
        fs::open_at(&self.snapshots, id.to_string(), flags, 0)
            .map_err(|error| failed(error, format!("open snapshot {id}")))
    }

    /// Whether a snapshot that is a file is there.
    pub(super) fn file_exists(&self, id: SnapshotId) -> Result<bool> {
        match fs::stat_at(&self.snapshots, id.to_string()) {
            Ok(stat) => Ok(stat.kind == fs::FileKind::File),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(failed(error, format!("look at snapshot {id}"))),
        }
    }

    /// Drops a stage.
    pub(super) fn discard(&self, stage: &Stage) -> Result<()> {
        tree::remove_tree(&self.snapshots, &stage.name)
            .map_err(|error| failed(error, format!("remove stage {}", stage.name)))?;
        Ok(())
    }

    /// Renames a stage to its id; what lay there goes to the trash.
    pub(super) fn publish(&self, id: SnapshotId, stage: &Stage) -> Result<()> {
        let what = || format!("publish snapshot {id}");
        let name = id.to_string();
        let rename = || fs::rename_noreplace(&self.snapshots, &stage.name, &self.snapshots, &name);
        match rename() {
            Err(error) if error.is_exists() => {
                self.throw_away(OsStr::new(&name)).map_err(|error| failed(error, what()))?;
                rename().map_err(|error| failed(error, what()))
            }
            result => result.map_err(|error| failed(error, what())),
        }
    }

    /// Directory entries are on the medium.
    pub(super) fn sync_entries(&self) -> Result<()> {
        fs::sync_file(&self.snapshots)
            .map_err(|error| failed(error, "write the directory of snapshots to disk"))
    }

    /// Moves a snapshot to the trash.
    pub(super) fn remove(&self, id: SnapshotId) -> Result<Removed> {
        match self.throw_away(OsStr::new(&id.to_string())) {
            Ok(()) => Ok(Removed::Gone),
            Err(error) => match error.outcome() {
                Outcome::NotFound => Ok(Removed::Gone),
                Outcome::Busy => Ok(Removed::Busy),
                _ => Err(failed(error, format!("remove snapshot {id}"))),
            },
        }
    }

    /// Deletes what [`remove`](Self::remove) moved to the trash, now or at an earlier try.
    pub(super) fn delete_thrown_away(&self, id: SnapshotId) -> Result<Removed> {
        match tree::remove_tree(&self.trash, id.to_string()) {
            Ok(_) => Ok(Removed::Gone),
            Err(error) if error.is_busy() => Ok(Removed::Busy),
            Err(error) => Err(failed(error, format!("delete snapshot {id}"))),
        }
    }

    /// Deletes what is in the trash. One that cannot be deleted does not keep the others; the first
    /// error is the answer.
    pub(super) fn empty_trash(&self) -> Result<()> {
        let list = |error| failed(error, "list the trash");
        let mut first = None;
        for entry in fs::read_dir(&self.trash).map_err(list)? {
            let name = entry.map_err(list)?.name;
            if let Err(error) = tree::remove_tree(&self.trash, &name) {
                let what = format!("delete {} from the trash", name.to_string_lossy());
                first.get_or_insert(failed(error, what));
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Moves stages and ids that are not in `keep` to the trash.
    pub(super) fn keep_only(&self, keep: &BTreeSet<SnapshotId>) -> Result<()> {
        let list = |error| failed(error, "list snapshots");
        for entry in fs::read_dir(&self.snapshots).map_err(list)? {
            let name = entry.map_err(list)?.name;
            let goes = match Name::parse(&name) {
                Name::Id(id) => !keep.contains(&id),
                Name::Stage => true,
                Name::Other => {
                    tracing::warn!(root = %self.path.display(), ?name, "not ours, left alone");
                    false
                }
            };
            if goes {
                self.throw_away(&name).map_err(|error| {
                    failed(error, format!("drop {} that no row names", name.to_string_lossy()))
                })?;
            }
        }
        Ok(())
    }

    /// The snapshots that are there.
    pub(super) fn list(&self) -> Result<BTreeSet<SnapshotId>> {
        list_ids(&self.snapshots)
    }

    /// A name that was thrown away before may lie in the trash still.
    fn throw_away(&self, name: &OsStr) -> lamina_sys::Result<()> {
        let mut target = name.to_owned();
        for again in 1_u32.. {
            match fs::rename_noreplace(&self.snapshots, name, &self.trash, &target) {
                Err(error) if error.is_exists() => {
                    target = name.to_owned();
                    target.push(format!(".{again}"));
                }
                result => return result,
            }
        }
        Ok(())
    }
}

/// What a name in a directory of snapshots says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A snapshot.
    Id(SnapshotId),
    /// `new-…`
    Stage,
    /// Neither.
    Other,
}

impl Name {
    pub(super) fn parse(name: &OsStr) -> Name {
        let Some(name) = name.to_str() else { return Name::Other };
        if name.starts_with("new-") {
            return Name::Stage;
        }
        match name.parse::<u64>() {
            // `007` and `+7` are numbers too, but no names that we give.
            Ok(number) if number.to_string() == name => Name::Id(SnapshotId(number)),
            _ => Name::Other,
        }
    }
}

/// The ids that lie in a directory.
pub(super) fn list_ids(dir: impl AsFd) -> Result<BTreeSet<SnapshotId>> {
    let list = |error| failed(error, "list snapshots");
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(dir).map_err(list)? {
        if let Name::Id(id) = Name::parse(&entry.map_err(list)?.name) {
            ids.insert(id);
        }
    }
    Ok(ids)
}

/// Checks where a back end is to lie.
///
/// # Errors
/// InvalidArgument for a path that is not absolute or not UTF-8 (mounts are text). FailedPrecondition
/// for a directory of containerd's: what its database names would look like garbage here.
pub(super) fn check_root(path: &Path) -> Result<()> {
    if !path.is_absolute() || path.to_str().is_none() {
        return Err(Error::invalid_argument(format!(
            "the root of a snapshotter must be an absolute path in UTF-8, not {path:?}"
        )));
    }
    if path.join("metadata.db").exists() {
        return Err(Error::failed_precondition(format!(
            "{} belongs to containerd: it has a metadata.db",
            path.display()
        )));
    }
    Ok(())
}

/// Opens the root of a back end, which is made 0700, with what is missing above it.
pub(super) fn make_root(path: &Path) -> Result<OwnedFd> {
    let missing = !path.exists();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        Error::internal(format!("make the directory {}", path.display())).with_source(error)
    })?;
    let open = |error| failed(error, format!("open the directory {}", path.display()));
    let root = fs::open_dir(path).map_err(open)?;
    if missing {
        fs::set_mode(&root, 0o700).map_err(open)?;
    }
    Ok(root)
}

/// Opens `dir/name`, which is made with exactly this mode if it is missing.
pub(super) fn make_dir(dir: impl AsFd, name: &str, mode: u32) -> Result<OwnedFd> {
    let what = |error| failed(error, format!("make the directory {name}"));
    let dir = dir.as_fd();
    match fs::make_dir(dir, name, mode) {
        Ok(()) => fs::set_mode_at(dir, name, mode).map_err(what)?,
        Err(error) if error.is_exists() => {}
        Err(error) => return Err(what(error)),
    }
    fs::open_dir_at(dir, name).map_err(what)
}

/// A new file, 0600 whatever the umask.
pub(super) fn make_file(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    let file = fs::create_file(dir, name, 0o600);
    file.and_then(|file| fs::set_mode(&file, 0o600).map(|()| file))
        .map_err(|error| failed(error, format!("make the file {name}")))
}

/// Whether `dir/name` is a directory.
pub(super) fn is_dir(dir: impl AsFd, name: &str) -> Result<bool> {
    match fs::stat_at(dir, name) {
        Ok(stat) => Ok(stat.is_dir()),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(failed(error, format!("look at snapshot {name}"))),
    }
}

/// A path that [`check_root`] let pass, as text.
pub(super) fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().unwrap_or_else(|path| path.to_string_lossy().into_owned())
}
