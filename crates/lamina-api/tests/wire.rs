//! Our messages, enums and services against those that others publish.
//!
//! Two crates ship .proto files that are known to work with containerd: `containerd-client` and
//! `containerd-shim-protos`. Everything in them must be in ours, with the same number, type and name.
//! What only ours have is written out in [`ONLY_OURS`], so that a misspelt field cannot hide as a new
//! one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor,
};
use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};

/// What ours have and no peer, but for the tasks of shims in their second version, which are compared
/// with the third. Read in the published Go module `github.com/containerd/containerd/api`, version
/// 1.12.0; the health service is gRPC's.
const ONLY_OURS: &[(&str, &str)] = &[
    ("containerd.events.ContentCreate.mediaType", "3 single string"),
    ("containerd.runc.v1.CheckpointOptions.parent_path", "10 single string"),
    (
        "containerd.runtime.bootstrap.v1.BootstrapResult.extensions",
        "6 repeated containerd.runtime.bootstrap.v1.Extension",
    ),
    (
        "containerd.runtime.sandbox.v1.Sandbox.UpdateSandbox",
        "containerd.runtime.sandbox.v1.UpdateSandboxRequest -> containerd.runtime.sandbox.v1.UpdateSandboxResponse",
    ),
    ("containerd.runtime.sandbox.v1.UpdateSandboxRequest.fields", "5 repeated string"),
    (
        "containerd.runtime.sandbox.v1.UpdateSandboxRequest.sandbox",
        "4 single containerd.types.Sandbox",
    ),
    ("containerd.services.mounts.v1.ActivateRequest", "message"),
    ("containerd.services.mounts.v1.ActivateRequest.LabelsEntry", "message"),
    ("containerd.services.mounts.v1.ActivateRequest.LabelsEntry.key", "1 single string of a map"),
    ("containerd.services.mounts.v1.ActivateRequest.LabelsEntry.value", "2 single string of a map"),
    (
        "containerd.services.mounts.v1.ActivateRequest.labels",
        "3 repeated containerd.services.mounts.v1.ActivateRequest.LabelsEntry",
    ),
    ("containerd.services.mounts.v1.ActivateRequest.mounts", "2 repeated containerd.types.Mount"),
    ("containerd.services.mounts.v1.ActivateRequest.name", "1 single string"),
    ("containerd.services.mounts.v1.ActivateRequest.temporary", "4 single bool"),
    ("containerd.services.mounts.v1.ActivateResponse", "message"),
    (
        "containerd.services.mounts.v1.ActivateResponse.info",
        "1 single containerd.types.ActivationInfo",
    ),
    ("containerd.services.mounts.v1.DeactivateRequest", "message"),
    ("containerd.services.mounts.v1.DeactivateRequest.name", "1 single string"),
    ("containerd.services.mounts.v1.InfoRequest", "message"),
    ("containerd.services.mounts.v1.InfoRequest.name", "1 single string"),
    ("containerd.services.mounts.v1.InfoResponse", "message"),
    ("containerd.services.mounts.v1.InfoResponse.info", "1 single containerd.types.ActivationInfo"),
    ("containerd.services.mounts.v1.ListMessage", "message"),
    ("containerd.services.mounts.v1.ListMessage.info", "1 single containerd.types.ActivationInfo"),
    ("containerd.services.mounts.v1.ListRequest", "message"),
    ("containerd.services.mounts.v1.ListRequest.filters", "1 repeated string"),
    (
        "containerd.services.mounts.v1.Mounts.Activate",
        "containerd.services.mounts.v1.ActivateRequest -> containerd.services.mounts.v1.ActivateResponse",
    ),
    (
        "containerd.services.mounts.v1.Mounts.Deactivate",
        "containerd.services.mounts.v1.DeactivateRequest -> google.protobuf.Empty",
    ),
    (
        "containerd.services.mounts.v1.Mounts.Info",
        "containerd.services.mounts.v1.InfoRequest -> containerd.services.mounts.v1.InfoResponse",
    ),
    (
        "containerd.services.mounts.v1.Mounts.List",
        "containerd.services.mounts.v1.ListRequest -> stream containerd.services.mounts.v1.ListMessage",
    ),
    (
        "containerd.services.mounts.v1.Mounts.Update",
        "containerd.services.mounts.v1.UpdateRequest -> containerd.services.mounts.v1.UpdateResponse",
    ),
    ("containerd.services.mounts.v1.UpdateRequest", "message"),
    (
        "containerd.services.mounts.v1.UpdateRequest.info",
        "1 single containerd.types.ActivationInfo",
    ),
    (
        "containerd.services.mounts.v1.UpdateRequest.update_mask",
        "2 single google.protobuf.FieldMask",
    ),
    ("containerd.services.mounts.v1.UpdateResponse", "message"),
    (
        "containerd.services.mounts.v1.UpdateResponse.info",
        "1 single containerd.types.ActivationInfo",
    ),
    ("containerd.services.sandbox.v1.ControllerStartResponse.spec", "7 single google.protobuf.Any"),
    ("containerd.services.snapshots.v1.CommitSnapshotRequest.parent", "5 single string"),
    ("containerd.services.tasks.v1.CreateTaskRequest.task_api_address", "11 single string"),
    ("containerd.services.tasks.v1.CreateTaskRequest.task_api_version", "12 single uint32"),
    ("containerd.types.MountCapabilities", "message"),
    ("containerd.types.MountCapabilities.transforms", "2 repeated string"),
    ("containerd.types.MountCapabilities.types", "1 repeated string"),
    ("containerd.types.transfer.ContainerPath", "message"),
    ("containerd.types.transfer.ContainerPath.container_id", "1 single string"),
    ("containerd.types.transfer.ContainerPath.no_walk", "3 single bool"),
    ("containerd.types.transfer.ContainerPath.path", "2 single string"),
    ("containerd.types.transfer.ContainerPath.preserve_ownership", "4 single bool"),
    ("containerd.types.transfer.ReadStream", "message"),
    ("containerd.types.transfer.ReadStream.media_type", "2 single string"),
    ("containerd.types.transfer.ReadStream.stream", "1 single string"),
    ("containerd.types.transfer.WriteStream", "message"),
    ("containerd.types.transfer.WriteStream.media_type", "2 single string"),
    ("containerd.types.transfer.WriteStream.stream", "1 single string"),
    (
        "grpc.health.v1.Health.Check",
        "grpc.health.v1.HealthCheckRequest -> grpc.health.v1.HealthCheckResponse",
    ),
    (
        "grpc.health.v1.Health.Watch",
        "grpc.health.v1.HealthCheckRequest -> stream grpc.health.v1.HealthCheckResponse",
    ),
    ("grpc.health.v1.HealthCheckRequest", "message"),
    ("grpc.health.v1.HealthCheckRequest.service", "1 single string"),
    ("grpc.health.v1.HealthCheckResponse", "message"),
    ("grpc.health.v1.HealthCheckResponse.ServingStatus.NOT_SERVING", "2"),
    ("grpc.health.v1.HealthCheckResponse.ServingStatus.SERVICE_UNKNOWN", "3"),
    ("grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING", "1"),
    ("grpc.health.v1.HealthCheckResponse.ServingStatus.UNKNOWN", "0"),
    (
        "grpc.health.v1.HealthCheckResponse.status",
        "1 single grpc.health.v1.HealthCheckResponse.ServingStatus",
    ),
];

