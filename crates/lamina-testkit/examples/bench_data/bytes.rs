//! Bytes that compress as files of real images do: text, programs, and what is compressed already.
//!
//! Pools are made once from a seed, and files are cut from them. They are larger than the windows of
//! gzip and of zstd's usual levels, so a second cut of the same place is not found by them.

/// The same numbers on every machine (splitmix64).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Small numbers often, large ones seldom.
    fn skewed(&mut self, end: u64) -> u64 {
        let (a, b, c) = (self.below(end), self.below(end), self.below(end));
        a.min(b).min(c)
    }
}

const POOL: usize = 16 << 20;

/// The pools.
pub(crate) struct Pools([Vec<u8>; 3]);

impl Pools {
    pub(crate) fn new(seed: u64) -> Pools {
        let mut rng = Rng::new(seed);
        Pools([text(&mut rng), program(&mut rng), random(&mut rng)])
    }

    /// `len` bytes, in pieces of at most 64 KiB: of one kind for a small file, mixed for a large one.
    pub(crate) fn cut(
        &self,
        rng: &mut Rng,
        len: u64,
        mut each: impl FnMut(&[u8]) -> crate::Result<()>,
    ) -> crate::Result<()> {
        let kind = |rng: &mut Rng| match rng.below(100) {
            0..45 => 0,
            45..82 => 1,
            _ => 2,
        };
        let (mut of, mut left) = (kind(rng), len);
        while left > 0 {
            let piece = left.min(64 << 10) as usize;
            let at = rng.below((POOL - piece) as u64) as usize;
            each(&self.0[of][at..at + piece])?;
            left -= piece as u64;
            if rng.below(8) == 0 {
                of = kind(rng);
            }
        }
        Ok(())
    }
}

fn text(rng: &mut Rng) -> Vec<u8> {
    let words: Vec<Vec<u8>> = (0..6000)
        .map(|_| (0..2 + rng.below(9)).map(|_| b'a' + rng.skewed(26) as u8).collect())
        .collect();
    let mut bytes = Vec::with_capacity(POOL + 16);
    while bytes.len() < POOL {
        bytes.extend_from_slice(&words[rng.skewed(6000) as usize]);
        bytes.push(if rng.below(9) == 0 { b'\n' } else { b' ' });
    }
    bytes.truncate(POOL);
    bytes
}

fn program(rng: &mut Rng) -> Vec<u8> {
    let instructions: Vec<Vec<u8>> =
        (0..512).map(|_| (0..2 + rng.below(6)).map(|_| rng.next() as u8).collect()).collect();
    let mut bytes = Vec::with_capacity(POOL + 16);
    while bytes.len() < POOL {
        bytes.extend_from_slice(&instructions[rng.skewed(512) as usize]);
        if rng.below(3) == 0 {
            bytes.extend_from_slice(&(rng.skewed(4096) as u16).to_le_bytes());
        }
    }
    bytes.truncate(POOL);
    bytes
}

fn random(rng: &mut Rng) -> Vec<u8> {
    (0..POOL / 8).flat_map(|_| rng.next().to_le_bytes()).collect()
}
