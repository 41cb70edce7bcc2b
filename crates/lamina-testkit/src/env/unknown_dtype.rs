//! A file system that does not tell what its entries are (`DT_UNKNOWN`), as some FUSE and old
//! network ones.

use lamina_sys::fs::{self, FileKind};

use crate::disk::Disk;

/// A disk of 32 MiB whose directories answer `DT_UNKNOWN` for every entry: ext4 that was made without
/// the feature `filetype`. Checked; it is not given away otherwise.
///
/// # Errors
/// The reason for a skip.
pub fn unknown_dtype() -> Result<Disk, String> {
    let disk = Disk::new("ext4", 32 << 20, &["-O", "^filetype"])?;
    // mkfs made an entry already: lost+found.
    let dir = fs::open_dir(disk.path()).map_err(|error| error.to_string())?;
    let mut entries = 0;
    for entry in fs::read_dir(dir).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        if entry.kind != FileKind::Unknown {
            return Err(
                "this kernel tells what entries are, on ext4 without filetype too".to_owned()
            );
        }
        entries += 1;
    }
    if entries == 0 {
        return Err("an ext4 just made has no lost+found to look at".to_owned());
    }
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::or_skip;

    #[test]
    fn privileged_no_entry_tells_what_it_is() {
        let disk = or_skip!("privileged_no_entry_tells_what_it_is", unknown_dtype());
        let dir = disk.path().join("dir");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("file"), b"").unwrap();
        std::fs::create_dir(dir.join("sub")).unwrap();
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        let entries = fs::read_dir(fs::open_dir(&dir).unwrap()).unwrap();
        let kinds: Vec<FileKind> = entries.map(|entry| entry.unwrap().kind).collect();
        assert_eq!(kinds, [FileKind::Unknown; 3]);
        // Whoever asks for each is told.
        let found = fs::stat_at(fs::open_dir(&dir).unwrap(), "sub").unwrap();
        assert!(found.is_dir());
    }
}
