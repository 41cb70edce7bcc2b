//! Durable Prepares per second, by one caller and by many, and what each costs the disk. Run by
//! `cargo xtask bench group-commit`, in release.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lamina_core::{Error, Labels, Namespace, Result, Scope};
use lamina_store::{Options, Store};

const LASTING: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "/tmp".to_owned());
    // `native` makes whole file systems durable, as it copies; overlayfs shows what the engine costs.
    let snapshotter = if lamina_sys::kernel::is_root() { "overlayfs" } else { "native" };
    println!("durable Prepares of empty `{snapshotter}` snapshots below {dir}, {LASTING:?} each");
    println!(
        "{:>8} {:>12} {:>12} {:>14} {:>14}",
        "callers", "per second", "commits", "commits/op", "flushes/op"
    );
    for callers in [1, 64] {
        measure(Path::new(&dir), snapshotter, callers)?;
    }
    Ok(())
}

fn measure(dir: &Path, snapshotter: &str, callers: usize) -> Result<()> {
    let root = dir.join(format!("lamina-group-commit-{}-{callers}", std::process::id()));
    let store = Store::open(Options::new(root.join("root"), root.join("state")))?;
    let handle = store.snapshots(&Scope::new(Namespace::new("bench")?), snapshotter)?;
    let before = (store.database_stats().commits, store.engine(snapshotter)?.flushes());
    let began = Instant::now();
    let threads: Vec<_> = (0..callers)
        .map(|caller| {
            let handle = handle.clone();
            thread::spawn(move || {
                let mut done = 0_u64;
                while began.elapsed() < LASTING {
                    handle.prepare_now(&format!("{caller}-{done}"), "", Labels::new())?;
                    done += 1;
                }
                Ok::<u64, Error>(done)
            })
        })
        .collect();
    let mut done = 0;
    for thread in threads {
        done += thread.join().map_err(|_| Error::internal("a caller panicked"))??;
    }
    let took = began.elapsed().as_secs_f64();
    let commits = store.database_stats().commits - before.0;
    let flushes = store.engine(snapshotter)?.flushes() - before.1;
    let per_op = |count: u64| count as f64 / done.max(1) as f64;
    println!(
        "{callers:>8} {:>12.0} {commits:>12} {:>14.3} {:>14.3}",
        done as f64 / took,
        per_op(commits),
        per_op(flushes)
    );
    store.close()?;
    drop((handle, store));
    std::fs::remove_dir_all(&root)
        .map_err(|e| Error::internal(format!("remove {}", root.display())).with_source(e))
}
