//! The service Mounts.

use lamina_api::proto::containerd::services::mounts::v1 as proto;
use lamina_api::proto::containerd::types::{ActivationInfo, Mount};
use lamina_testkit::env::skip::require_root;
use lamina_testkit::or_skip;
use proto::mounts_client::MountsClient;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::support::{Server, call, call_in, refused};
use crate::{map, texts};

fn bind(source: &str) -> Mount {
    Mount {
        r#type: "bind".to_owned(),
        source: source.to_owned(),
        options: texts(&["rbind", "ro"]),
        ..Default::default()
    }
}

fn activate(name: &str, mounts: Vec<Mount>) -> Request<proto::ActivateRequest> {
    call(proto::ActivateRequest { name: name.to_owned(), mounts, ..Default::default() })
}

fn info(name: &str) -> Request<proto::InfoRequest> {
    call(proto::InfoRequest { name: name.to_owned() })
}

fn deactivate(name: &str) -> Request<proto::DeactivateRequest> {
    call(proto::DeactivateRequest { name: name.to_owned() })
}

async fn names(client: &mut MountsClient<Channel>, filters: &[&str]) -> Vec<String> {
    let asked = proto::ListRequest { filters: texts(filters) };
    let mut stream = client.list(call(asked)).await.unwrap().into_inner();
    let mut names = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        names.push(message.info.unwrap().name);
    }
    names
}

#[tokio::test]
async fn clients_mount_by_themselves_what_needs_no_handler() {
    let server = Server::start().await;
    let mut client = MountsClient::new(server.channel());
    let plain = client.activate(activate("a", vec![bind("/")])).await;
    refused("a bind mount", plain, Code::Unimplemented, "\"a\"");
    for (what, request) in
        [("no name", activate("", vec![bind("/")])), ("no mounts", activate("a", Vec::new()))]
    {
        refused(what, client.activate(request).await, Code::InvalidArgument, "");
    }
    refused("info", client.info(info("a")).await, Code::NotFound, "\"a\"");
    refused("deactivate", client.deactivate(deactivate("a")).await, Code::NotFound, "\"a\"");
    let named = Some(ActivationInfo { name: "a".to_owned(), ..Default::default() });
    let update = proto::UpdateRequest { info: named, update_mask: None };
    // containerd does not even look whether there is such an activation.
    refused("update", client.update(call(update)).await, Code::Unimplemented, "\"a\"");
    let bad = call(proto::ListRequest { filters: texts(&["name=a"]) });
    refused("a filter", client.list(bad).await, Code::InvalidArgument, "filters: ");
    let nowhere = Request::new(proto::ListRequest::default());
    refused("no namespace", client.list(nowhere).await, Code::FailedPrecondition, "namespace");
    assert!(names(&mut client, &[]).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn privileged_a_temporary_activation_is_mounted_and_goes() {
    or_skip!("privileged_a_temporary_activation_is_mounted_and_goes", require_root());
    let server = Server::start().await;
    let mut client = MountsClient::new(server.channel());
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("there"), "yes").unwrap();
    let mut request = activate("a", vec![bind(&source.path().display().to_string())]);
    (request.get_mut().temporary, request.get_mut().labels) = (true, map(&[("x", "y")]));
    let made = client.activate(request).await.unwrap().into_inner().info.unwrap();
    assert_eq!((made.name.as_str(), &made.labels), ("a", &map(&[("x", "y")])));
    let point = std::path::PathBuf::from(&made.active[0].mount_point);
    assert_eq!(std::fs::read_to_string(point.join("there")).unwrap(), "yes");
    assert_eq!(made.system[0].source, made.active[0].mount_point);

    let mut again = activate("a", vec![bind("/")]);
    again.get_mut().temporary = true;
    refused("a name in use", client.activate(again).await, Code::AlreadyExists, "\"a\"");
    let found = client.info(info("a")).await.unwrap().into_inner().info.unwrap();
    assert_eq!(found, made);
    for (filters, want) in
        [(&[][..], &["a"][..]), (&["name==b"], &[]), (&["name==b", "labels.x==y"], &["a"])]
    {
        assert_eq!(names(&mut client, filters).await, want, "{filters:?}");
    }
    let elsewhere = client.info(call_in("other", proto::InfoRequest { name: "a".to_owned() }));
    refused("another namespace", elsewhere.await, Code::NotFound, "\"a\"");

    client.deactivate(deactivate("a")).await.unwrap();
    assert!(!point.join("there").exists());
    refused("deactivated twice", client.deactivate(deactivate("a")).await, Code::NotFound, "\"a\"");
    server.stop().await;
}
