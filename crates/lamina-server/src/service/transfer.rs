//! `containerd.services.transfer.v1.Transfer`. Which transfer it is follows from the types of its ends.

use std::sync::Arc;

use lamina_api::convert::{any, field, platform, transfer as convert};
use lamina_api::proto::containerd::services::transfer::v1 as proto;
use lamina_api::proto::containerd::types::transfer as ends;
use lamina_core::credentials::{Anonymous, Credentials};
use lamina_core::transfer::{
    Destination, ExportStream, ImportStream, RegistryEnd, Source, TransferOptions,
};
use lamina_core::{Error, Result, Scope, Transfer as _};
use prost_types::Any;
use proto::transfer_server::TransferServer;
use tonic::Request;

use super::scope::scope;
use super::{Answer, status};
use crate::parts::Parts;
use crate::streams::Stream;
use crate::transfer::{Board, FromStream, Outgoing, Transfers, incoming};

#[derive(Debug)]
pub(super) struct Transfer(Parts);

pub(super) fn server(parts: &Parts) -> TransferServer<Transfer> {
    TransferServer::new(Transfer(parts.clone()))
}

#[tonic::async_trait]
impl proto::transfer_server::Transfer for Transfer {
    async fn transfer(&self, request: Request<proto::TransferRequest>) -> Answer<()> {
        let scope = scope(&request)?;
        let asked = request.into_inner();
        self.run(scope, asked).await.map(tonic::Response::new).map_err(status)
    }
}

impl Transfer {
    async fn run(&self, scope: Scope, asked: proto::TransferRequest) -> Result<()> {
        let source = field::required("source", asked.source)?;
        let destination = field::required("destination", asked.destination)?;
        check_pair(&source, &destination)?;
        let source = self.source(&scope, &source)?;
        let destination = self.destination(&scope, &destination)?;
        let id = asked.options.unwrap_or_default().progress_stream;
        let stream = self.stream(&scope, &id)?;
        let store = self.0.store.clone();
        let transfers = Transfers { store, shared: self.0.transfer.clone(), scope };
        let Some(stream) = stream else {
            return transfers.transfer(source, destination, TransferOptions::default()).await;
        };
        let board = Arc::new(Board::default());
        let options = TransferOptions { progress: Some(board.clone()) };
        board.tell(&stream, transfers.transfer(source, destination, options)).await
    }

    fn source(&self, scope: &Scope, from: &Any) -> Result<Source> {
        if any::is::<ends::OciRegistry>(from) {
            return self.registry(scope, any::unpack("source", from)?).map(Source::Registry);
        }
        if any::is::<ends::ImageImportStream>(from) {
            let from: ends::ImageImportStream = any::unpack("source", from)?;
            return Ok(Source::Stream(ImportStream {
                bytes: incoming(self.bytes(scope, &from.stream)?),
                media_type: from.media_type,
                force_compress: from.force_compress,
            }));
        }
        convert::decode_stored_images(any::unpack("source", from)?).map(Source::Images)
    }

    fn destination(&self, scope: &Scope, to: &Any) -> Result<Destination> {
        if any::is::<ends::OciRegistry>(to) {
            return self
                .registry(scope, any::unpack("destination", to)?)
                .map(Destination::Registry);
        }
        if any::is::<ends::ImageExportStream>(to) {
            let to: ends::ImageExportStream = any::unpack("destination", to)?;
            return Ok(Destination::Stream(ExportStream {
                bytes: Box::new(Outgoing::new(self.bytes(scope, &to.stream)?)),
                media_type: to.media_type,
                platforms: platform::decode_all(to.platforms),
                all_platforms: to.all_platforms,
                skip_docker_manifest: to.skip_compatibility_manifest,
                skip_non_distributable: to.skip_non_distributable,
            }));
        }
        convert::decode_new_images(any::unpack("destination", to)?).map(Destination::Images)
    }

    fn registry(&self, scope: &Scope, registry: ends::OciRegistry) -> Result<RegistryEnd> {
        let resolver = registry.resolver.as_ref();
        let id = resolver.map(|r| r.auth_stream.as_str()).unwrap_or_default();
        let credentials: Arc<dyn Credentials> = match self.stream(scope, id)? {
            Some(stream) => Arc::new(FromStream::new(stream)),
            None => Arc::new(Anonymous),
        };
        // Requests are not dumped: they hold secrets. Its reader sees the end of an empty log.
        let id = resolver.map(|r| r.logs_stream.as_str()).unwrap_or_default();
        drop(self.stream(scope, id)?);
        Ok(convert::decode_registry(registry, credentials))
    }

    /// Takes the stream that an archive goes over.
    fn bytes(&self, scope: &Scope, id: &str) -> Result<Stream> {
        self.stream(scope, id)?
            .ok_or_else(|| Error::invalid_argument("the archive's end names no stream"))
    }

    /// Takes a stream of the client; none for an empty id.
    fn stream(&self, scope: &Scope, id: &str) -> Result<Option<Stream>> {
        if id.is_empty() {
            return Ok(None);
        }
        self.0.streams.take(&scope.namespace, id).map(Some)
    }
}

/// Refuses pairs of ends that are no transfer here, before any stream is taken for them.
fn check_pair(source: &Any, destination: &Any) -> Result<()> {
    let registry = any::is::<ends::OciRegistry>;
    let images = any::is::<ends::ImageStore>;
    let (import, export) = (any::is::<ends::ImageImportStream>, any::is::<ends::ImageExportStream>);
    let from_here =
        images(source) && (images(destination) || registry(destination) || export(destination));
    if from_here || (registry(source) || import(source)) && images(destination) {
        return Ok(());
    }
    Err(Error::unimplemented(format!(
        "transfer from {} to {} is not implemented by this daemon",
        source.type_url, destination.type_url
    )))
}
