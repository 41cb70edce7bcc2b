//! The load that `cargo xtask bench` puts on a daemon, Lamina or containerd. Prints `name=value` pairs.

mod fill;
mod gc;
mod pull;
mod read;
mod snapshots;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lamina_client::Client;
use lamina_core::snapshot::Snapshotter;
use lamina_core::{Error, Host as _, Labels, Namespace, Result, Scope};

const USAGE: &str = "usage: bench_load answers SOCKET | pull SOCKET NAMESPACE IMAGE CONNECTIONS | \
    snapshots SOCKET CALLERS SECONDS | fill SOCKET COUNT | read SOCKET CALLERS SECONDS | \
    gc SOCKET COUNT";

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_load: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &[&str]) -> Result<()> {
    match args {
        ["answers", socket] => answers(socket).await,
        ["pull", socket, namespace, image, connections] => {
            pull::run(socket, namespace, image, number(connections)?).await
        }
        ["snapshots", socket, callers, seconds] => {
            snapshots::run(socket, number(callers)?, Duration::from_secs(number(seconds)?)).await
        }
        ["fill", socket, count] => fill::run(socket, number(count)?).await,
        ["read", socket, callers, seconds] => {
            read::run(socket, number(callers)?, Duration::from_secs(number(seconds)?)).await
        }
        ["gc", socket, count] => gc::run(socket, number(count)?).await,
        _ => Err(Error::invalid_argument(USAGE)),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::invalid_argument(format!("{text} is no number")))
}

/// Returns when the daemon at `socket` answers a call.
async fn answers(socket: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let answer = match Client::connect(socket).await {
            Ok(client) => client.version().await.map(drop),
            Err(error) => Err(error),
        };
        match answer {
            Err(_) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(1)).await
            }
            answer => return answer,
        }
    }
}

/// The snapshots of the namespace `bench`.
async fn snapshotter(socket: &str) -> Result<std::sync::Arc<dyn Snapshotter>> {
    Client::connect(socket).await?.snapshotter(&scope()?, "overlayfs")
}

fn scope() -> Result<Scope> {
    Ok(Scope::new(Namespace::new("bench")?))
}

/// What keeps a snapshot from being collected.
fn root() -> Labels {
    Labels::from([("containerd.io/gc.root".to_owned(), "bench".to_owned())])
}

/// Runs `work` so many times side by side, and waits for all.
async fn side_by_side<T, F>(callers: u64, work: impl Fn(u64) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let tasks: Vec<_> = (0..callers).map(|caller| tokio::spawn(work(caller))).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.map_err(|error| Error::internal("a caller").with_source(error))??);
    }
    Ok(done)
}
