//! Content digests: `<algorithm>:<hex>`, checked before anything is made of them.
//!
//! A digest becomes a path (`blobs/sha256/<hex>`) and a part of URLs, so no value of this type may
//! exist whose text was not checked (CVE-2024-3727). Form: OCI image spec, "Digests".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

use crate::{Error, Result};

/// A hash function that content may be named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, 64 hex digits. What everything here is made with.
    Sha256,
    /// SHA-384, 96 hex digits. Registered by the Go digest package; accepted, never made.
    Sha384,
    /// SHA-512, 128 hex digits.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn hex_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha384 => 96,
            Algorithm::Sha512 => 128,
        }
    }
}

/// A digest whose syntax was checked: a known algorithm and exactly its number of lower-case hex
/// digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    text: Box<str>,
    algorithm: Algorithm,
}

impl Digest {
    /// Parses `<algorithm>:<hex>`.
    ///
    /// # Errors
    /// InvalidArgument for an unknown algorithm, a wrong length, or anything but lower-case hex.
    pub fn parse(text: &str) -> Result<Self> {
        let bad =
            |why: &str| Error::invalid_argument(format!("invalid digest {:?}: {why}", clip(text)));
        let (name, hex) = text.split_once(':').ok_or_else(|| bad("no ':' after the algorithm"))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha384" => Algorithm::Sha384,
            "sha512" => Algorithm::Sha512,
            _ => return Err(bad("unsupported algorithm")),
        };
        if hex.len() != algorithm.hex_len() {
            return Err(bad("wrong number of hex digits"));
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad("not lower-case hex"));
        }
        Ok(Digest { text: text.into(), algorithm })
    }

    /// The SHA-256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Digest::from_sha256(Sha256::digest(bytes).into())
    }

    /// A SHA-256 digest from the 32 bytes a hasher gave.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        Digest::from_hash(Algorithm::Sha256, &hash)
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hex digits behind the colon.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.name().len() + 1..]
    }

    /// The whole text, `<algorithm>:<hex>`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(algorithm.name().len() + 1 + hash.len() * 2);
        text.push_str(algorithm.name());
        text.push(':');
        for byte in hash {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Digest { text: text.into(), algorithm }
    }
}

/// A running hash that ends in a [`Digest`], for any algorithm a digest may name.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-384.
    Sha384(sha2::Sha384),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Starts a hash.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(h) => h.update(bytes),
            Hasher::Sha384(h) => h.update(bytes),
            Hasher::Sha512(h) => h.update(bytes),
        }
    }

    /// Ends the hash.
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(h) => Digest::from_hash(Algorithm::Sha256, &h.finalize()),
            Hasher::Sha384(h) => Digest::from_hash(Algorithm::Sha384, &h.finalize()),
            Hasher::Sha512(h) => Digest::from_hash(Algorithm::Sha512, &h.finalize()),
        }
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Hasher::new(Algorithm::Sha256)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Digest::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Digest::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The chain ID of the layer with `diff_id` on top of the chain `parent` (OCI image spec, "Layer
/// ChainID"): the diff ID itself at the bottom, else the hash of `parent + " " + diff_id`.
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    match parent {
        None => diff_id.clone(),
        Some(parent) => Digest::sha256(format!("{parent} {diff_id}").as_bytes()),
    }
}

/// The chain IDs of a whole stack of layers, bottom first.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = chain_id(chain.last(), diff_id);
        chain.push(next);
    }
    chain
}

/// Shortens hostile text for a message, at a character boundary.
pub(crate) fn clip(text: &str) -> &str {
    const MOST: usize = 160;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_well_formed_digests_exist() {
        assert_eq!(Digest::parse(EMPTY).unwrap(), Digest::sha256(b""));
        let upper = EMPTY.to_uppercase().replace("SHA", "sha");
        let long = format!("{EMPTY}0");
        for bad in [
            "",
            "sha256",
            "sha256:",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &EMPTY[..70],
            &long,
            &upper,
            "sha256:../../../../../../../../../../../../../../../../../../etc/passwd0",
            "sha256:\u{0}3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert_eq!(
                Digest::parse(bad).unwrap_err().kind(),
                crate::Kind::InvalidArgument,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn parts_and_serde_round_trip() {
        let digest = Digest::sha256(b"");
        assert_eq!(digest.hex(), &EMPTY[7..]);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"abc");
        assert!(hasher.finish().as_str().starts_with("sha512:ddaf35a193617aba"));
    }

    #[test]
    fn chain_ids_hash_parent_and_diff() {
        let (a, b) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        let chain = chain_ids(&[a.clone(), b.clone()]);
        assert_eq!(chain[0], a);
        assert_eq!(chain[1], Digest::sha256(format!("{a} {b}").as_bytes()));
        assert!(chain_ids(&[]).is_empty());
    }
}