/// Names with the facts that matter on the wire: of a field its number, type, label and oneof, of an
/// enum's value its number, of a method what goes in and out, and what a message has reserved.
type Facts = BTreeMap<String, String>;

#[test]
fn what_others_publish_is_in_ours() {
    let ours = ours();
    let mut wrong = Vec::new();
    for peer in peers() {
        // A peer that was read as nothing would agree with everything.
        assert!(peer.facts.len() > 400, "{}: only {} facts", peer.name, peer.facts.len());
        for (name, fact) in &peer.facts {
            match ours.get(name) {
                Some(found) if found == fact => {}
                found => wrong.push(format!("{}: {name}: {fact}, ours {found:?}", peer.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_only_ours_have_is_listed() {
    let known: BTreeSet<String> = peers().into_iter().flat_map(|p| p.facts.into_keys()).collect();
    let ours = ours();
    let extra = ours.iter().map(|(name, fact)| (name.as_str(), fact.as_str()));
    let extra: Vec<_> = extra
        .filter(|(name, _)| !known.contains(*name) && !name.starts_with("containerd.task.v2."))
        .collect();
    assert_eq!(extra, ONLY_OURS);
}

/// The two versions differ in who is spoken to, not in what is said.
#[test]
fn tasks_v2_are_tasks_v3() {
    let ours = ours();
    let of = |version: &str| -> Facts {
        let package = format!("containerd.task.{version}.");
        ours.iter()
            .filter_map(|(name, fact)| {
                Some((name.strip_prefix(&package)?.to_owned(), fact.replace(&package, "")))
            })
            .collect()
    };
    let (v2, v3) = (of("v2"), of("v3"));
    assert!(v2.contains_key("Task.Shutdown"));
    assert_eq!(v2, v3);
}

fn ours() -> Facts {
    facts(&DescriptorPool::decode(lamina_api::proto::DESCRIPTORS).unwrap())
}

fn facts(pool: &DescriptorPool) -> Facts {
    let mut facts = Facts::new();
    for message in pool.all_messages().filter(|m| m.package_name() != "google.protobuf") {
        // An empty message is a fact too.
        facts.insert(message.full_name().to_owned(), "message".to_owned());
        if !message.is_map_entry() {
            let reserved: BTreeSet<_> = message.reserved_ranges().flatten().collect();
            for number in reserved {
                facts.insert(format!("{}.{number}", message.full_name()), "reserved".to_owned());
            }
        }
        facts.extend(message.fields().map(|f| (f.full_name().to_owned(), field(&f, &message))));
    }
    for of in pool.all_enums().filter(|e| e.package_name() != "google.protobuf") {
        facts.extend(values(&of));
    }
    for service in pool.services() {
        facts.extend(service.methods().map(|m| (m.full_name().to_owned(), method(&m))));
    }
    facts
}

fn field(field: &FieldDescriptor, of: &MessageDescriptor) -> String {
    let label = match field.cardinality() {
        Cardinality::Repeated => "repeated",
        Cardinality::Required => "required",
        Cardinality::Optional if field.field_descriptor_proto().proto3_optional() => "optional",
        Cardinality::Optional => "single",
    };
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let oneof = match field.containing_oneof() {
        Some(oneof) if !oneof.is_synthetic() => format!(" in {}", oneof.name()),
        _ => String::new(),
    };
    let map = if of.is_map_entry() { " of a map" } else { "" };
    format!("{} {label} {kind}{oneof}{map}", field.number())
}

fn values(of: &EnumDescriptor) -> Vec<(String, String)> {
    of.values()
        .map(|v| (format!("{}.{}", of.full_name(), v.name()), v.number().to_string()))
        .collect()
}

fn method(method: &MethodDescriptor) -> String {
    let stream = |streams: bool| if streams { "stream " } else { "" };
    format!(
        "{}{} -> {}{}",
        stream(method.is_client_streaming()),
        method.input().full_name(),
        stream(method.is_server_streaming()),
        method.output().full_name()
    )
}

struct Peer {
    name: &'static str,
    facts: Facts,
}

fn peers() -> Vec<Peer> {
    let found = package_roots();
    ["containerd-client", "containerd-shim-protos"]
        .into_iter()
        .map(|name| {
            let vendor = found.get(name).unwrap_or_else(|| panic!("{name} is not in the graph"));
            Peer { name, facts: facts(&compile(&vendor.join("vendor"))) }
        })
        .collect()
}

/// Where cargo keeps each package of the lock file. It fetches what is not there yet.
fn package_roots() -> BTreeMap<String, PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            (text(&package["name"]), manifest.parent().unwrap().to_owned())
        })
        .collect()
}

/// Every file of containerd's API below `vendor`.
fn compile(vendor: &Path) -> DescriptorPool {
    let api = vendor.join(API);
    let mut files = Vec::new();
    list(&api, &mut files);
    let mut compiler = Compiler::with_file_resolver(Vendored { vendor: vendor.to_owned() });
    compiler.include_imports(true);
    for file in files {
        compiler.open_file(file.strip_prefix(&api).unwrap()).unwrap();
    }
    compiler.descriptor_pool()
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
}

const API: &str = "github.com/containerd/containerd/api/";

/// Finds imports. One file is imported both with and without [`API`] before its path; here it is
/// always without, since a file under two names would define everything twice.
struct Vendored {
    vendor: PathBuf,
}

impl FileResolver for Vendored {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        for root in [self.vendor.join(API), self.vendor.clone()] {
            if let Ok(source) = fs::read_to_string(root.join(name)) {
                let source = source.replace(&format!("import \"{API}"), "import \"");
                return File::from_source(name, &source);
            }
        }
        GoogleFileResolver::new().open_file(name)
    }
}
