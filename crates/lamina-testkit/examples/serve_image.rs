//! Serves an image made of the layer tars on the command line from a registry on loopback, until its
//! standard input ends: `serve_image REPOSITORY TAG LAYER.tar...`. Prints the registry's address.

use std::io::Read as _;
use std::process::ExitCode;

use lamina_testkit::honest::HonestRegistry;
use lamina_testkit::image::{Flavor, ImageBuilder};
use serde_json::json;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [repository, tag, layers @ ..] = args.as_slice() else {
        eprintln!("usage: serve_image REPOSITORY TAG LAYER.tar...");
        return ExitCode::from(2);
    };
    let mut image = ImageBuilder::new(Flavor::Oci).config(json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cmd": ["redis-server", "--protected-mode", "no"],
    }));
    for layer in layers {
        match std::fs::read(layer) {
            Ok(tar) => image = image.layer(tar),
            Err(error) => {
                eprintln!("read {layer}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let registry = match HonestRegistry::start() {
        Ok(registry) => registry,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    registry.push(repository, tag, &image.build());
    println!("{}", registry.host());
    // Whoever started us closes our input when it is done, however it ends.
    let ended = std::io::stdin().read_to_end(&mut Vec::new());
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
