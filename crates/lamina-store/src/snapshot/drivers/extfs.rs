//! What the superblock of ext2, ext3 and ext4 says of the state a file system was left in.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// What became of a file system when it was last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It was unmounted.
    Clean,
    /// Its journal is to be replayed by the next mount: it was not unmounted.
    NeedsReplay,
    /// The kernel found errors in it, or could not write to it.
    Damaged,
}

/// Reads it from an image; `None` if that holds no file system of this kind.
pub(super) fn state(image: OwnedFd) -> io::Result<Option<State>> {
    let mut block = [0; 0x64];
    match std::fs::File::from(image).read_exact_at(&mut block, SUPERBLOCK) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    Ok(parse(&block))
}

fn parse(block: &[u8; 0x64]) -> Option<State> {
    let short = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
    if short(0x38) != MAGIC {
        return None;
    }
    Some(match (short(0x3a) & HAS_ERRORS, short(0x60) & RECOVER) {
        (0, 0) => State::Clean,
        (0, _) => State::NeedsReplay,
        _ => State::Damaged,
    })
}

const SUPERBLOCK: u64 = 1024;
const MAGIC: u16 = 0xef53;
/// Of `s_state`.
const HAS_ERRORS: u16 = 2;
/// Of `s_feature_incompat`, whose lower half is enough.
const RECOVER: u16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_superblock_tells() {
        let mut block = [0; 0x64];
        assert_eq!(parse(&block), None);
        block[0x38..0x3a].copy_from_slice(&MAGIC.to_le_bytes());
        for (state, feature, want) in [
            (1, 0x42, State::Clean),
            (1, 0x46, State::NeedsReplay),
            (3, 0x42, State::Damaged),
            (2, 0x46, State::Damaged),
        ] {
            (block[0x3a], block[0x60]) = (state, feature);
            assert_eq!(parse(&block), Some(want));
        }
    }
}
