//! Removing a large image: until the command returns, and until its space is free.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Bench;
use super::row::{Better, Row};
use crate::process;

const PATIENCE: Duration = Duration::from_secs(300);

/// Below a root: where blobs, snapshots, and what is left of removed ones lie.
const SPACE: [&str; 3] = [
    "io.containerd.content.v1.content/blobs/sha256",
    "io.containerd.snapshotter.v1.overlayfs/snapshots",
    "io.containerd.snapshotter.v1.overlayfs/trash",
];

pub(super) fn big(bench: &Bench) -> Result<Vec<Row>> {
    let (_, registry) = bench.images("big")?;
    let image = registry.reference("big");
    let mut returns = Row::new("until rm --sync returns", "s", Better::Less);
    let mut frees = Row::new("until the space is free", "s", Better::Less);
    for _ in 0..bench.options.pairs.unwrap_or(2) {
        for side in [&bench.ours, &bench.peer] {
            let daemon = side.start(&bench.tools, &bench.work, "full")?;
            bench.ctr_pull(&daemon, "bench", &image)?;
            let Some(folder) = &daemon.folder else { bail!("the peer's root is not known") };
            // What the pull left to be written is no part of the removal.
            process::ask(std::process::Command::new("sync").arg("--file-system").arg(folder))?;
            let (before, began) = (daemon.cpu(), Instant::now());
            process::ask(bench.ctr(&daemon, "bench").args(["images", "rm", "--sync", &image]))?;
            returns.add(side.is_ours(), began.elapsed().as_secs_f64());
            while !is_empty(&folder.join("root")) {
                if began.elapsed() > PATIENCE {
                    bail!("{} is not emptied", folder.display());
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            frees.add(side.is_ours(), began.elapsed().as_secs_f64());
            let cpu = daemon.cpu().zip(before).map(|(after, before)| after - before);
            frees.cost(side.is_ours(), cpu, daemon.memory("VmHWM"));
        }
    }
    Ok(vec![returns, frees])
}

fn is_empty(root: &Path) -> bool {
    SPACE.iter().all(|at| fs::read_dir(root.join(at)).map_or(true, |mut it| it.next().is_none()))
}
