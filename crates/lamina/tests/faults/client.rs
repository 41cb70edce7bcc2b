//! A connection, and calls of bytes.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes};
use lamina_api::proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::daemon::Site;

/// A connection of its own.
pub(crate) async fn connect(site: &Site) -> Channel {
    try_connect(site).await.unwrap()
}

pub(crate) async fn try_connect(site: &Site) -> Result<Channel, tonic::transport::Error> {
    let target = format!("unix://{}", site.socket().display());
    Endpoint::from_shared(target).unwrap().connect().await
}

/// A call in the namespace `test`.
pub(crate) fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", "test".parse().unwrap());
    request
}

/// A call that gives what it makes to a lease.
pub(crate) fn leased<T>(lease: &str, message: T) -> Request<T> {
    let mut request = call(message);
    request.metadata_mut().insert("containerd-lease", lease.parse().unwrap());
    request
}

/// Every method that is served over gRPC, by its path.
pub(crate) fn methods() -> BTreeMap<String, MethodDescriptorProto> {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut methods = BTreeMap::new();
    for file in files.file {
        let package = file.package().to_owned();
        let served = package.starts_with("containerd.services.") && !package.contains(".ttrpc.");
        if !served && package != "grpc.health.v1" {
            continue;
        }
        for service in file.service {
            let name = service.name().to_owned();
            for method in service.method {
                methods.insert(format!("/{package}.{name}/{}", method.name()), method);
            }
        }
    }
    assert!(methods.len() > 80, "{methods:?}");
    methods
}

/// Messages as their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
