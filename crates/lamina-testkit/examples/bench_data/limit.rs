//! What the hardware can do, measured with nothing else in the way. Prints seconds.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use lamina_core::digest::{Algorithm, Hasher};

use crate::Result;

/// `write`: so many bytes into one file, with fsync. `files`: so many empty files, in directories of
/// ten. `inflate`, `zstd`: so many of the largest blobs below `dir`, one after the other. `sha256`: so
/// many bytes.
pub(crate) fn measure(what: &str, dir: &Path, amount: u64) -> Result<()> {
    let took = match what {
        "write" => write(dir, amount)?,
        "files" => files(dir, amount)?,
        "inflate" => {
            blobs(dir, amount, |file| Ok(Box::new(flate2::read::MultiGzDecoder::new(file))))?
        }
        "zstd" => blobs(dir, amount, |file| Ok(Box::new(zstd::Decoder::new(file)?)))?,
        "sha256" => sha256(amount),
        _ => return Err(format!("no limit is called {what}").into()),
    };
    println!("seconds={:.4}", took.as_secs_f64());
    Ok(())
}

fn write(dir: &Path, bytes: u64) -> Result<Duration> {
    let path = dir.join("limit");
    let block = vec![0x5a; 1 << 20];
    let began = Instant::now();
    let mut file = File::create(&path)?;
    let mut left = bytes;
    while left > 0 {
        let len = left.min(block.len() as u64);
        file.write_all(&block[..len as usize])?;
        left -= len;
    }
    file.sync_all()?;
    let took = began.elapsed();
    fs::remove_file(path)?;
    Ok(took)
}

fn files(dir: &Path, count: u64) -> Result<Duration> {
    let top = dir.join("limit-files");
    let began = Instant::now();
    fs::create_dir_all(&top)?;
    for at in 0..count {
        let dir = top.join(format!("{}", at / 10));
        if at % 10 == 0 {
            fs::create_dir(&dir)?;
        }
        File::create_new(dir.join(format!("{at}")))?;
    }
    let took = began.elapsed();
    fs::remove_dir_all(top)?;
    Ok(took)
}

fn blobs(dir: &Path, count: u64, open: impl Fn(File) -> Result<Box<dyn Read>>) -> Result<Duration> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        paths.push((entry.metadata()?.len(), entry.path()));
    }
    paths.sort();
    let mut buffer = vec![0; 256 << 10];
    let began = Instant::now();
    for (_, path) in paths.iter().rev().take(count.try_into()?) {
        let mut reader = open(File::open(path)?)?;
        while reader.read(&mut buffer)? > 0 {}
    }
    Ok(began.elapsed())
}

fn sha256(bytes: u64) -> Duration {
    let block = vec![0x5a; 256 << 10];
    let began = Instant::now();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for _ in 0..bytes / block.len() as u64 {
        hasher.update(&block);
    }
    // The digest is not asked for; what it needed was done.
    let _ = hasher.finish();
    began.elapsed()
}
