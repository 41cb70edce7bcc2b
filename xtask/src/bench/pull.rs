//! Pulls: containerd's own client asks both sides.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::Bench;
use super::daemon::Daemon;
use super::row::{Better, Row, median};
use super::tools::{Registry, bounded};
use crate::process;

/// How a pull is measured.
struct Way {
    image: &'static str,
    /// Durable on both sides: Lamina's by itself, containerd's with a sync of the file system.
    durable: bool,
    pairs: usize,
    /// How blobs are inflated, for the limit of it, and how many there are.
    inflate: Option<(&'static str, u64)>,
}

pub(super) fn big(bench: &Bench) -> Result<Vec<Row>> {
    let inflate = Some(("inflate", 8));
    pull(bench, Way { image: "big", durable: false, pairs: 2, inflate })
}

pub(super) fn big_durable(bench: &Bench) -> Result<Vec<Row>> {
    let inflate = Some(("inflate", 8));
    pull(bench, Way { image: "big", durable: true, pairs: 2, inflate })
}

pub(super) fn one_layer(bench: &Bench) -> Result<Vec<Row>> {
    let inflate = Some(("inflate", 1));
    pull(bench, Way { image: "one-layer", durable: true, pairs: 2, inflate })
}

pub(super) fn small_files(bench: &Bench) -> Result<Vec<Row>> {
    pull(bench, Way { image: "small-files", durable: true, pairs: 2, inflate: None })
}

pub(super) fn sixty_layers(bench: &Bench) -> Result<Vec<Row>> {
    pull(bench, Way { image: "60-layers", durable: true, pairs: 3, inflate: None })
}

pub(super) fn zstd(bench: &Bench) -> Result<Vec<Row>> {
    let inflate = Some(("zstd", 8));
    pull(bench, Way { image: "big-zstd", durable: true, pairs: 2, inflate })
}

fn pull(bench: &Bench, way: Way) -> Result<Vec<Row>> {
    let (folder, registry) = bench.images(way.image)?;
    let mut row = Row::new("", "s", Better::Less);
    let dir = bench.work.folder();
    let files = bench.files(way.image);
    let mut limits = [Vec::new(), Vec::new()];
    let mut stored = 0;
    for _ in 0..bench.options.pairs.unwrap_or(way.pairs) {
        for side in [&bench.ours, &bench.peer] {
            let durability = if way.durable { "full" } else { "none" };
            let daemon = side.start(&bench.tools, &bench.work, durability)?;
            bench.settle()?;
            let before = daemon.cpu();
            let began = Instant::now();
            bench.ctr_pull(&daemon, "bench", &registry.reference(way.image))?;
            if way.durable && !side.is_ours() {
                let root = daemon.folder.as_deref().unwrap_or(bench.work.folder());
                process::ask(Command::new("sync").arg("--file-system").arg(root))?;
            }
            row.add(side.is_ours(), began.elapsed().as_secs_f64());
            let cpu = daemon.cpu().zip(before).map(|(after, before)| after - before);
            row.cost(side.is_ours(), cpu, daemon.memory("VmHWM"));
            if side.is_ours() {
                stored = daemon.stored().unwrap_or(0);
            }
        }
        // With each pair, as what else the machine does is not always the same.
        bench.settle()?;
        limits[0].push(bench.tools.limit("write", dir, stored)?);
        limits[1].push(bench.tools.limit("files", dir, files)?);
    }
    row.limits.push(("write+fsync".into(), median(&limits[0]).unwrap_or(0.0)));
    row.limits.push((format!("create {files} files"), median(&limits[1]).unwrap_or(0.0)));
    if let Some((how, count)) = way.inflate {
        let blobs = folder.join("blobs");
        row.limits.push((format!("{how}, one core"), bench.tools.limit(how, &blobs, count)?));
        row.limits.push(("sha256, one core".into(), bench.tools.limit("sha256", dir, stored)?));
    }
    Ok(vec![row])
}

/// Ten connections at once, against one of the same client.
pub(super) fn ten_at_once(bench: &Bench) -> Result<Vec<Row>> {
    let (_, registry) = bench.images("big")?;
    let image = registry.reference("big");
    let mut rows = Vec::new();
    for connections in ["1", "10"] {
        let mut row = Row::new(format!("by {connections}"), "s", Better::Less);
        for _ in 0..bench.options.pairs.unwrap_or(1) {
            for side in [&bench.ours, &bench.peer] {
                let daemon = side.start(&bench.tools, &bench.work, "full")?;
                bench.settle()?;
                let said =
                    bench.tools.load(&["pull", &daemon.socket(), "bench", &image, connections]);
                match said {
                    Ok(said) => row.add(side.is_ours(), said["seconds"]),
                    // containerd refuses some of them; that is a result.
                    Err(error) if !side.is_ours() => {
                        let why = format!("{error:#}");
                        row.note = format!("peer: {}", why.rsplit(": ").next().unwrap_or(""));
                    }
                    Err(error) => return Err(error),
                }
                row.cost(side.is_ours(), daemon.cpu(), daemon.memory("VmHWM"));
            }
        }
        rows.push(row);
    }
    if let [one, ten] = rows.as_mut_slice()
        && let (Some(one), Some(of_ten)) = (one.ours(), ten.ours())
    {
        ten.note = format!("{:.2}x the time of one; {}", of_ten / one, ten.note);
    }
    Ok(rows)
}

/// What another namespace has pulled.
pub(super) fn other_namespace(bench: &Bench) -> Result<Vec<Row>> {
    let (_, registry) = bench.images("big")?;
    let image = registry.reference("big");
    let mut row = Row::new("", "s", Better::Less);
    for side in [&bench.ours, &bench.peer] {
        let daemon = side.start(&bench.tools, &bench.work, "full")?;
        bench.ctr_pull(&daemon, "bench", &image)?;
        let before = daemon.stored();
        for at in 0..bench.options.pairs.unwrap_or(3) {
            let namespace = format!("other-{at}");
            let said = bench.tools.load(&["pull", &daemon.socket(), &namespace, &image, "1"])?;
            row.add(side.is_ours(), said["seconds"]);
        }
        if let (true, Some(before), Some(after)) = (side.is_ours(), before, daemon.stored()) {
            row.note = format!("{} KB more on disk, rows of the database", (after - before) / 1000);
        }
        row.cost(side.is_ours(), daemon.cpu(), daemon.memory("VmHWM"));
    }
    Ok(vec![row])
}

impl Bench {
    /// Makes an image, and serves it.
    pub(super) fn images(&self, image: &str) -> Result<(PathBuf, Registry)> {
        let kept = self.options.images.clone();
        let folder = kept.unwrap_or_else(|| self.work.folder().join("images"));
        let folder = folder.join(format!("{}-percent", self.options.percent()));
        self.tools.image(&folder, image, self.options.percent())?;
        let registry = self.tools.registry(&folder)?;
        Ok((folder, registry))
    }

    /// Writes out what is left of what was done before, such as the removal of a root.
    fn settle(&self) -> Result<()> {
        let mut sync = Command::new("sync");
        process::ask(sync.arg("--file-system").arg(self.work.folder())).map(drop)
    }

    /// How many files and directories an image has, about.
    fn files(&self, image: &str) -> u64 {
        match image {
            "one-layer" => self.amount(40_000),
            "small-files" => self.amount(300_000),
            "60-layers" => 1200,
            _ => self.amount(110_000),
        }
    }

    pub(super) fn ctr(&self, daemon: &Daemon, namespace: &str) -> Command {
        let mut command = bounded(&self.tools.ctr);
        command.arg("--address").arg(&daemon.address).args(["--namespace", namespace]);
        command
    }

    pub(super) fn ctr_pull(&self, daemon: &Daemon, namespace: &str, image: &str) -> Result<()> {
        let mut command = self.ctr(daemon, namespace);
        process::ask(command.args(["images", "pull", "--plain-http", image]))
            .map(drop)
            .with_context(|| format!("pull {image}"))
    }
}
