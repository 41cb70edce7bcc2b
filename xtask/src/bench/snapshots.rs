//! Snapshots over gRPC: writes, reads, and writes while much is collected.

use anyhow::{Context, Result};

use super::Bench;
use super::daemon::Daemon;
use super::row::{Better, Row};

/// How many snapshots a store that is in use has.
const MANY: u64 = 20_000;

/// Prepare, Commit and Remove, each durable.
pub(super) fn writes(bench: &Bench) -> Result<Vec<Row>> {
    let (ours, peer) = sides(bench)?;
    let mut rows = Vec::new();
    for filled in [0, bench.amount(MANY)] {
        if filled > 0 {
            fill(bench, &[&ours, &peer], filled)?;
        }
        for callers in ["1", "64"] {
            let mut row = Row::new(format!("by {callers}, {filled} there"), "/s", Better::More);
            for _ in 0..bench.options.pairs.unwrap_or(3) {
                for (daemon, is_ours) in [(&ours, true), (&peer, false)] {
                    let before = daemon.cpu();
                    let socket = daemon.socket();
                    let said =
                        bench.tools.load(&["snapshots", &socket, callers, seconds(bench)])?;
                    row.add(is_ours, said["rate"]);
                    let cpu = daemon.cpu().zip(before).map(|(after, before)| after - before);
                    row.cost(is_ours, cpu, daemon.memory("VmHWM"));
                }
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Stat, Mounts, and a Walk over all.
pub(super) fn reads(bench: &Bench) -> Result<Vec<Row>> {
    let (ours, peer) = sides(bench)?;
    fill(bench, &[&ours, &peer], bench.amount(MANY))?;
    let mut rows = Vec::new();
    for callers in ["1", "64"] {
        let mut family = [
            ("stat_rate", Row::new(format!("Stat by {callers}"), "/s", Better::More)),
            ("stat_p99_us", Row::new(format!("Stat by {callers}, p99"), "µs", Better::Less)),
            ("mounts_rate", Row::new(format!("Mounts by {callers}"), "/s", Better::More)),
            ("mounts_p99_us", Row::new(format!("Mounts by {callers}, p99"), "µs", Better::Less)),
            ("walk_ms", Row::new("Walk", "ms", Better::Less)),
        ];
        for _ in 0..bench.options.pairs.unwrap_or(3) {
            for (daemon, is_ours) in [(&ours, true), (&peer, false)] {
                let before = daemon.cpu();
                let said =
                    bench.tools.load(&["read", &daemon.socket(), callers, seconds(bench)])?;
                for (name, row) in &mut family {
                    row.add(is_ours, *said.get(*name).with_context(|| format!("no {name}"))?);
                }
                let cpu = daemon.cpu().zip(before).map(|(after, before)| after - before);
                family[0].1.cost(is_ours, cpu, daemon.memory("VmHWM"));
            }
        }
        let walks = usize::from(callers == "1");
        rows.extend(family.into_iter().take(4 + walks).map(|(_, row)| row));
    }
    Ok(rows)
}

/// The longest wait of a Prepare while as many blobs and snapshots as that go.
pub(super) fn collection(bench: &Bench) -> Result<Vec<Row>> {
    let (ours, peer) = sides(bench)?;
    let count = bench.amount(100_000);
    let mut rows = [
        ("longest_ms", Row::new(format!("{count} go, longest Prepare"), "ms", Better::Less)),
        ("quiet_ms", Row::new("longest Prepare before it", "ms", Better::Less)),
        ("seconds", Row::new(format!("{count} go, all of it"), "s", Better::Less)),
    ];
    for (daemon, is_ours) in [(&ours, true), (&peer, false)] {
        let said = bench.tools.load(&["gc", &daemon.socket(), &count.to_string()])?;
        for (name, row) in &mut rows {
            row.add(is_ours, *said.get(*name).with_context(|| format!("no {name}"))?);
        }
        rows[0].1.cost(is_ours, daemon.cpu(), daemon.memory("VmHWM"));
    }
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn sides(bench: &Bench) -> Result<(Daemon, Daemon)> {
    Ok((
        bench.ours.start(&bench.tools, &bench.work, "full")?,
        bench.peer.start(&bench.tools, &bench.work, "full")?,
    ))
}

fn fill(bench: &Bench, daemons: &[&Daemon], count: u64) -> Result<()> {
    for daemon in daemons {
        bench.tools.load(&["fill", &daemon.socket(), &count.to_string()])?;
    }
    Ok(())
}

fn seconds(bench: &Bench) -> &'static str {
    if bench.options.quick { "2" } else { "5" }
}
