//! One entry, described step by step.

use super::header::{
    GID, Header, LINK, MAJOR, MINOR, MODE, MTIME, NAME, SIZE, TYPE, UID, extension, padded,
    pax_record,
};
use super::sparse::{Sparse, SparseFormat};

/// An entry of an archive. Unless told otherwise: mode 0644 (0755 for directories, 0777 for
/// links), owner 0:0, of 2024-01-02 03:04:05 UTC, what does not fit in PAX records.
#[derive(Clone, Debug)]
pub struct Entry {
    path: Vec<u8>,
    link: Vec<u8>,
    content: Vec<u8>,
    sparse: Option<Sparse>,
    kind: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: (i64, u32),
    device: (u32, u32),
    pax: Vec<(Vec<u8>, Vec<u8>)>,
    raw_pax: Option<Vec<u8>>,
    gnu: bool,
    size_field: Option<i128>,
}

impl Entry {
    /// An entry of any type byte.
    pub fn of_type(kind: u8, path: impl AsRef<[u8]>) -> Self {
        Entry {
            path: path.as_ref().to_vec(),
            link: Vec::new(),
            content: Vec::new(),
            sparse: None,
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (1_704_164_645, 0),
            device: (0, 0),
            pax: Vec::new(),
            raw_pax: None,
            gnu: false,
            size_field: None,
        }
    }

    /// A regular file.
    pub fn file(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Entry { content: content.as_ref().to_vec(), ..Entry::of_type(b'0', path) }
    }

    /// A directory; a slash is put behind its name, as tar does.
    pub fn dir(path: impl AsRef<[u8]>) -> Self {
        let mut path = path.as_ref().to_vec();
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        Entry::of_type(b'5', path).mode(0o755)
    }

    /// A symbolic link with this text.
    pub fn symlink(path: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> Self {
        Entry { link: text.as_ref().to_vec(), ..Entry::of_type(b'2', path) }.mode(0o777)
    }

    /// A further name of what lies at `target` in the archive's tree.
    pub fn hard_link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Entry { link: target.as_ref().to_vec(), ..Entry::of_type(b'1', path) }
    }

    /// A character device.
    pub fn char_device(path: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Entry { device: (major, minor), ..Entry::of_type(b'3', path) }
    }

    /// A block device.
    pub fn block_device(path: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Entry { device: (major, minor), ..Entry::of_type(b'4', path) }
    }

    /// A named pipe.
    pub fn fifo(path: impl AsRef<[u8]>) -> Self {
        Entry::of_type(b'6', path)
    }

    /// The deletion of `path` (OCI image spec, "Whiteouts"): `a/b` gives `a/.wh.b`.
    pub fn whiteout(path: &str) -> Self {
        match path.rsplit_once('/') {
            Some((dir, name)) => Entry::file(format!("{dir}/.wh.{name}"), b""),
            None => Entry::file(format!(".wh.{path}"), b""),
        }
    }

    /// The marker that nothing from below shows in `dir`; empty for the root.
    pub fn opaque(dir: &str) -> Self {
        match dir {
            "" => Entry::file(".wh..wh..opq", b""),
            dir => Entry::file(format!("{dir}/.wh..wh..opq"), b""),
        }
    }

    /// A file of `size` bytes with data at these offsets and holes elsewhere.
    pub fn sparse(
        path: impl AsRef<[u8]>,
        size: u64,
        regions: Vec<(u64, Vec<u8>)>,
        format: SparseFormat,
    ) -> Self {
        let sparse = Sparse { size, regions, format };
        let kind = if format == SparseFormat::GnuOld { b'S' } else { b'0' };
        let gnu = format == SparseFormat::GnuOld;
        Entry { sparse: Some(sparse), gnu, ..Entry::of_type(kind, path) }
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Entry { mode, ..self }
    }

    /// Sets owner and group.
    #[must_use]
    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Entry { uid, gid, ..self }
    }

    /// Sets the time of last modification; nanoseconds count forwards, also before 1970.
    #[must_use]
    pub fn mtime(self, sec: i64, nsec: u32) -> Self {
        Entry { mtime: (sec, nsec), ..self }
    }

    /// Adds an extended attribute, in the way GNU tar and Go know (`SCHILY.xattr.`).
    #[must_use]
    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// Adds a PAX record.
    #[must_use]
    pub fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Uses these bytes as PAX records, whatever they say.
    #[must_use]
    pub fn raw_pax(self, bytes: impl AsRef<[u8]>) -> Self {
        Entry { raw_pax: Some(bytes.as_ref().to_vec()), ..self }
    }

    /// Writes it as GNU tar does: long names in entries of type `L` and `K`, base 256.
    #[must_use]
    pub fn gnu(self) -> Self {
        Entry { gnu: true, ..self }
    }

    /// Gives it the text of a link, whatever its type.
    #[must_use]
    pub fn link_text(self, text: impl AsRef<[u8]>) -> Self {
        Entry { link: text.as_ref().to_vec(), ..self }
    }

    /// Gives it content, whatever its type.
    #[must_use]
    pub fn content(self, content: impl AsRef<[u8]>) -> Self {
        Entry { content: content.as_ref().to_vec(), ..self }
    }

    /// Writes this into the size field, whatever the content.
    #[must_use]
    pub fn size_field(self, size: i128) -> Self {
        Entry { size_field: Some(size), ..self }
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        let mut pax: Vec<u8> =
            self.pax.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
        let mut record = |key: &str, value: &[u8]| pax.extend(pax_record(key.as_bytes(), value));
        let mut header = Header::new(self.gnu);
        header.0[TYPE] = self.kind;
        header.text(NAME, &self.path);
        header.text(LINK, &self.link);
        header.number(MODE, self.mode.into());
        header.number(MAJOR, self.device.0.into());
        header.number(MINOR, self.device.1.into());
        let long = [(b'L', &self.path, "path"), (b'K', &self.link, "linkpath")];
        for (kind, text, key) in long.into_iter().filter(|(_, text, _)| text.len() > 100) {
            match self.gnu {
                true => extension(out, kind, "././@LongLink", &[text.as_slice(), b"\0"].concat()),
                false => record(key, text),
            }
        }
        for (field, value, key) in [(UID, self.uid, "uid"), (GID, self.gid, "gid")] {
            if self.gnu || Header::fits(&field, value.into()) {
                header.number(field, value.into());
            } else {
                header.number(field, 0);
                record(key, value.to_string().as_bytes());
            }
        }
        let (sec, nsec) = self.mtime;
        header.number(MTIME, if self.gnu { sec.into() } else { sec.max(0).into() });
        if nsec != 0 || (sec < 0 && !self.gnu) {
            record("mtime", pax_time(sec, nsec).as_bytes());
        }
        let (mut content, mut blocks) = (self.content, Vec::new());
        if let Some(sparse) = &self.sparse {
            content = sparse.lay(&mut header, &mut blocks, &self.path, &mut record);
        }
        header.number(SIZE, self.size_field.unwrap_or(content.len() as i128));
        let pax = self.raw_pax.unwrap_or(pax);
        if !pax.is_empty() {
            extension(out, b'x', "PaxHeaders/entry", &pax);
        }
        header.write(out);
        out.extend_from_slice(&blocks);
        padded(out, &content);
    }
}

fn pax_time(sec: i64, nsec: u32) -> String {
    match (sec, nsec) {
        (sec, 0) => sec.to_string(),
        (sec, nsec) if sec >= 0 => format!("{sec}.{nsec:09}"),
        (sec, nsec) => format!("-{}.{:09}", -(sec + 1), 1_000_000_000 - nsec),
    }
}
