//! Random bytes of the kernel, for names that nobody else may have.

use lamina_core::{Error, Result};
use rustix::rand::{GetRandomFlags, getrandom};

/// As many random bytes as are asked for.
///
/// # Errors
/// Internal when the kernel gives none.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    // The kernel never gives fewer than asked for, up to 256 (getrandom(2)).
    getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|e| Error::internal("read random bytes").with_source(e))?;
    Ok(bytes)
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
