//! One entry of an archive, in our own terms and checked.
//!
//! `tar-core` puts headers, PAX records and GNU long names together; what it leaves open or takes
//! too lightly is settled here, from the raw bytes. The yardstick is Go's `archive/tar`, which
//! containerd reads with: numbers are strict, a link or directory has no content whatever its
//! size says. Where tar readers are known to choose differently, the entry is refused.

use lamina_core::{Error, Result};
use lamina_sys::fs::{FileKind, Time};
use tar_core::parse::ParsedEntry;
use tar_core::{EntryType, Header, PaxExtensions, SparseEntry};

use super::numbers;
use super::options::Limits;

/// An entry.
#[derive(Debug)]
pub(super) struct Record {
    /// Its path as the archive spells it.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: Time,
    /// Never before `modified`, as containerd sets it.
    pub(super) accessed: Time,
    /// Names without `SCHILY.xattr.`, in the archive's order.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of content behind the header.
    pub(super) stored: u64,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    File,
    /// A file of `size` bytes with data in these regions, in order, and holes between them.
    Sparse {
        size: u64,
        regions: Vec<SparseEntry>,
    },
    /// Points to this text.
    Symlink(Vec<u8>),
    /// Another name of what lies at this path.
    HardLink(Vec<u8>),
    /// A device or fifo, with major and minor number.
    Node(FileKind, u32, u32),
}

/// What `tar-core` found, with what is needed to check it.
pub(super) struct Parsed<'a> {
    pub(super) entry: ParsedEntry<'a>,
    /// Regions and real size, if it found a sparse file.
    pub(super) sparse: Option<(Vec<SparseEntry>, u64)>,
    /// All header blocks of the entry, from the first extension on.
    pub(super) blocks: &'a [u8],
}

impl Record {
    /// Checks an entry and takes it over.
    ///
    /// # Errors
    /// InvalidArgument for what no tar may say or readers disagree about; ResourceExhausted for
    /// too many attributes.
    pub(super) fn new(parsed: Parsed<'_>, limits: &Limits) -> Result<Self> {
        let Parsed { entry, sparse, blocks } = parsed;
        let header_at = offset_in(blocks, entry.header.as_bytes());
        let extensions = Extensions::walk(blocks, header_at)?;
        let pax = Pax::read(entry.pax.unwrap_or_default())?;
        if (extensions.long_name && pax.path) || (extensions.long_link && pax.linkpath) {
            return Err(Error::invalid_argument("a GNU long name and a PAX one"));
        }
        let header = entry.header.as_ustar();
        let raw_size = numbers::size(&header.size).ok_or_else(|| bad("size"))?;
        let mut stored = pax.size.unwrap_or(raw_size);
        if pax.sparse_map_in_content {
            if !entry.entry_type.is_file() {
                return Err(bad("sparse map"));
            }
            // The map is part of the size and lies before the data. tar-core has read past it.
            let map = blocks.len().saturating_sub(header_at + BLOCK) as u64;
            stored = stored.checked_sub(map).ok_or_else(|| bad("sparse map"))?;
        }
        let kind = kind(&entry, sparse, stored)?;
        if !matches!(kind, Kind::File | Kind::Sparse { .. }) {
            stored = 0;
        }
        let modified = match pax.modified {
            Some(time) => time,
            None => numbers::seconds(&header.mtime).ok_or_else(|| bad("mtime"))?,
        };
        let accessed = pax.accessed.or_else(|| gnu_atime(entry.header)).unwrap_or(modified);
        if entry.xattrs.len() > limits.xattrs {
            return Err(Error::resource_exhausted(format!(
                "{} extended attributes, more than the {} allowed",
                entry.xattrs.len(),
                limits.xattrs
            )));
        }
        let own = |(name, value): (std::borrow::Cow<'_, [u8]>, std::borrow::Cow<'_, [u8]>)| {
            (name.into_owned(), value.into_owned())
        };
        Ok(Record {
            kind,
            mode: entry.mode & 0o7777,
            uid: id(entry.uid, "uid")?,
            gid: id(entry.gid, "gid")?,
            modified,
            accessed: accessed.max(modified),
            xattrs: entry.xattrs.into_iter().map(own).collect(),
            stored,
            path: entry.path.into_owned(),
        })
    }
}

