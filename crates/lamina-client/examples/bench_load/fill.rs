//! Committed snapshots in chains of ten, with a writable one on each chain.

use lamina_core::Result;
use lamina_core::snapshot::CommitOptions;

const CALLERS: u64 = 64;
const CHAIN: u64 = 10;

pub(crate) async fn run(socket: &str, count: u64) -> Result<()> {
    let snapshots = crate::snapshotter(socket).await?;
    let chains = (count / (CHAIN + 1)).max(1);
    crate::side_by_side(CALLERS, |caller| {
        let snapshots = snapshots.clone();
        async move {
            for chain in (caller..chains).step_by(CALLERS as usize) {
                let mut parent = String::new();
                for layer in 0..CHAIN {
                    let name = format!("fill-{chain}-{layer}");
                    let key = format!("{name}-active");
                    snapshots.prepare(&key, &parent, crate::root()).await?;
                    let options = CommitOptions { labels: crate::root(), parent: None };
                    snapshots.commit(&name, &key, options).await?;
                    parent = name;
                }
                snapshots.prepare(&format!("fill-{chain}"), &parent, crate::root()).await?;
            }
            Ok(())
        }
    })
    .await?;
    println!("count={}", chains * (CHAIN + 1));
    Ok(())
}
