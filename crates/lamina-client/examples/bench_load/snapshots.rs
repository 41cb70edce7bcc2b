//! Prepare, Commit and Remove, by so many callers for so long.

use std::time::{Duration, Instant};

use lamina_core::Result;
use lamina_core::snapshot::CommitOptions;

pub(crate) async fn run(socket: &str, callers: u64, lasting: Duration) -> Result<()> {
    let snapshots = crate::snapshotter(socket).await?;
    let (process, began) = (std::process::id(), Instant::now());
    let done = crate::side_by_side(callers, |caller| {
        let snapshots = snapshots.clone();
        async move {
            let mut done = 0_u64;
            while began.elapsed() < lasting {
                let key = format!("load-{process}-{caller}-{done}");
                let name = format!("{key}-committed");
                snapshots.prepare(&key, "", crate::root()).await?;
                let options = CommitOptions { labels: crate::root(), parent: None };
                snapshots.commit(&name, &key, options).await?;
                snapshots.remove(&name).await?;
                done += 1;
            }
            Ok(done)
        }
    })
    .await?;
    let rate = (3 * done.iter().sum::<u64>()) as f64 / began.elapsed().as_secs_f64();
    println!("rate={rate:.1}");
    Ok(())
}
