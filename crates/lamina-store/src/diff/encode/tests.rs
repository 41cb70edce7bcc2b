use std::io::Read as _;

use lamina_core::Kind;
use proptest::prelude::*;

use super::*;
use crate::diff::compression::Decoder;

const KINDS: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

fn packed(compression: Compression, cores: usize, bytes: &[u8], step: usize) -> (Vec<u8>, Encoded) {
    let mut out = Vec::new();
    let encoded = encode::<Error>(
        compression,
        NonZero::new(cores).unwrap(),
        |blocks| bytes.chunks(step).try_for_each(|chunk| blocks.write(chunk)),
        |piece| {
            out.extend_from_slice(piece);
            Ok(())
        },
    );
    let encoded = encoded.unwrap();
    (out, encoded)
}

/// Bytes that are neither all alike nor all different.
fn words(len: usize) -> Vec<u8> {
    let mut seed = 1u32;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(format!("{:x} ", seed >> 20).as_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn what_is_packed_is_unpacked_and_depends_on_the_stream_alone() {
    let block = |compression| pack::block_len(compression);
    for compression in KINDS {
        let block = block(compression);
        for len in [0, 1024, block - 1, block, block + 1, 2 * block + 17] {
            let bytes = words(len);
            let (one, encoded) = packed(compression, 1, &bytes, 100_000);
            let mut back = Vec::new();
            Decoder::new(&one[..]).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{compression:?} {len}");
            assert_eq!(encoded, Encoded { diff_id: Digest::sha256(&bytes), size: len as u64 });
            let (other, _) = packed(compression, 3, &bytes, 40_960);
            assert!(other == one, "{compression:?} {len} on three cores");
        }
    }
}

#[test]
fn gzip_is_one_member_and_cutting_it_costs_little() {
    let bytes = words(3 << 20);
    let (found, _) = packed(Compression::Gzip, 2, &bytes, 1 << 20);
    let mut back = Vec::new();
    let mut member = flate2::read::GzDecoder::new(&found[..]);
    member.read_to_end(&mut back).unwrap();
    assert!(back == bytes, "a reader of one member sees all of it");
    let mut whole = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    std::io::Write::write_all(&mut whole, &bytes).unwrap();
    let whole = whole.finish().unwrap().len();
    assert!(found.len() < whole + whole / 100, "{} instead of {whole}", found.len());
}

#[test]
fn a_consumer_that_fails_is_told_of() {
    for compression in KINDS {
        let bytes = words(20 << 20);
        let mut left = 2;
        let error = encode::<Error>(
            compression,
            NonZero::new(2).unwrap(),
            |blocks| bytes.chunks(65_536).try_for_each(|chunk| blocks.write(chunk)),
            |_| {
                left -= 1;
                if left == 0 {
                    return Err(Error::resource_exhausted("the disk is full"));
                }
                Ok(())
            },
        );
        assert_eq!(error.unwrap_err().kind(), Kind::ResourceExhausted, "{compression:?}");
    }
}

#[test]
fn a_producer_that_fails_is_told_of() {
    for compression in KINDS {
        let failing = |blocks: &mut Blocks<'_>| {
            blocks.write(&words(3 << 20))?;
            Err(Error::aborted("changed"))
        };
        let error = encode::<Error>(compression, NonZero::<usize>::MIN, failing, |_| Ok(()));
        assert_eq!(error.unwrap_err().kind(), Kind::Aborted, "{compression:?}");
    }
}

#[test]
fn files_are_copied_to_their_end() {
    let bytes = words((2 << 20) + 5);
    let temp = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(temp.path(), &bytes).unwrap();
    let file = std::fs::File::open(temp.path()).unwrap();
    let len = bytes.len() as u64;
    for (asked, want) in [(len, len), (len - 7, len - 7), (len + 9, len), (0, 0)] {
        let mut out = Vec::new();
        let encoded = encode::<Error>(
            Compression::None,
            NonZero::<usize>::MIN,
            |blocks| {
                blocks.write(b"before")?;
                let unread = |cause| Error::internal("read").with_source(cause);
                assert_eq!(blocks.copy(&file, asked, &mut || Ok(()), &unread)?, want);
                blocks.write(b"after")
            },
            |piece| {
                out.extend_from_slice(piece);
                Ok(())
            },
        );
        assert_eq!(encoded.unwrap().size, want + 11);
        assert!(out == [b"before", &bytes[..want as usize], b"after"].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_come_back(
        parts in prop::collection::vec((any::<u8>(), 0usize..900_000, any::<bool>()), 0..6),
    ) {
        let mut bytes = Vec::new();
        for (byte, len, varied) in parts {
            match varied {
                true => bytes.extend(words(len)),
                false => bytes.resize(bytes.len() + len, byte),
            }
        }
        for compression in KINDS {
            let (packed, _) = packed(compression, 3, &bytes, 333_333);
            let mut back = Vec::new();
            Decoder::new(&packed[..]).unwrap().read_to_end(&mut back).unwrap();
            prop_assert!(back == bytes);
        }
    }
}
