//! Stat and Mounts, by so many callers for so long, and Walk. On what [`fill`](crate::fill) made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use lamina_core::snapshot::{Info, Snapshotter};
use lamina_core::{Error, Filters, Kind, Result};

pub(crate) async fn run(socket: &str, callers: u64, lasting: Duration) -> Result<()> {
    let snapshots = crate::snapshotter(socket).await?;
    let mut walks = Vec::new();
    let mut all = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        all = walk(&*snapshots).await?;
        walks.push(began.elapsed());
    }
    let writable =
        |info: &&Info| info.name.starts_with("fill-") && info.name.split('-').count() == 2;
    let keys: Vec<String> = all.iter().filter(writable).map(|info| info.name.clone()).collect();
    if keys.is_empty() {
        return Err(Error::new(Kind::NotFound, "no snapshots to read"));
    }
    let keys = Arc::new(keys);
    walks.sort();
    println!("walk_ms={:.2}", walks[walks.len() / 2].as_secs_f64() * 1000.0);
    for what in ["stat", "mounts"] {
        let began = Instant::now();
        let done = crate::side_by_side(callers, |caller| {
            let (snapshots, keys) = (snapshots.clone(), keys.clone());
            async move {
                let mut took = Vec::new();
                let mut at = caller as usize * 7919;
                while began.elapsed() < lasting {
                    at += 1;
                    let (key, asked) = (&keys[at % keys.len()], Instant::now());
                    match what {
                        "stat" => drop(snapshots.stat(key).await?),
                        _ => drop(snapshots.mounts(key).await?),
                    }
                    took.push(asked.elapsed());
                }
                Ok(took)
            }
        })
        .await?;
        let seconds = began.elapsed().as_secs_f64();
        let mut took: Vec<Duration> = done.into_iter().flatten().collect();
        took.sort();
        let p99 = took[took.len() * 99 / 100].as_secs_f64() * 1e6;
        println!("{what}_rate={:.1} {what}_p99_us={p99:.0}", took.len() as f64 / seconds);
    }
    Ok(())
}

async fn walk(snapshots: &dyn Snapshotter) -> Result<Vec<Info>> {
    let pages: Vec<Vec<Info>> = snapshots.walk(Filters::default()).try_collect().await?;
    Ok(pages.into_iter().flatten().collect())
}