fn kind(
    entry: &ParsedEntry<'_>,
    sparse: Option<(Vec<SparseEntry>, u64)>,
    stored: u64,
) -> Result<Kind> {
    let link = || match &entry.link_target {
        None => Err(Error::invalid_argument("a link to nothing")),
        Some(target) if target.contains(&0) => Err(Error::invalid_argument("a NUL in its target")),
        Some(target) => Ok(target.to_vec()),
    };
    let device = |kind| {
        let numbers = (entry.dev_major.unwrap_or(0), entry.dev_minor.unwrap_or(0));
        let header = entry.header.as_ustar();
        let exact = |field: &[u8], value: u32| numbers::field(field) == Some(value.into());
        let known = entry.dev_major.is_some();
        if known && !(exact(&header.dev_major, numbers.0) && exact(&header.dev_minor, numbers.1)) {
            return Err(bad("device number"));
        }
        Ok(Kind::Node(kind, numbers.0, numbers.1))
    };
    match entry.entry_type {
        EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => match sparse {
            Some((regions, size)) => sparse_file(regions, size, stored),
            None if entry.entry_type == EntryType::GnuSparse => Err(bad("sparse map")),
            None if is_old_dir(entry) => Ok(Kind::Dir),
            None => Ok(Kind::File),
        },
        EntryType::Directory => Ok(Kind::Dir),
        EntryType::Symlink => Ok(Kind::Symlink(link()?)),
        EntryType::Link => Ok(Kind::HardLink(link()?)),
        EntryType::Char => device(FileKind::CharDevice),
        EntryType::Block => device(FileKind::BlockDevice),
        EntryType::Fifo => Ok(Kind::Node(FileKind::Fifo, 0, 0)),
        other => Err(Error::invalid_argument(format!(
            "its type {:?} is not one of a layer",
            char::from(other.to_byte())
        ))),
    }
}

/// Before POSIX, a directory was a file whose name ends in a slash; its type byte is NUL.
fn is_old_dir(entry: &ParsedEntry<'_>) -> bool {
    entry.header.as_ustar().typeflag == [0] && entry.path.ends_with(b"/")
}

/// Regions in order, inside the file, and as many bytes as are stored.
fn sparse_file(regions: Vec<SparseEntry>, size: u64, stored: u64) -> Result<Kind> {
    let mut end = 0;
    let mut data = 0u64;
    for region in &regions {
        let next = region.offset.checked_add(region.length).ok_or_else(|| bad("sparse map"))?;
        if region.offset < end || next > size {
            return Err(bad("sparse map"));
        }
        end = next;
        data += region.length;
    }
    if data != stored || i64::try_from(size).is_err() {
        return Err(bad("sparse map"));
    }
    Ok(Kind::Sparse { size, regions })
}

/// An id that fits; `-1` means "leave it" to Linux and is none.
fn id(value: u64, what: &str) -> Result<u32> {
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Error::invalid_argument(format!("its {what} {value} is out of range"))),
    }
}

fn gnu_atime(header: &Header) -> Option<Time> {
    let field = &header.try_as_gnu()?.atime;
    // An empty field is no time, not 1970; other tars keep other things here.
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { None } else { numbers::seconds(field) }
}

/// Which GNU extensions stand before an entry's header.
struct Extensions {
    long_name: bool,
    long_link: bool,
}

