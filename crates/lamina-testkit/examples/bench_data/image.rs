//! Images: their layers, made side by side, a config and a manifest.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lamina_core::Digest;
use serde_json::json;

use crate::Result;
use crate::bytes::Pools;
use crate::layer::{self, Layer, Plan};

/// Makes the image `name` at `percent` of its full size in `dir`, unless it is there.
pub(crate) fn make(dir: &Path, name: &str, percent: u64) -> Result<()> {
    let blobs = dir.join("blobs");
    fs::create_dir_all(&blobs)?;
    let manifest = dir.join(format!("{name}.json"));
    if manifest.exists() {
        return Ok(());
    }
    let zstd = name == "big-zstd";
    let layers = match name {
        "true" => vec![root_of_true(&blobs)?],
        _ => side_by_side(&blobs, &plans(name, percent)?)?,
    };
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = serde_json::to_vec(&config)?;
    let config_digest = Digest::sha256(&config);
    fs::write(blobs.join(config_digest.hex()), &config)?;
    let packed = if zstd { "zstd" } else { "gzip" };
    let layers: Vec<_> = layers
        .iter()
        .map(|Layer { digest, size, .. }| {
            let media_type = format!("application/vnd.oci.image.layer.v1.tar+{packed}");
            json!({"mediaType": media_type, "digest": digest.as_str(), "size": size})
        })
        .collect();
    let text = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest.as_str(), "size": config.len(),
        },
        "layers": layers,
    }))?;
    // By its digest, too.
    fs::write(dir.join(format!("{}.json", Digest::sha256(&text).hex())), &text)?;
    let draft = dir.join(format!("{name}.draft"));
    fs::write(&draft, &text)?;
    Ok(fs::rename(draft, manifest)?)
}

fn plans(name: &str, percent: u64) -> Result<Vec<Plan>> {
    let plan = |seed, files: u64, bytes: u64, largest| Plan {
        seed,
        files: (files * percent / 100).max(1),
        bytes: bytes * percent / 100,
        largest,
        zstd: name == "big-zstd",
    };
    const MB: u64 = 1_000_000;
    Ok(match name {
        // From a base system to what an application adds, 3.1 GB and 110,000 files in all.
        "big" | "big-zstd" => [900, 700, 500, 380, 260, 180, 120, 60]
            .iter()
            .zip(1..)
            .map(|(size, seed)| plan(seed, size * 110_000 / 3100, size * MB, 0))
            .collect(),
        "one-layer" => vec![plan(20, 40_000, 2700 * MB, 0)],
        "small-files" => (30..34).map(|seed| plan(seed, 75_000, 150 * MB, 4000)).collect(),
        // Thin whatever the percentage is.
        "60-layers" => (100..160)
            .map(|seed| Plan { seed, files: 20, bytes: 2 * MB, largest: 0, zstd: false })
            .collect(),
        _ => return Err(format!("no image is called {name}").into()),
    })
}

fn side_by_side(blobs: &Path, plans: &[Plan]) -> Result<Vec<Layer>> {
    let pools = Pools::new(1);
    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
            let layer = layer::make(blobs, *plan, &pools)?;
            made.lock().map_err(|_| "a thread panicked")?.push((plan.seed, layer));
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    let mut made = made.into_inner().map_err(|_| "a thread panicked")?;
    made.sort_by_key(|(seed, _)| *seed);
    Ok(made.into_iter().map(|(_, layer)| layer).collect())
}

/// This host's `true`, and what it is linked with.
fn root_of_true(blobs: &Path) -> Result<Layer> {
    let program = PathBuf::from("/bin/true");
    let linked = Command::new("ldd").arg(&program).output()?;
    let mut files = vec![(program.clone(), "bin/true".to_owned())];
    for word in String::from_utf8_lossy(&linked.stdout).split_whitespace() {
        if word.starts_with('/') {
            files.push((PathBuf::from(word), word.trim_start_matches('/').to_owned()));
        }
    }
    layer::write(blobs, 0, false, |tar| {
        for (from, name) in &files {
            let bytes = fs::read(from)?;
            let mode = fs::metadata(from)?.permissions().mode() & 0o7777;
            tar.entry(name, b'0', mode, bytes.len() as u64, "")?;
            tar.out.write_all(&bytes)?;
            tar.pad(bytes.len() as u64)?;
        }
        tar.end()
    })
}
