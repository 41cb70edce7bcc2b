//! Write-back beside the unpacking of a layer, so that the disk is not idle meanwhile and the barrier
//! before the layer's row finds little left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

/// Compressed bytes between two write-backs: enough that each goes in long runs, and that the file
/// system's journal is not committed all the time.
const EVERY: u64 = 32 << 20;

/// Does `work`, which tells how far it is; `write_back` runs on a thread of its own now and then. The
/// last one is waited for: what comes next is the barrier, which would have to wait for the same.
pub(super) fn beside<T>(
    write_back: impl Fn() + Send,
    progress: &(dyn Fn(u64) + Sync),
    work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> T,
) -> T {
    // Whoever is told while it is at work goes on once more, for all who told it.
    let (tell, told) = sync_channel(1);
    thread::scope(|scope| {
        // joined: by the scope
        let helper = thread::Builder::new()
            .name("write-back".to_owned())
            .spawn_scoped(scope, move || told.iter().for_each(|()| write_back()));
        if let Err(error) = helper {
            tracing::debug!(%error, "the barrier has all to do");
        }
        let told_at = AtomicU64::new(0);
        let tell = tell;
        work(&|done| {
            progress(done);
            if done.saturating_sub(told_at.load(Ordering::Relaxed)) >= EVERY {
                told_at.store(done, Ordering::Relaxed);
                // Full, or nobody there: either way there is nothing to wait for.
                let _ = tell.try_send(());
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_back_after_so_many_bytes_and_over_when_the_work_is() {
        let (times, seen) = (AtomicU64::new(0), AtomicU64::new(0));
        let write_back = || {
            times.fetch_add(1, Ordering::Relaxed);
        };
        let progress = |done| seen.store(done, Ordering::Relaxed);
        let done = beside(write_back, &progress, |tell| {
            for done in 0..=10 {
                tell(done * EVERY / 2);
            }
            "done"
        });
        assert_eq!(done, "done");
        assert_eq!(seen.into_inner(), 5 * EVERY, "all progress is passed on");
        let times = times.into_inner();
        assert!((1..=5).contains(&times), "{times}");
        beside(|| unreachable!(), &|_| (), |tell| tell(EVERY - 1));
    }
}
