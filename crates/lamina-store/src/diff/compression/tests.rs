//! Compression by content: every form, cut off and damaged.

use std::io::Write;

use lamina_core::Kind;

use super::*;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(data, 1).unwrap()
}

/// A skippable frame with four bytes in it (RFC 8878 §3.1.2).
const SKIPPABLE: &[u8] = &[0x53, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];

fn decode(input: &[u8]) -> Result<(Compression, Vec<u8>)> {
    let mut decoder = Decoder::new(input)?;
    let mut out = Vec::new();
    decoder.read_to_end(&mut out).map_err(error)?;
    Ok((decoder.compression(), out))
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(step).collect()
}

#[test]
fn content_decides() {
    let data = noise(700_000);
    let (head, tail) = data.split_at(300_000);
    let cases: [(&str, Vec<u8>, Compression, &[u8]); 11] = [
        ("empty", vec![], Compression::None, b""),
        ("short", b"ab".to_vec(), Compression::None, b"ab"),
        ("plain", data.clone(), Compression::None, &data),
        ("gzip", gzip(&data), Compression::Gzip, &data),
        ("gzip of nothing", gzip(b""), Compression::Gzip, b""),
        ("gzip members", [gzip(head), gzip(b""), gzip(tail)].concat(), Compression::Gzip, &data),
        ("zstd", zstd(&data), Compression::Zstd, &data),
        ("zstd frames", [zstd(head), zstd(tail)].concat(), Compression::Zstd, &data),
        (
            "zstd with skippable frames",
            [SKIPPABLE, &zstd(head), SKIPPABLE, &zstd(tail), SKIPPABLE].concat(),
            Compression::Zstd,
            &data,
        ),
        ("only a skippable frame", SKIPPABLE.to_vec(), Compression::Zstd, b""),
        // `compress`ed data and other methods than deflate are not gzip to anybody.
        ("other method", vec![0x1f, 0x8b, 7, 0], Compression::None, &[0x1f, 0x8b, 7, 0]),
    ];
    for (name, input, compression, output) in cases {
        let (found, out) = decode(&input).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(found, compression, "{name}");
        assert!(out == output, "{name}: {} bytes", out.len());
    }
}

#[test]
fn every_cut_and_damage_is_data_loss() {
    let data = noise(5_000);
    for (name, whole) in [("gzip", gzip(&data)), ("zstd", zstd(&data))] {
        for cut in (4..whole.len()).step_by(7) {
            let error = decode(&whole[..cut]).expect_err(&format!("{name} cut at {cut}"));
            assert_eq!(error.kind(), Kind::DataLoss, "{name} cut at {cut}: {}", error.chain());
            assert!(error.message().contains(name), "{error}");
        }
    }
    let mut wrong_sum = gzip(&data);
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    let trailing = [gzip(&data), b"garbage".to_vec()].concat();
    for (name, input) in [("checksum", wrong_sum), ("trailing garbage", trailing)] {
        let error = decode(&input).expect_err(name);
        assert_eq!(error.kind(), Kind::DataLoss, "{name}: {}", error.chain());
    }
}

#[test]
fn a_window_too_large_is_refused() {
    // Magic, then a frame header that says: no single segment, window log 10 + 21.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0];
    assert_eq!(decode(&frame).unwrap_err().kind(), Kind::DataLoss);
}

#[test]
fn the_source_keeps_its_own_error() {
    struct Fails(Vec<u8>, Option<io::Error>);
    impl Read for Fails {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(self.1.take().unwrap());
            }
            let len = buf.len().min(self.0.len());
            buf[..len].copy_from_slice(&self.0[..len]);
            self.0.drain(..len);
            Ok(len)
        }
    }
    for data in [vec![], b"plain".to_vec(), gzip(b"data"), zstd(b"data")] {
        let half = data[..data.len() / 2].to_vec();
        let ours = carry(Error::unauthenticated("the token expired"));
        let theirs = io::Error::from(io::ErrorKind::ConnectionReset);
        for (cause, kind) in [(ours, Kind::Unauthenticated), (theirs, Kind::Unavailable)] {
            let read = Decoder::new(Fails(half.clone(), Some(cause)))
                .and_then(|mut decoder| io::copy(&mut decoder, &mut io::sink()).map_err(error));
            assert_eq!(read.unwrap_err().kind(), kind);
        }
    }
}
