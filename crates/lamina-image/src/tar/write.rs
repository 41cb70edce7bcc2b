//! Headers. They say nothing of when and by whom, so that the same content gives the same archive.

use super::BLOCK;

/// The most bytes a name has in a plain header, and the first size that does not fit in one.
const NAME: usize = 100;
const LARGE: u64 = 1 << 33;

/// The header of the file `name` with `size` bytes, or of a directory where its name ends in `/`; what
/// does not fit in a plain one comes before it in PAX form.
pub(crate) fn head(name: &str, size: u64) -> Vec<u8> {
    let mut pax = Vec::new();
    if name.len() > NAME {
        record(&mut pax, "path", name);
    }
    if size >= LARGE {
        record(&mut pax, "size", &size.to_string());
    }
    let mut head = Vec::new();
    if !pax.is_empty() {
        head.extend(block("pax", pax.len() as u64, b'x'));
        let size = pax.len() as u64;
        head.extend(pax);
        head.extend(padding(size));
    }
    let kind = if name.ends_with('/') { b'5' } else { b'0' };
    head.extend(block(name, if size >= LARGE { 0 } else { size }, kind));
    head
}

/// What fills up the last block of `size` bytes.
pub(crate) fn padding(size: u64) -> Vec<u8> {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    vec![0; (BLOCK - over) % BLOCK]
}

/// The end of an archive.
pub(crate) fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

fn block(name: &str, size: u64, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(NAME)]);
    put(100, if kind == b'5' { b"0000755\0" } else { b"0000644\0" });
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(to: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    to.extend(format!("{length} {key}={value}\n").into_bytes());
}
