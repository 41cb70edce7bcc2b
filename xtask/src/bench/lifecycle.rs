//! How soon a daemon answers, and what it keeps in memory.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use super::daemon::Side;
use super::row::{Better, Row};

/// From the start of the process until a call is answered.
pub(super) fn start(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for full in [0, 20_000, 100_000] {
        let count = bench.amount(full);
        let mut row = Row::new(format!("with {count} snapshots"), "ms", Better::Less);
        for side in [&bench.ours, &bench.peer] {
            // Filling containerd with so many takes longer than all else.
            let skipped = full == 100_000 && !side.is_ours();
            if skipped || matches!(side, Side::Running(_)) {
                continue;
            }
            // What fills it is measured elsewhere; how it starts is the same after either.
            let mut daemon = side.start(&bench.tools, &bench.work, "none")?;
            if count > 0 {
                bench.tools.load(&["fill", &daemon.socket(), &count.to_string()])?;
            }
            let Some(folder) = daemon.folder.clone() else { continue };
            for _ in 0..bench.options.pairs.unwrap_or(5) {
                daemon.stop()?;
                let began = Instant::now();
                let started = side.start_in(&bench.tools, &folder, "full")?;
                row.add(side.is_ours(), began.elapsed().as_secs_f64() * 1000.0);
                row.cost(side.is_ours(), started.cpu(), started.memory("VmHWM"));
                // The folder stays with the first.
                daemon.take_over(started);
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Resident memory of a daemon that does nothing.
pub(super) fn memory(bench: &Bench) -> Result<Vec<Row>> {
    let wait = Duration::from_secs(if bench.options.quick { 5 } else { 60 });
    let count = bench.amount(20_000);
    let mut idle = Row::new(format!("{} s idle", wait.as_secs()), "MB", Better::Less);
    let mut filled = Row::new(format!("with {count} snapshots"), "MB", Better::Less);
    for side in [&bench.ours, &bench.peer] {
        let daemon = side.start(&bench.tools, &bench.work, "full")?;
        std::thread::sleep(wait);
        daemon.memory("VmRSS").into_iter().for_each(|it| idle.add(side.is_ours(), it));
        bench.tools.load(&["fill", &daemon.socket(), &count.to_string()])?;
        std::thread::sleep(Duration::from_secs(5));
        daemon.memory("VmRSS").into_iter().for_each(|it| filled.add(side.is_ours(), it));
        filled.cost(side.is_ours(), daemon.cpu(), daemon.memory("VmHWM"));
    }
    filled.note = "the peak of a pull is with the pulls".into();
    Ok(vec![idle, filled])
}
