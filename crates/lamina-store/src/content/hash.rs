//! Hash states as bytes, so that an ingest resumes without reading what it has.

use std::fs::File;
use std::os::unix::fs::FileExt;

use lamina_core::digest::{Algorithm, Hasher};
use lamina_core::{Error, Result};
use sha2::digest::common::hazmat::SerializableState;

use crate::io::failed;

/// The form of the bytes behind it: that of sha2 0.11, which 0.11.x keeps. Another form is not read;
/// the bytes are hashed anew then.
const FORM: u8 = 1;

/// The state of `hasher` as `[form, algorithm, state…]`.
pub(super) fn save(hasher: &Hasher) -> Vec<u8> {
    let (mark, state) = match hasher {
        Hasher::Sha256(hasher) => (b'2', hasher.serialize().to_vec()),
        Hasher::Sha384(hasher) => (b'3', hasher.serialize().to_vec()),
        Hasher::Sha512(hasher) => (b'5', hasher.serialize().to_vec()),
    };
    [&[FORM, mark], state.as_slice()].concat()
}

/// The hasher that was saved, if these bytes are one of `algorithm`.
pub(super) fn load(bytes: &[u8], algorithm: Algorithm) -> Option<Hasher> {
    let (&[form, mark], state) = bytes.split_first_chunk()?;
    if form != FORM {
        return None;
    }
    match (mark, algorithm) {
        (b'2', Algorithm::Sha256) => read(state).map(Hasher::Sha256),
        (b'3', Algorithm::Sha384) => read(state).map(Hasher::Sha384),
        (b'5', Algorithm::Sha512) => read(state).map(Hasher::Sha512),
        _ => None,
    }
}

fn read<H: SerializableState>(state: &[u8]) -> Option<H> {
    H::deserialize(state.try_into().ok()?).ok()
}

/// The hash over the first `len` bytes of a file.
///
/// # Errors
/// DataLoss when the file is shorter.
pub(super) fn of_file(file: &File, len: u64, algorithm: Algorithm, what: &str) -> Result<Hasher> {
    let mut hasher = Hasher::new(algorithm);
    each_chunk(file, len, what, |chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    Ok(hasher)
}

/// Reads the first `len` bytes of a file, a chunk at a time.
pub(super) fn each_chunk(
    file: &File,
    len: u64,
    what: &str,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut chunk = vec![0; 1 << 20];
    let mut at = 0;
    while at < len {
        let most = chunk.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        let got = file.read_at(&mut chunk[..most], at).map_err(failed(format!("read {what}")))?;
        if got == 0 {
            return Err(Error::data_loss(format!("{what} ends at {at} of {len} bytes")));
        }
        take(&chunk[..got])?;
        at += got as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_goes_on_where_it_was() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
            for split in [0, 1, 63, 64, 65, 200] {
                let bytes: Vec<u8> = (0..=255).collect();
                let mut whole = Hasher::new(algorithm);
                whole.update(&bytes);
                let mut first = Hasher::new(algorithm);
                first.update(&bytes[..split]);
                let mut second = load(&save(&first), algorithm).unwrap();
                second.update(&bytes[split..]);
                assert_eq!(second.finish(), whole.finish(), "{algorithm:?} at {split}");
            }
        }
    }

    #[test]
    fn other_bytes_are_no_state() {
        let good = save(&Hasher::new(Algorithm::Sha256));
        assert!(load(&good, Algorithm::Sha512).is_none());
        let mut newer = good.clone();
        newer[0] = 9;
        for bad in [&[][..], &good[..1], &good[..good.len() - 1], &newer] {
            assert!(load(bad, Algorithm::Sha256).is_none());
        }
    }
}
