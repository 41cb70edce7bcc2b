//! The settings, and what they mean.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use lamina_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The settings of `devmapper`, by containerd's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it keeps what is not in the pool.
    pub root_path: Option<PathBuf>,
    /// The thin pool, as it is called below `/dev/mapper`. Empty: the back end is not used.
    pub pool_name: String,
    /// How large each file system is, such as `10GB`; the pool holds what is written.
    pub base_image_size: String,
    /// Whether `remove` returns before the device is deleted.
    pub async_remove: bool,
    /// Whether the blocks of a removed device are given back to what the pool lies on.
    pub discard_blocks: bool,
    /// `ext4` (if empty), `ext2` or `xfs`.
    pub fs_type: String,
    /// What `mkfs` of ext2 and ext4 gets as `-E`.
    pub fs_options: String,
}

/// The settings, checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) sectors: u64,
    pub(super) discard_blocks: bool,
    pub(super) fs_type: FileSystem,
    fs_options: String,
}

impl Settings {
    pub(super) fn new(config: &Config) -> Result<Settings> {
        let sectors = bytes(&config.base_image_size).map(|bytes| bytes / 512);
        let sectors = sectors.filter(|sectors| *sectors > 0).ok_or_else(|| {
            let size = &config.base_image_size;
            Error::invalid_argument(format!("base_image_size {size:?} is no size such as 10GB"))
        })?;
        let fs_type = match config.fs_type.as_str() {
            "" | "ext4" => FileSystem::Ext4,
            "ext2" => FileSystem::Ext2,
            "xfs" => FileSystem::Xfs,
            other => {
                return Err(Error::invalid_argument(format!(
                    "fs_type {other:?} is none of ext4, ext2, xfs"
                )));
            }
        };
        let (discard_blocks, fs_options) = (config.discard_blocks, config.fs_options.clone());
        Ok(Settings { sectors, discard_blocks, fs_type, fs_options })
    }

    pub(super) fn mkfs_options(&self) -> Vec<&str> {
        let options = match (self.fs_type, self.fs_options.as_str()) {
            (FileSystem::Ext4, "") => "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
            (FileSystem::Xfs, _) => return vec!["-q"],
            (_, options) => options,
        };
        if options.is_empty() { vec!["-q", "-F"] } else { vec!["-q", "-F", "-E", options] }
    }
}

/// A number with a unit, each 1024 of the one before: `10GB`, `512MiB`, `1t`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().trim_end_matches('b').trim_end_matches('i');
    let power =
        if unit.is_empty() { 0 } else { 1 + "kmgtp".find(unit).filter(|_| unit.len() == 1)? };
    let number: f64 = number.parse().ok()?;
    let bytes = number * 1024_f64.powi(i32::try_from(power).ok()?);
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// What lies in a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileSystem {
    Ext4,
    Ext2,
    Xfs,
}

impl FileSystem {
    pub(super) fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Ext2 => "ext2",
            FileSystem::Xfs => "xfs",
        }
    }

    /// What the device says itself: the configuration may have changed since it was made.
    pub(super) fn of(device: &Path) -> Result<FileSystem> {
        let mut start = [0; 2048];
        std::fs::File::open(device).and_then(|file| file.read_exact_at(&mut start, 0)).map_err(
            |error| Error::internal(format!("read {}", device.display())).with_source(error),
        )?;
        FileSystem::in_superblock(&start).ok_or_else(|| {
            Error::data_loss(format!("{} has no file system of ours", device.display()))
        })
    }

    fn in_superblock(start: &[u8; 2048]) -> Option<FileSystem> {
        const JOURNAL: u8 = 4;
        match start {
            _ if start.starts_with(b"XFSB") => Some(FileSystem::Xfs),
            _ if start[1080..1082] != [0x53, 0xef] => None,
            _ if start[1024 + 92] & JOURNAL != 0 => Some(FileSystem::Ext4),
            _ => Some(FileSystem::Ext2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("10GB", Some(10 << 30)),
            ("512MiB", Some(512 << 20)),
            ("1t", Some(1 << 40)),
            ("1.5 k", Some(1536)),
            ("4096", Some(4096)),
            ("", None),
            ("GB", None),
            ("10XB", None),
            ("-1GB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn file_systems_are_told_by_their_superblocks() {
        let mut start = [0; 2048];
        assert_eq!(FileSystem::in_superblock(&start), None);
        start[1080..1082].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(FileSystem::in_superblock(&start), Some(FileSystem::Ext2));
        start[1116] = 0x3c;
        assert_eq!(FileSystem::in_superblock(&start), Some(FileSystem::Ext4));
        start[..4].copy_from_slice(b"XFSB");
        assert_eq!(FileSystem::in_superblock(&start), Some(FileSystem::Xfs));
    }
}
