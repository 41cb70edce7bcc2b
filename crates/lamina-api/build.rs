//! Rust from `proto/*.proto`, without `protoc`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    for entry in fs::read_dir("proto")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    let descriptors = protox::compile(&files, ["proto"])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut messages = tonic_prost_build::Config::new();
    // `Any` names its type by the message's full name.
    messages.enable_type_names();
    tonic_prost_build::configure()
        // The tasks service of shims has a method `Connect`, like the constructor this would make.
        .build_transport(false)
        // Content goes through without being copied; labels have the type they have in lamina-core.
        .bytes(".")
        .btree_map(".")
        .include_file("mod.rs")
        .compile_fds_with_config(descriptors, messages)?;
    Ok(())
}
