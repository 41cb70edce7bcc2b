//! The writer: data as it comes, then everything that is known of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use super::format::{self, BLOCK, BLOCK_U64, Entry, INODE, Layout, SLOT, Shape, Super, too_large};
use super::tree::{Body, Inode, Meta, Node};

/// An inode of the image that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Made(u32);

/// Writes one image into an empty file.
#[derive(Debug)]
pub struct Writer {
    out: BufWriter<File>,
    /// Bytes so far; a hole at the end may not be in the file yet.
    at: u64,
    inodes: Vec<Inode>,
    /// Data that was begun last, if it has no name yet.
    loose: Option<Placed>,
}

/// Data in an image, for a file that is not named yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    block: u32,
    size: u64,
}

/// Where an inode goes, and what of its data lies beside it.
struct Planned {
    nid: u64,
    shape: Shape,
    xattrs: Vec<u8>,
}

impl Writer {
    /// Starts an image whose root has this metadata.
    pub fn new(file: File, root: Meta) -> io::Result<Writer> {
        let mut out = BufWriter::with_capacity(256 << 10, file);
        out.seek(SeekFrom::Start(BLOCK_U64))?;
        let body = Body::Dir { names: BTreeMap::new(), parent: Made(0) };
        let inodes = vec![Inode { meta: root, body, links: 2 }];
        Ok(Writer { out, at: BLOCK_U64, inodes, loose: None })
    }

    /// The root directory.
    pub fn root(&self) -> Made {
        Made(0)
    }

    /// What a directory has under a name.
    pub fn find(&self, dir: Made, name: &[u8]) -> Option<Made> {
        match &self.inode(dir).body {
            Body::Dir { names, .. } => names.get(name).copied(),
            _ => None,
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self, it: Made) -> bool {
        matches!(self.inode(it).body, Body::Dir { .. })
    }

    /// Where a symbolic link leads; none for all others.
    pub fn target(&self, it: Made) -> Option<&[u8]> {
        match &self.inode(it).body {
            Body::Symlink(target) => Some(target),
            _ => None,
        }
    }

    /// Its metadata, to be changed.
    pub fn meta(&mut self, it: Made) -> &mut Meta {
        &mut self.inode_mut(it).meta
    }

    /// Makes an entry without data. A name that is taken is an error.
    pub fn make(&mut self, dir: Made, name: &[u8], node: Node, meta: Meta) -> io::Result<Made> {
        let body = match node {
            Node::Dir => Body::Dir { names: BTreeMap::new(), parent: dir },
            Node::Symlink(target) if target.len() < BLOCK => Body::Symlink(target),
            Node::Symlink(_) => return Err(too_large("target of a link")),
            Node::Char(major, minor) => Body::Char(format::device(major, minor)?),
            Node::Block(major, minor) => Body::Block(format::device(major, minor)?),
            Node::Fifo => Body::Fifo,
            Node::Socket => Body::Socket,
        };
        self.add(dir, name, body, meta)
    }

    /// Begins a file, whose data is what [`append`](Self::append) and [`skip`](Self::skip) are
    /// given until the next entry is made.
    pub fn file(&mut self, dir: Made, name: &[u8], meta: Meta) -> io::Result<Made> {
        self.loose = None;
        self.pad()?;
        let block = self.block()?;
        self.add(dir, name, Body::File { block, size: 0 }, meta)
    }

    /// Begins data without a name: what [`append`](Self::append) and [`skip`](Self::skip) are given
    /// until the next is begun. [`placed`](Self::placed) says where it is.
    pub fn loose(&mut self) -> io::Result<()> {
        self.pad()?;
        self.loose = Some(Placed { block: self.block()?, size: 0 });
        Ok(())
    }

    /// Where the data without a name is that was begun last; ends it.
    pub fn placed(&mut self) -> Option<Placed> {
        self.loose.take()
    }

    /// Makes a file of data that is there.
    pub fn place(
        &mut self,
        dir: Made,
        name: &[u8],
        meta: Meta,
        Placed { block, size }: Placed,
    ) -> io::Result<Made> {
        self.add(dir, name, Body::File { block, size }, meta)
    }

    /// Bytes of the image so far.
    pub fn written(&self) -> u64 {
        self.at
    }

    /// Adds bytes to the file that was begun last.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.grow(bytes.len() as u64)?;
        self.out.write_all(bytes)
    }

