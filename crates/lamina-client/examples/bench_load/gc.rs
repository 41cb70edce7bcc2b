//! How long a Prepare waits while much is collected: blobs and snapshots that one lease held.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lamina_client::Client;
use lamina_core::content::{CommitOptions, WriteOptions};
use lamina_core::snapshot::Snapshotter;
use lamina_core::{Digest, Host as _, Labels, Result};

const CALLERS: u64 = 64;

/// Half of `count` are blobs, half snapshots.
pub(crate) async fn run(socket: &str, count: u64) -> Result<()> {
    let client = Client::connect(socket).await?;
    let scope = crate::scope()?;
    let leases = client.leases(&scope);
    leases.create("garbage", Labels::new()).await?;
    let leased = scope.clone().with_lease("garbage");
    let (content, snapshots) = (client.content(&leased), client.snapshotter(&leased, "overlayfs")?);
    crate::side_by_side(CALLERS, |caller| {
        let (content, snapshots) = (content.clone(), snapshots.clone());
        async move {
            for at in (caller..count / 2).step_by(CALLERS as usize) {
                snapshots.prepare(&format!("garbage-{at}"), "", Labels::new()).await?;
                let bytes = Bytes::from(format!("garbage {at}"));
                let digest = Digest::sha256(&bytes);
                let options = WriteOptions { expected: Some(digest), total: bytes.len() as u64 };
                let mut writer = content.writer(&format!("garbage-{at}"), options).await?;
                writer.write(bytes).await?;
                writer.commit(CommitOptions::default()).await?;
            }
            Ok(())
        }
    })
    .await?;
    let snapshots = client.snapshotter(&scope, "overlayfs")?;
    let quiet = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(())
    };
    let before = longest(&*snapshots, "before", quiet).await?;
    let began = Instant::now();
    let meanwhile = longest(&*snapshots, "during", leases.delete("garbage", true)).await?;
    println!(
        "quiet_ms={:.2} longest_ms={:.2} seconds={:.3}",
        before.as_secs_f64() * 1000.0,
        meanwhile.as_secs_f64() * 1000.0,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Prepares one after the other until `end`, and answers the longest that one took.
async fn longest(
    snapshots: &dyn Snapshotter,
    name: &str,
    end: impl Future<Output = Result<()>>,
) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    let mut end = std::pin::pin!(end);
    let mut ended = false;
    for at in 0.. {
        let (key, asked) = (format!("{name}-{at}"), Instant::now());
        let prepare = snapshots.prepare(&key, "", crate::root());
        let mut prepare = std::pin::pin!(prepare);
        loop {
            tokio::select! {
                biased;
                prepared = &mut prepare => { prepared?; break }
                end = &mut end, if !ended => {
                    end?;
                    ended = true;
                }
            }
        }
        longest = longest.max(asked.elapsed());
        if ended {
            break;
        }
    }
    Ok(longest)
}
