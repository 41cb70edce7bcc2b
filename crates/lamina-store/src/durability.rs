//! How much a power cut may take.

/// Whether an answered call is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// What was answered survives a power cut.
    Full,
    /// What was answered survives a crash of this process. A power cut may take the latest changes,
    /// and files that rows name may then be short or empty.
    None,
}
