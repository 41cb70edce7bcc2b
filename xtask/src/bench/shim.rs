//! A container that runs `true`, through the same shim.

use std::time::Instant;

use anyhow::Result;

use super::Bench;
use super::row::{Better, Row};
use crate::process;

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let (_, registry) = bench.images("true")?;
    let image = registry.reference("true");
    let mut row = Row::new("ctr run --rm", "s", Better::Less);
    let ours = bench.ours.start(&bench.tools, &bench.work, "full")?;
    let peer = bench.peer.start(&bench.tools, &bench.work, "full")?;
    for daemon in [&ours, &peer] {
        bench.ctr_pull(daemon, "bench", &image)?;
    }
    for at in 0..bench.options.pairs.unwrap_or(10) {
        for (daemon, is_ours) in [(&ours, true), (&peer, false)] {
            let name = format!("true-{at}");
            let before = daemon.cpu();
            let began = Instant::now();
            let mut command = bench.ctr(daemon, "bench");
            process::ask(command.args(["run", "--rm", &image, &name, "/bin/true"]))?;
            row.add(is_ours, began.elapsed().as_secs_f64());
            let cpu = daemon.cpu().zip(before).map(|(after, before)| after - before);
            row.cost(is_ours, cpu, daemon.memory("VmHWM"));
        }
    }
    Ok(vec![row])
}
