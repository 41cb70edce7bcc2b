//! One layer: a tree of files as a tar, compressed and hashed as it is written.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use lamina_core::Digest;
use lamina_core::digest::{Algorithm, Hasher};

use crate::Result;
use crate::bytes::{Pools, Rng};

/// What is in a layer.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) files: u64,
    /// Of all files together, about.
    pub(crate) bytes: u64,
    /// No file is larger; 0 for the sizes of a real tree.
    pub(crate) largest: u64,
    pub(crate) zstd: bool,
}

pub(crate) struct Layer {
    pub(crate) digest: Digest,
    pub(crate) diff_id: Digest,
    pub(crate) size: u64,
}

/// Writes the layer into `blobs`, under its digest.
pub(crate) fn make(blobs: &Path, plan: Plan, pools: &Pools) -> Result<Layer> {
    write(blobs, plan.seed, plan.zstd, |tar| tree(tar, plan, pools))
}

/// Writes whatever `fill` puts into a tar as a layer.
pub(crate) fn write(
    blobs: &Path,
    seed: u64,
    zstd: bool,
    fill: impl FnOnce(&mut Tar<'_>) -> Result<()>,
) -> Result<Layer> {
    let draft = blobs.join(format!("draft-{seed}"));
    let mut out = Hashed::new(BufWriter::with_capacity(1 << 20, File::create(&draft)?));
    let diff_id = if zstd {
        let mut to = Hashed::new(zstd::Encoder::new(&mut out, 3)?);
        fill(&mut Tar { out: &mut to })?;
        to.out.finish()?;
        to.hasher.finish()
    } else {
        let mut to =
            Hashed::new(flate2::write::GzEncoder::new(&mut out, flate2::Compression::new(6)));
        fill(&mut Tar { out: &mut to })?;
        to.out.finish()?;
        to.hasher.finish()
    };
    out.flush()?;
    let (digest, size) = (out.hasher.finish(), out.size);
    std::fs::rename(&draft, blobs.join(digest.hex()))?;
    Ok(Layer { digest, diff_id, size })
}

/// Directories of about ten files, six to a package, as package managers leave them.
fn tree(tar: &mut Tar<'_>, plan: Plan, pools: &Pools) -> Result<()> {
    let mut rng = Rng::new(plan.seed);
    let mean = plan.bytes / plan.files.max(1);
    let top = format!("opt/layer-{}", plan.seed);
    for dir in ["opt".to_owned(), top.clone()] {
        tar.entry(&dir, b'5', 0o755, 0, "")?;
    }
    let mut last = String::new();
    for at in 0..plan.files {
        if at % 60 == 0 {
            tar.entry(&format!("{top}/package-{}", at / 60), b'5', 0o755, 0, "")?;
        }
        let dir = format!("{top}/package-{}/part-{}", at / 60, at / 10 % 6);
        if at % 10 == 0 {
            tar.entry(&dir, b'5', 0o755, 0, "")?;
        }
        let name = format!("{dir}/file-{at}.data");
        match rng.below(100) {
            0..4 => tar.entry(&name, b'2', 0o777, 0, "../part-0/target")?,
            4 if !last.is_empty() => tar.entry(&name, b'1', 0o644, 0, &last)?,
            _ => {
                let size = size(&mut rng, mean, plan.largest);
                let mode = if rng.below(6) == 0 { 0o755 } else { 0o644 };
                tar.entry(&name, b'0', mode, size, "")?;
                pools.cut(&mut rng, size, |piece| Ok(tar.out.write_all(piece)?))?;
                tar.pad(size)?;
                last = name;
            }
        }
    }
    tar.end()
}

/// Most files are small, most bytes are in large ones; `mean` in the mean, more or less.
fn size(rng: &mut Rng, mean: u64, largest: u64) -> u64 {
    if largest > 0 {
        return 1 + rng.below(largest);
    }
    match rng.below(1000) {
        0..700 => rng.below(mean / 5 + 1),
        700..950 => rng.below(mean + 1),
        950..998 => rng.below(mean * 18 + 1),
        _ => rng.below(mean * 380 + 1),
    }
}

/// Writes a tar, in the form that needs no extensions.
pub(crate) struct Tar<'a> {
    pub(crate) out: &'a mut dyn Write,
}

impl Tar<'_> {
    pub(crate) fn entry(
        &mut self,
        name: &str,
        kind: u8,
        mode: u32,
        size: u64,
        link: &str,
    ) -> Result<()> {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        if name.len() > 100 || link.len() > 100 {
            return Err(format!("{name} is too long").into());
        }
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000");
        put(124, format!("{size:011o}").as_bytes());
        // In 2025.
        put(136, format!("{:011o}", 1_750_000_000 + name.len()).as_bytes());
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        Ok(self.out.write_all(&header)?)
    }

    /// What fills the last block of a file.
    pub(crate) fn pad(&mut self, size: u64) -> Result<()> {
        Ok(self.out.write_all(&[0; 512][..((512 - size % 512) % 512) as usize])?)
    }

    pub(crate) fn end(&mut self) -> Result<()> {
        Ok(self.out.write_all(&[0; 1024])?)
    }
}

/// Hashes and counts what is written through it.
struct Hashed<W> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W> Hashed<W> {
    fn new(out: W) -> Hashed<W> {
        Hashed { out, hasher: Hasher::new(Algorithm::Sha256), size: 0 }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let len = self.out.write(buf)?;
        self.hasher.update(&buf[..len]);
        self.size += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
