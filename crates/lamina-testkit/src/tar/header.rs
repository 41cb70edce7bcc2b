//! Header blocks and PAX records, byte by byte (POSIX.1-2001 pax, and GNU tar's manual).

/// Everything comes in blocks of this size.
pub(super) const BLOCK: usize = 512;

/// The fields of a header, as they will be written.
#[derive(Clone, Debug)]
pub(super) struct Header(pub(super) [u8; BLOCK]);

/// Where a field lies in a header.
pub(super) type Field = std::ops::Range<usize>;
pub(super) const NAME: Field = 0..100;
pub(super) const MODE: Field = 100..108;
pub(super) const UID: Field = 108..116;
pub(super) const GID: Field = 116..124;
pub(super) const SIZE: Field = 124..136;
pub(super) const MTIME: Field = 136..148;
const CHECKSUM: Field = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Field = 157..257;
const MAGIC: Field = 257..265;
pub(super) const MAJOR: Field = 329..337;
pub(super) const MINOR: Field = 337..345;

impl Header {
    pub(super) fn new(gnu: bool) -> Self {
        let mut header = Header([0; BLOCK]);
        header.text(MAGIC, if gnu { b"ustar  \0" } else { b"ustar\x0000" });
        header
    }

    /// Writes text, cut at the field's end.
    pub(super) fn text(&mut self, field: Field, text: &[u8]) {
        let field = &mut self.0[field];
        field.fill(0);
        let len = text.len().min(field.len());
        field[..len].copy_from_slice(&text[..len]);
    }

    /// Writes a number in octal digits if they fit, else in base 256.
    pub(super) fn number(&mut self, field: Field, value: i128) {
        let field = &mut self.0[field];
        let width = field.len() - 1;
        let digits = format!("{value:0width$o}");
        if value >= 0 && digits.len() <= width {
            field[..width].copy_from_slice(digits.as_bytes());
            field[width] = 0;
            return;
        }
        let bytes = value.to_be_bytes();
        let len = field.len();
        field.copy_from_slice(&bytes[bytes.len() - len..]);
        field[0] |= 0x80;
    }

    /// Whether a number fits in octal digits.
    pub(super) fn fits(field: &Field, value: i128) -> bool {
        value >= 0 && value < 1 << (3 * (field.len() - 1))
    }

    /// Fills in the checksum and writes the block.
    pub(super) fn write(mut self, out: &mut Vec<u8>) {
        self.0[CHECKSUM].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.text(CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&self.0);
    }
}

/// A header whose content is about the entry after it.
pub(super) fn extension(out: &mut Vec<u8>, kind: u8, name: &str, data: &[u8]) {
    let mut header = Header::new(kind.is_ascii_uppercase());
    header.text(NAME, name.as_bytes());
    header.number(MODE, 0o644);
    header.number(UID, 0);
    header.number(GID, 0);
    header.number(SIZE, data.len() as i128);
    header.number(MTIME, 0);
    header.0[TYPE] = kind;
    header.write(out);
    padded(out, data);
}

/// Content up to the next block.
pub(super) fn padded(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// `<length> <key>=<value>\n`, where the length counts itself.
pub fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    [format!("{len} ").as_bytes(), key, b"=", value, b"\n"].concat()
}