impl Extensions {
    /// Goes from header to header up to the entry's own, as a check of `tar-core`: sizes are read
    /// strictly, and there is no zero block in between.
    fn walk(blocks: &[u8], header_at: usize) -> Result<Self> {
        let mut found = Extensions { long_name: false, long_link: false };
        let mut at = 0;
        while at < header_at {
            let block = blocks.get(at..at + BLOCK).and_then(|block| block.first_chunk::<BLOCK>());
            let header = Header::from_bytes(block.ok_or_else(|| bad("extension"))?);
            match header.entry_type() {
                EntryType::GnuLongName => found.long_name = true,
                EntryType::GnuLongLink => found.long_link = true,
                EntryType::XHeader => {}
                _ => return Err(bad("extension")),
            }
            let size = numbers::size(&header.as_ustar().size).ok_or_else(|| bad("extension"))?;
            let size = usize::try_from(size).map_err(|_| bad("extension"))?;
            at += BLOCK + size.next_multiple_of(BLOCK);
        }
        if at == header_at { Ok(found) } else { Err(bad("extension")) }
    }
}

/// What PAX records say that `tar-core` does not, or only when it can read it.
#[derive(Default)]
struct Pax {
    path: bool,
    linkpath: bool,
    size: Option<u64>,
    modified: Option<Time>,
    accessed: Option<Time>,
    sparse_map_in_content: bool,
}

impl Pax {
    fn read(data: &[u8]) -> Result<Self> {
        let mut pax = Pax::default();
        let (mut major, mut minor) = (None, None);
        let mut end = 0;
        for record in PaxExtensions::new(data) {
            let record = record.map_err(|cause| bad("PAX record").with_source(cause))?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            end = offset_in(data, value) + value.len() + 1;
            // Go takes an empty value for "not said", others for an empty one.
            let text = || match value {
                [] => Err(bad_pax(key)),
                _ if value.contains(&0) => Err(bad_pax(key)),
                _ => Ok(()),
            };
            let number = || numbers::decimal(value).ok_or_else(|| bad_pax(key));
            let time = || numbers::pax_time(value).ok_or_else(|| bad_pax(key)).map(Some);
            match key {
                b"path" => pax.path = text().map(|()| true)?,
                b"linkpath" => pax.linkpath = text().map(|()| true)?,
                b"GNU.sparse.name" => text()?,
                b"uid" | b"gid" => drop(number()?),
                b"size" => pax.size = Some(number()?),
                b"mtime" => pax.modified = time()?,
                b"atime" => pax.accessed = time()?,
                b"GNU.sparse.major" => major = Some(number()?),
                b"GNU.sparse.minor" => minor = Some(number()?),
                b"GNU.sparse.realsize"
                | b"GNU.sparse.size"
                | b"GNU.sparse.offset"
                | b"GNU.sparse.numbytes" => drop(number()?),
                b"" => return Err(bad("PAX record")),
                key if key.contains(&0) => return Err(bad("PAX record")),
                _ => {}
            }
        }
        // The iterator stops at what does not begin like a record; nothing may be left.
        if end != data.len() {
            return Err(bad("PAX record"));
        }
        pax.sparse_map_in_content = (major, minor) == (Some(1), Some(0));
        Ok(pax)
    }
}

/// Checks the headers in front of a global header's records, which count nothing themselves.
///
/// # Errors
/// InvalidArgument if its size could be read in two ways.
pub(super) fn check_global(blocks: &[u8], records: &[u8]) -> Result<()> {
    let header_at = offset_in(blocks, records).checked_sub(BLOCK).ok_or_else(|| bad("header"))?;
    Extensions::walk(blocks, header_at)?;
    let block = blocks.get(header_at..).and_then(|block| block.first_chunk::<BLOCK>());
    let header = Header::from_bytes(block.ok_or_else(|| bad("header"))?);
    match numbers::size(&header.as_ustar().size) {
        Some(size) if size == records.len() as u64 => Ok(()),
        _ => Err(bad("global header")),
    }
}

/// Where a slice begins in the one it was cut from.
fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

fn bad(what: &str) -> Error {
    Error::invalid_argument(format!("its {what} is malformed"))
}

fn bad_pax(key: &[u8]) -> Error {
    Error::invalid_argument(format!("its PAX record {} is malformed", key.escape_ascii()))
}

/// Everything in a tar archive comes in blocks of this size.
pub(super) const BLOCK: usize = 512;
