//! Tar archives written by code, honest and hostile ones.
//!
//! [`TarBuilder`] puts together what it is told, checksums included, and looks for no sense in it:
//! any name, any size field, any type byte. What does not fit a plain header goes into PAX records,
//! or into GNU extensions for an entry that asks for them.

mod entry;
mod header;
mod list;
mod sparse;

pub use entry::Entry;
pub use header::pax_record;
pub use list::{Listed, list};
pub use sparse::SparseFormat;

use header::BLOCK;

/// An archive in the making.
#[derive(Clone, Debug, Default)]
pub struct TarBuilder {
    bytes: Vec<u8>,
}

impl TarBuilder {
    /// An archive without entries.
    pub fn new() -> Self {
        TarBuilder::default()
    }

    /// An archive of these entries, ended properly.
    pub fn archive(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
        let mut builder = TarBuilder::new();
        for entry in entries {
            builder.add(entry);
        }
        builder.finish()
    }

    /// Adds an entry with its headers, content and padding.
    pub fn add(&mut self, entry: Entry) -> &mut Self {
        entry.write(&mut self.bytes);
        self
    }

    /// Adds a PAX global header (type `g`).
    pub fn global<'a>(
        &mut self,
        records: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> &mut Self {
        let records = records.into_iter();
        let data: Vec<u8> =
            records.flat_map(|(key, value)| pax_record(key.as_bytes(), value.as_bytes())).collect();
        header::extension(&mut self.bytes, b'g', "pax_global_header", &data);
        self
    }

    /// Adds bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The archive with its two zero blocks.
    pub fn finish(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    /// The archive without anything behind its last entry.
    pub fn unfinished(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// What GNU tar lists, or nothing if there is none on this machine.
    fn listed(archive: &[u8]) -> Option<String> {
        let tar = Command::new("tar")
            .args(["-tvf", "-", "--numeric-owner", "--full-time", "--utc"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut tar) = tar else {
            eprintln!("SKIP tar::tests: no tar program");
            return None;
        };
        tar.stdin.take().unwrap().write_all(archive).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn gnu_tar_reads_what_is_written() {
        let long = "d".repeat(120) + "/" + &"f".repeat(120);
        let entries = [
            Entry::dir("dir").mode(0o1777).owner(10, 20).mtime(1_000_000_000, 0),
            Entry::file("dir/file", b"content").mode(0o4755).mtime(-2, 0),
            Entry::file(&long, b"x").owner(4_000_000_000, 3_000_000),
            Entry::file(&long, b"x").gnu().owner(4_000_000, 0),
            Entry::symlink("link", &long),
            Entry::symlink("link", &long).gnu(),
            Entry::hard_link("hard", "dir/file"),
            Entry::char_device("null", 1, 3),
            Entry::block_device("sda", 8, 0),
            Entry::fifo("fifo"),
        ];
        let Some(listed) = listed(&TarBuilder::archive(entries)) else { return };
        let lines: Vec<Vec<&str>> =
            listed.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][..5], ["drwxrwxrwt", "10/20", "0", "2001-09-09", "01:46:40"]);
        assert_eq!(lines[1][..3], ["-rwsr-xr-x", "0/0", "7"]);
        assert_eq!(lines[1][3..5], ["1969-12-31", "23:59:58"]);
        assert_eq!(lines[2][1], "4000000000/3000000");
        assert_eq!(lines[2][5], long);
        assert_eq!(lines[3][1], "4000000/0");
        assert_eq!(lines[3][5], long);
        assert_eq!(lines[4][7], long);
        assert_eq!(lines[5][7], long);
        assert_eq!(lines[6][5..], ["hard", "link", "to", "dir/file"]);
        assert_eq!(lines[7][2], "1,3");
        assert_eq!(lines[8][0], "brw-r--r--");
        assert_eq!(lines[9][0], "prw-r--r--");
    }

    #[test]
    fn gnu_tar_reads_sparse_files() {
        for format in SparseFormat::ALL {
            // More regions than an old GNU header and one extension block hold.
            let regions: Vec<(u64, Vec<u8>)> =
                (0..30).map(|at| (at * 8192, vec![b'x'; 512])).collect();
            let entry = Entry::sparse("sparse", 1 << 20, regions, format);
            let Some(listed) = listed(&TarBuilder::archive([entry])) else { return };
            let words: Vec<&str> = listed.split_whitespace().collect();
            assert_eq!((words[2], words[5]), ("1048576", "sparse"), "{format:?}");
        }
    }
}
