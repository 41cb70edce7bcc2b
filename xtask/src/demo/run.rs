//! The end of the walk: the program of the image runs, and what it writes is in its snapshot.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::walk::{Lamina, show};
use crate::{process, ui};

/// How long the program may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the image's redis, and takes it away, also when something fails.
pub(super) fn run(lamina: &Lamina<'_>, image: &str) -> Result<()> {
    ui::heading("run: a shim mounts the same mounts, and redis runs on them");
    let done = serve(lamina, image);
    if done.is_err() {
        // The error is what is told.
        let _ = process::status(&mut lamina.command(&["rm", "-f", "redis"]));
    }
    done
}

fn serve(lamina: &Lamina<'_>, image: &str) -> Result<()> {
    lamina.run(&["run", "-d", "--name", "redis", "--workdir", "/srv", image, "redis-server"])?;
    lamina.run(&["ps"])?;
    let begun = Instant::now();
    // It needs a moment to listen.
    while process::ask(&mut lamina.command(&["exec", "redis", "redis-cli", "ping"])).is_err() {
        if begun.elapsed() > PATIENCE {
            lamina.run(&["logs", "redis"])?;
            bail!("redis does not answer");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    lamina.run(&["exec", "redis", "redis-cli", "ping"])?;

    ui::heading("what it writes is in the upper directory of its snapshot, and nowhere else");
    lamina.run(&["exec", "redis", "redis-cli", "set", "greeting", "hello from the demo"])?;
    lamina.run(&["exec", "redis", "redis-cli", "save"])?;
    let mounts = ["snapshot", "mounts", "/mnt", "redis"];
    let mounts = process::ask(&mut lamina.command(&mounts))?;
    let upper = mounts.split([',', ' ']).find_map(|option| option.strip_prefix("upperdir="));
    let upper = upper.context("the snapshot of redis has no upper directory")?.trim();
    show(&format!("ls -l {upper}/srv"))?;
    show(&format!("grep -c 'hello from the demo' {upper}/srv/dump.rdb"))?;
    lamina.run(&["logs", "--tail", "2", "redis"])?;
    lamina.run(&["stop", "redis"])?;
    lamina.run(&["rm", "redis"])
}