    /// Adds a hole to the file that was begun last. It takes no room on the disk.
    pub fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.grow(bytes)?;
        self.out.seek(SeekFrom::Start(self.at)).map(drop)
    }

    /// Gives an inode that is no directory one more name.
    pub fn link(&mut self, dir: Made, name: &[u8], it: Made) -> io::Result<()> {
        if self.is_dir(it) {
            return Err(invalid("a hard link to a directory"));
        }
        self.name(dir, name, it)?;
        let links = &mut self.inode_mut(it).links;
        *links = links.checked_add(1).ok_or_else(|| too_large("number of links"))?;
        Ok(())
    }

    /// Takes a name away, and all below it. The data of files stays in the image, unused.
    pub fn remove(&mut self, dir: Made, name: &[u8]) {
        let Body::Dir { names, .. } = &mut self.inode_mut(dir).body else { return };
        let Some(it) = names.remove(name) else { return };
        if self.is_dir(it) {
            self.inode_mut(dir).links -= 1;
        }
        // Layers may be a thousand directories deep: no recursion.
        let mut gone = vec![it];
        while let Some(it) = gone.pop() {
            let inode = self.inode_mut(it);
            match &mut inode.body {
                Body::Dir { names, .. } => {
                    gone.extend(std::mem::take(names).into_values());
                    inode.links = 0;
                }
                _ => inode.links -= 1,
            }
        }
    }

    fn add(&mut self, dir: Made, name: &[u8], body: Body, meta: Meta) -> io::Result<Made> {
        let it = u32::try_from(self.inodes.len()).map_err(|_| too_large("number of entries"))?;
        self.name(dir, name, Made(it))?;
        let is_dir = matches!(body, Body::Dir { .. });
        if is_dir {
            self.inode_mut(dir).links += 1;
        }
        self.inodes.push(Inode { meta, body, links: if is_dir { 2 } else { 1 } });
        Ok(Made(it))
    }

    fn name(&mut self, dir: Made, name: &[u8], it: Made) -> io::Result<()> {
        if name.is_empty() || name == b"." || name == b".." || name.len() > 255 {
            return Err(invalid("a name that no file can have"));
        }
        if name.contains(&b'/') || name.contains(&0) {
            return Err(invalid("a name that no file can have"));
        }
        let Body::Dir { names, .. } = &mut self.inode_mut(dir).body else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        if names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.insert(name.to_vec(), it);
        Ok(())
    }

    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.at.checked_add(bytes).filter(|end| end / BLOCK_U64 < u64::from(u32::MAX));
        let end = end.ok_or_else(|| too_large("image"))?;
        let last = self.inodes.last_mut().map(|inode| &mut inode.body);
        match (&mut self.loose, last) {
            (Some(loose), _) => loose.size += bytes,
            (None, Some(Body::File { size, .. })) => *size += bytes,
            _ => return Err(invalid("data without a file")),
        }
        self.at = end;
        Ok(())
    }

    /// Goes to the next whole block.
    fn pad(&mut self) -> io::Result<()> {
        self.zeros(self.at.next_multiple_of(BLOCK_U64))
    }

    /// Fills the little that is missing up to `end`.
    fn zeros(&mut self, end: u64) -> io::Result<()> {
        let missing = end.saturating_sub(self.at);
        io::copy(&mut io::repeat(0).take(missing), &mut self.out)?;
        self.at = end;
        Ok(())
    }

    fn block(&self) -> io::Result<u32> {
        u32::try_from(self.at / BLOCK_U64).map_err(|_| too_large("image"))
    }

    fn inode(&self, it: Made) -> &Inode {
        &self.inodes[it.0 as usize]
    }

    fn inode_mut(&mut self, it: Made) -> &mut Inode {
        &mut self.inodes[it.0 as usize]
    }

    /// Writes what is known of all files, then the superblock. Durability is the caller's.
    pub fn finish(mut self, uuid: [u8; 16]) -> io::Result<File> {
        self.pad()?;
        let metadata = self.block()?;
        let (plan, size) = self.plan()?;
        let directories = u64::from(metadata) + size.div_ceil(BLOCK_U64);
        let directories = u32::try_from(directories).map_err(|_| too_large("image"))?;
        let end = self.place_directories(plan, directories, metadata)?;
        self.out.flush()?;
        let blocks = u32::try_from(end).map_err(|_| too_large("image"))?;
        let inodes = self.inodes.iter().filter(|inode| inode.links > 0).count() as u64;
        let root = FIRST as u16;
        let about = Super { root, inodes, blocks, metadata, uuid };
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.set_len(end * BLOCK_U64)?;
        // Last: what broke off before is no image.
        file.write_all_at(&format::superblock(&about), 0)?;
        Ok(file)
    }

    /// Gives each inode its slots, in the order they were made.
    fn plan(&self) -> io::Result<(Vec<Option<Planned>>, u64)> {
        let mut at = FIRST * SLOT as u64;
        let mut plan = Vec::with_capacity(self.inodes.len());
        for (number, inode) in self.inodes.iter().enumerate() {
            if inode.links == 0 {
                plan.push(None);
                continue;
            }
            let xattrs = format::xattrs(&inode.meta)?;
            let size = match &inode.body {
                Body::Dir { names, .. } => format::directory_size(&sorted(names)),
                Body::File { size, .. } => *size,
                Body::Symlink(target) => target.len() as u64,
                _ => 0,
            };
            // What lies beside an inode must not cross a block.
            let head = (INODE + xattrs.len()) as u64;
            let rest = if inode.body.is_kept() { size % BLOCK_U64 } else { 0 };
            let beside = rest > 0 && head % BLOCK_U64 + rest <= BLOCK_U64;
            if beside && (at + head) % BLOCK_U64 + rest > BLOCK_U64 {
                at = at.next_multiple_of(BLOCK_U64);
            }
            let place = match inode.body {
                Body::File { block, .. } if size > 0 => block,
                Body::Char(device) | Body::Block(device) => device,
                _ => 0,
            };
            let layout = if beside { Layout::Inline } else { Layout::Plain };
            let number = u32::try_from(number + 1).map_err(|_| too_large("number of entries"))?;
            let shape = Shape { layout, size, place, links: inode.links, number };
            plan.push(Some(Planned { nid: at / SLOT as u64, shape, xattrs }));
            let beside = if beside { rest } else { 0 };
            at = (at + head + beside).next_multiple_of(SLOT as u64);
        }
        Ok((plan, at))
    }

    /// Writes the inodes, and behind them the blocks of directories and links that do not lie beside
    /// theirs. Says which block comes next.
    fn place_directories(
        &mut self,
        mut plan: Vec<Option<Planned>>,
        first: u32,
        metadata: u32,
    ) -> io::Result<u64> {
        let mut next = u64::from(first);
        // Entries name inodes only, so blocks may be given out before anything is written.
        for (planned, inode) in plan.iter_mut().zip(&self.inodes) {
            let Some(planned) = planned else { continue };
            if !inode.body.is_kept() {
                continue;
            }
            let blocks = match planned.shape.layout {
                Layout::Plain => planned.shape.size.div_ceil(BLOCK_U64),
                Layout::Inline => planned.shape.size / BLOCK_U64,
            };
            if blocks > 0 {
                planned.shape.place = u32::try_from(next).map_err(|_| too_large("image"))?;
                next += blocks;
            }
        }
        let mut whole = Vec::new();
        for (number, planned) in plan.iter().enumerate() {
            let Some(planned) = planned else { continue };
            let at = u64::from(metadata) * BLOCK_U64 + planned.nid * SLOT as u64;
            self.zeros(at)?;
            let inode = &self.inodes[number];
            let (kind, _) = inode.body.kind();
            let head = format::inode(&inode.meta, kind, &planned.shape, planned.xattrs.len())?;
            self.out.write_all(&head)?;
            self.out.write_all(&planned.xattrs)?;
            self.at = at + (head.len() + planned.xattrs.len()) as u64;
            if planned.shape.layout == Layout::Inline {
                let data = self.data(number, &plan);
                let rest = &data[data.len() - data.len() % BLOCK..];
                self.out.write_all(rest)?;
                self.at += rest.len() as u64;
            }
            if planned.shape.place != 0 && inode.body.is_kept() {
                whole.push(number);
            }
        }
        for number in whole {
            let Some(Some(planned)) = plan.get(number) else { continue };
            let data = self.data(number, &plan);
            let end = match planned.shape.layout {
                Layout::Plain => data.len(),
                Layout::Inline => data.len() - data.len() % BLOCK,
            };
            self.out.seek(SeekFrom::Start(u64::from(planned.shape.place) * BLOCK_U64))?;
            self.out.write_all(&data[..end])?;
        }
        Ok(next)
    }

    /// The data of a directory or link.
    fn data(&self, number: usize, plan: &[Option<Planned>]) -> Vec<u8> {
        match &self.inodes[number].body {
            Body::Dir { names, parent } => {
                let entry = |name, it: usize| {
                    let nid = plan[it].as_ref().map_or(0, |planned| planned.nid);
                    Entry { name, nid, kind: self.inodes[it].body.kind().1 }
                };
                let entries: Vec<_> = sorted(names)
                    .into_iter()
                    .map(|name| match name {
                        b"." => entry(name, number),
                        b".." => entry(name, parent.0 as usize),
                        _ => entry(name, names.get(name).map_or(number, |it| it.0 as usize)),
                    })
                    .collect();
                format::directory(&entries)
            }
            Body::Symlink(target) => target.clone(),
            _ => Vec::new(),
        }
    }
}

/// The first slot that is used: inode number 0 is no number to programs that list directories.
const FIRST: u64 = 2;

/// A directory's names with its own two, in the order in which the kernel searches.
fn sorted(names: &BTreeMap<Vec<u8>, Made>) -> Vec<&[u8]> {
    let mut all: Vec<&[u8]> = names.keys().map(Vec::as_slice).collect();
    for own in [&b"."[..], b".."] {
        let at = all.partition_point(|name| *name < own);
        all.insert(at, own);
    }
    all
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what} cannot be written"))
}
