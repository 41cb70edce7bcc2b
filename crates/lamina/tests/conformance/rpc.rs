//! Every RPC: whether there is one.

use std::collections::BTreeMap;

use lamina_api::proto::DESCRIPTORS;
use lamina_testkit::daemon::{Daemon, Program};
use lamina_testkit::or_skip;
use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::table::{Section, Table};
use crate::{client, subject};

/// `service/method` of all that a daemon answers over gRPC.
fn methods() -> Vec<String> {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut methods = Vec::new();
    for file in &files.file {
        let package = file.package();
        // Shims are asked in ttrpc, and ask in it.
        let served = package.starts_with("containerd.services.") && !package.contains(".ttrpc.");
        if !served && package != "grpc.health.v1" {
            continue;
        }
        for service in &file.service {
            let name = |method: &str| format!("{package}.{}/{method}", service.name());
            methods.extend(service.method.iter().map(|method| name(method.name())));
        }
    }
    methods.sort();
    methods
}

/// What a daemon says to each: `served`, or `UNIMPLEMENTED`.
fn probe(program: &Program) -> Result<BTreeMap<String, String>, String> {
    let methods = methods();
    let daemon = Daemon::start(program);
    let run = client::run(&daemon, "^TestProbe$", &["-methods", &methods.join(",")])?;
    assert!(run.passed, "{}", run.output);
    let mut found = BTreeMap::new();
    for line in run.output.lines() {
        if let ["probe", method, code] = line.split(' ').collect::<Vec<_>>()[..] {
            let state = if code == "Unimplemented" { "UNIMPLEMENTED" } else { "served" };
            found.insert(method.to_owned(), state.to_owned());
        }
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), methods.iter().collect::<Vec<_>>());
    Ok(found)
}

#[test]
fn the_table_has_every_rpc() {
    let table = Table::read(Section::Rpcs);
    assert_eq!(table.names(), methods());
    for (method, remark) in table.remarks("Lamina", "UNIMPLEMENTED") {
        assert!(!remark.is_empty(), "{method} is not implemented, and nothing says why");
    }
}

#[test]
fn the_table_is_true_of_containerd() {
    let name = "rpc_the_table_is_true_of_containerd";
    let program = or_skip!(name, subject::containerd2());
    let found = or_skip!(name, probe(&program));
    Table::read(Section::Rpcs).check("containerd 2.3.4", &found);
}

#[test]
fn the_table_is_true_of_lamina() {
    let name = "rpc_the_table_is_true_of_lamina";
    let program = or_skip!(name, subject::lamina());
    let found = or_skip!(name, probe(&program));
    Table::read(Section::Rpcs).check("Lamina", &found);
}
