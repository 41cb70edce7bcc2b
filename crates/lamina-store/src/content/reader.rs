//! An open blob.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use lamina_core::{Digest, Error, Result};

use crate::io::failed;

/// An open blob; stays readable when the blob is deleted. Clones share the file.
#[derive(Clone, Debug)]
pub struct Reader {
    file: Arc<File>,
    digest: Digest,
    size: u64,
}

impl Reader {
    pub(super) fn new(file: File, digest: Digest, size: u64) -> Self {
        Reader { file: Arc::new(file), digest, size }
    }

    /// The blob's length in bytes.
    pub fn len(&self) -> u64 {
        self.size
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Fills `buf` from `offset` on; less only at the end, nothing behind it. Returns how much.
    ///
    /// # Errors
    /// DataLoss when the file is shorter than the blob.
    pub fn read_into(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let most = buf.len().min(left);
        let mut got = 0;
        while got < most {
            let at = offset + got as u64;
            let n = self
                .file
                .read_at(&mut buf[got..most], at)
                .map_err(failed(format!("read blob {}", self.digest)))?;
            if n == 0 {
                let (digest, size) = (&self.digest, self.size);
                return Err(Error::data_loss(format!(
                    "blob {digest} ends at {at} of {size} bytes"
                )));
            }
            got += n;
        }
        Ok(got)
    }

    /// The file, for who reads it whole; its position is shared by all clones and starts at 0.
    pub fn file(&self) -> &File {
        &self.file
    }
}
