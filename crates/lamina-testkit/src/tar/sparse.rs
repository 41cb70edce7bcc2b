//! Sparse files in the four ways GNU tar has written them (GNU tar manual, "Storing Sparse Files").

use super::header::{BLOCK, Header, NAME};

/// How the map of a sparse file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SparseFormat {
    /// Type `S`, the map in the header and in blocks behind it.
    GnuOld,
    /// PAX records `GNU.sparse.offset` and `GNU.sparse.numbytes`, again and again.
    Pax00,
    /// One PAX record `GNU.sparse.map`.
    Pax01,
    /// In front of the content.
    Pax10,
}

impl SparseFormat {
    /// All of them.
    pub const ALL: [SparseFormat; 4] =
        [SparseFormat::GnuOld, SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10];
}

/// A sparse file: its size and what is not hole.
#[derive(Clone, Debug)]
pub(super) struct Sparse {
    pub(super) size: u64,
    pub(super) regions: Vec<(u64, Vec<u8>)>,
    pub(super) format: SparseFormat,
}

impl Sparse {
    /// Writes the map into header, blocks behind it and records; answers the content.
    pub(super) fn lay(
        &self,
        header: &mut Header,
        blocks: &mut Vec<u8>,
        path: &[u8],
        record: &mut impl FnMut(&str, &[u8]),
    ) -> Vec<u8> {
        let size = self.size.to_string();
        let data = self.regions.iter().flat_map(|(_, data)| data.iter().copied());
        let map = self.regions.iter().map(|(offset, data)| (*offset, data.len() as u64));
        match self.format {
            SparseFormat::GnuOld => {
                self.lay_old(header, blocks);
                data.collect()
            }
            SparseFormat::Pax00 => {
                record("GNU.sparse.size", size.as_bytes());
                record("GNU.sparse.numblocks", self.regions.len().to_string().as_bytes());
                for (offset, len) in map {
                    record("GNU.sparse.offset", offset.to_string().as_bytes());
                    record("GNU.sparse.numbytes", len.to_string().as_bytes());
                }
                data.collect()
            }
            SparseFormat::Pax01 => {
                record("GNU.sparse.size", size.as_bytes());
                record("GNU.sparse.numblocks", self.regions.len().to_string().as_bytes());
                let map: Vec<String> = map.map(|(offset, len)| format!("{offset},{len}")).collect();
                record("GNU.sparse.map", map.join(",").as_bytes());
                record("GNU.sparse.name", path);
                header.text(NAME, b"GNUSparseFile.0/name");
                data.collect()
            }
            SparseFormat::Pax10 => {
                record("GNU.sparse.major", b"1");
                record("GNU.sparse.minor", b"0");
                record("GNU.sparse.name", path);
                record("GNU.sparse.realsize", size.as_bytes());
                header.text(NAME, b"GNUSparseFile.0/name");
                let mut content = format!("{}\n", self.regions.len()).into_bytes();
                for (offset, len) in map {
                    content.extend(format!("{offset}\n{len}\n").into_bytes());
                }
                content.resize(content.len().next_multiple_of(BLOCK), 0);
                content.extend(data);
                content
            }
        }
    }

    /// Four descriptors in the header, 21 in each block behind it.
    fn lay_old(&self, header: &mut Header, blocks: &mut Vec<u8>) {
        header.number(483..495, self.size.into());
        let mut regions = self.regions.iter();
        descriptors(&mut header.0[386..482], &mut regions);
        let mut more = regions.len() > 0;
        header.0[482] = u8::from(more);
        while more {
            let mut block = [0; BLOCK];
            descriptors(&mut block[..504], &mut regions);
            more = regions.len() > 0;
            block[504] = u8::from(more);
            blocks.extend_from_slice(&block);
        }
    }
}

fn descriptors<'a>(area: &mut [u8], regions: &mut impl Iterator<Item = &'a (u64, Vec<u8>)>) {
    for (slot, (offset, data)) in area.chunks_mut(24).zip(regions) {
        slot[..12].copy_from_slice(format!("{offset:011o}\0").as_bytes());
        slot[12..].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
    }
}
