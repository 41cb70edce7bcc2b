//! What `cargo xtask bench` needs of data: images made from a seed, a registry that serves them, and
//! the limits of the hardware.
//!
//! `bench_data image DIR NAME PERCENT`, `bench_data serve DIR`, `bench_data limit WHAT DIR AMOUNT`

mod bytes;
mod image;
mod layer;
mod limit;
mod serve;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_data: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    match args {
        ["image", dir, name, percent] => image::make(Path::new(dir), name, percent.parse()?),
        ["serve", dir] => serve::serve(Path::new(dir)),
        ["limit", what, dir, amount] => limit::measure(what, Path::new(dir), amount.parse()?),
        _ => {
            Err("usage: bench_data image DIR NAME PERCENT | serve DIR | limit WHAT DIR AMOUNT"
                .into())
        }
    }
}
