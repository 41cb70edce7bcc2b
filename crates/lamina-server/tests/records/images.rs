//! The service Images, over its socket: each status, and what field masks and dates do.

use lamina_api::proto::containerd::services::images::v1 as proto;
use lamina_api::proto::containerd::types::Descriptor;
use prost_types::{FieldMask, Timestamp};
use proto::images_client::ImagesClient;

use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::map;
use crate::support::{Server, call, call_in, refused};

type Client = ImagesClient<Channel>;

fn digest(of: &str) -> String {
    lamina_core::Digest::sha256(of.as_bytes()).to_string()
}

fn target(of: &str) -> Descriptor {
    Descriptor {
        media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
        digest: digest(of),
        size: 7,
        annotations: map(&[("made.of", of)]),
    }
}

fn image(name: &str) -> proto::Image {
    proto::Image {
        name: name.to_owned(),
        labels: map(&[("a", "1"), ("b", "2")]),
        target: Some(target("one")),
        ..Default::default()
    }
}

fn create(image: proto::Image) -> Request<proto::CreateImageRequest> {
    call(proto::CreateImageRequest { image: Some(image), source_date_epoch: None })
}

fn update(image: proto::Image, paths: &[&str]) -> Request<proto::UpdateImageRequest> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    call(proto::UpdateImageRequest {
        image: Some(image),
        update_mask: Some(FieldMask { paths }),
        source_date_epoch: None,
    })
}

fn get(name: &str) -> Request<proto::GetImageRequest> {
    call(proto::GetImageRequest { name: name.to_owned() })
}

fn delete(name: &str) -> proto::DeleteImageRequest {
    proto::DeleteImageRequest { name: name.to_owned(), ..Default::default() }
}

async fn names(client: &mut Client, filters: &[&str]) -> Vec<String> {
    let filters = filters.iter().map(|text| (*text).to_owned()).collect();
    let answer = client.list(call(proto::ListImagesRequest { filters })).await.unwrap();
    answer.into_inner().images.into_iter().map(|image| image.name).collect()
}

#[tokio::test]
async fn records_are_made_listed_and_deleted() {
    let server = Server::start().await;
    let mut client = ImagesClient::new(server.channel());

    let made = client.create(create(image("redis"))).await.unwrap().into_inner().image.unwrap();
    assert_eq!((&made.labels, &made.target), (&image("").labels, &Some(target("one"))));
    assert!(made.created_at.unwrap().seconds > 1_700_000_000, "{made:?}");
    assert_eq!(made.created_at, made.updated_at);
    let found = client.get(get("redis")).await.unwrap().into_inner().image.unwrap();
    assert_eq!(found, made);

    let other = proto::Image { target: Some(target("two")), ..image("nginx") };
    client.create(create(other)).await.unwrap();
    let one = digest("one");
    for (filters, want) in [
        (&[][..], &["nginx", "redis"][..]),
        (&["name==redis"], &["redis"]),
        (&["name==redis", "name~=^ng"], &["nginx", "redis"]),
        (&["name==redis,labels.a==2"], &[]),
        (&["labels.\"b\"==2"], &["nginx", "redis"]),
        (&[&format!("target.digest=={one}")], &["redis"]),
        (&["target.digest~=^sha256:,name!=redis"], &["nginx"]),
    ] {
        assert_eq!(names(&mut client, filters).await, want, "{filters:?}");
    }
    let elsewhere = call_in("other", proto::ListImagesRequest::default());
    assert!(client.list(elsewhere).await.unwrap().into_inner().images.is_empty());

    client.delete(call(delete("redis"))).await.unwrap();
    let again = client.delete(call(delete("redis"))).await;
    refused("deleted twice", again, Code::NotFound, "redis");
    assert_eq!(names(&mut client, &[]).await, ["nginx"]);

    let server = server.restart().await;
    assert_eq!(names(&mut ImagesClient::new(server.channel()), &[]).await, ["nginx"]);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let server = Server::start().await;
    let mut client = ImagesClient::new(server.channel());
    client.create(create(image("redis"))).await.unwrap();

    let with = |change: fn(&mut Descriptor)| {
        let mut descriptor = target("one");
        change(&mut descriptor);
        proto::Image { target: Some(descriptor), ..image("new") }
    };
    let long = "v".repeat(4096);
    for (what, asked, code, text) in [
        ("a name in use", image("redis"), Code::AlreadyExists, "redis"),
        ("no name", image(""), Code::InvalidArgument, "name"),
        ("size 0", with(|target| target.size = 0), Code::InvalidArgument, "size"),
        ("a negative size", with(|target| target.size = -1), Code::InvalidArgument, "size"),
        ("no media type", with(|target| target.media_type.clear()), Code::InvalidArgument, "media"),
        ("no digest", with(|target| target.digest.clear()), Code::InvalidArgument, "digest"),
        ("half a digest", with(|t| t.digest.truncate(20)), Code::InvalidArgument, "digest"),
        (
            "no target",
            proto::Image { target: None, ..image("new") },
            Code::InvalidArgument,
            "target",
        ),
        (
            "a long label",
            proto::Image { labels: map(&[("k", &long)]), ..image("new") },
            Code::InvalidArgument,
            "4096",
        ),
    ] {
        refused(what, client.create(create(asked.clone())).await, code, text);
    }
    let nothing = call(proto::CreateImageRequest::default());
    refused("no image", client.create(nothing).await, Code::InvalidArgument, "image");

    refused("get", client.get(get("new")).await, Code::NotFound, "new");
    let bad = proto::ListImagesRequest { filters: vec!["name=redis".to_owned()] };
    refused("a filter", client.list(call(bad)).await, Code::InvalidArgument, "filters: ");
    let nowhere = Request::new(proto::GetImageRequest { name: "redis".to_owned() });
    refused("no namespace", client.get(nowhere).await, Code::FailedPrecondition, "namespace");

    for (what, asked, paths, code, text) in [
        ("absent", image("new"), &[][..], Code::NotFound, "new"),
        ("no name", image(""), &["labels"], Code::InvalidArgument, "name"),
        ("a field", image("redis"), &["name"], Code::InvalidArgument, "\"name\""),
        ("a time", image("redis"), &["created_at"], Code::InvalidArgument, "created_at"),
        (
            "a long label",
            proto::Image { labels: map(&[("k", &long)]), ..image("redis") },
            &["labels.k"],
            Code::InvalidArgument,
            "4096",
        ),
        (
            "no target",
            proto::Image { target: None, ..image("redis") },
            &["target"],
            Code::InvalidArgument,
            "target",
        ),
    ] {
        refused(what, client.update(update(asked, paths)).await, code, text);
    }
    let found = client.get(get("redis")).await.unwrap().into_inner().image.unwrap();
    assert_eq!(found.labels, image("").labels);
    assert_eq!(found.created_at, found.updated_at);
    server.stop().await;
}

#[tokio::test]
async fn masks_say_what_is_changed() {
    let server = Server::start().await;
    let mut client = ImagesClient::new(server.channel());
    let new = proto::Image {
        labels: map(&[("a", "9"), ("c", "3")]),
        target: Some(target("two")),
        ..image("redis")
    };
    let empty = proto::Image { labels: map(&[("a", "")]), target: None, ..image("redis") };
    let (old, two) = (target("one"), target("two"));
    let noted = |descriptor: &Descriptor, notes: &[(&str, &str)]| Descriptor {
        annotations: map(notes),
        ..descriptor.clone()
    };
    for (paths, new, labels, target) in [
        (&[][..], &new, &[("a", "9"), ("c", "3")][..], two.clone()),
        (&["labels"], &new, &[("a", "9"), ("c", "3")], old.clone()),
        (&["labels.a"], &new, &[("a", "9"), ("b", "2")], old.clone()),
        (&["labels.b"], &new, &[("a", "1")], old.clone()),
        (&["labels.a"], &empty, &[("b", "2")], old.clone()),
        (&["target"], &new, &[("a", "1"), ("b", "2")], two),
        (&["annotations"], &new, &[("a", "1"), ("b", "2")], noted(&old, &[("made.of", "two")])),
        (&["annotations.made.of"], &empty, &[("a", "1"), ("b", "2")], noted(&old, &[])),
        (
            &["labels.c", "annotations.made.of"],
            &new,
            &[("a", "1"), ("b", "2"), ("c", "3")],
            noted(&old, &[("made.of", "two")]),
        ),
    ] {
        client.create(create(image("redis"))).await.unwrap();
        let answer = client.update(update(new.clone(), paths)).await.unwrap().into_inner();
        let found = client.get(get("redis")).await.unwrap().into_inner().image.unwrap();
        assert_eq!(answer.image.unwrap(), found, "{paths:?}");
        assert_eq!((&found.labels, found.target.unwrap()), (&map(labels), target), "{paths:?}");
        assert_ne!(found.created_at, found.updated_at, "{paths:?}");
        client.delete(call(delete("redis"))).await.unwrap();
    }
    server.stop().await;
}

#[tokio::test]
async fn dates_are_the_clients_when_it_names_one() {
    let server = Server::start().await;
    let mut client = ImagesClient::new(server.channel());
    let at = |seconds| Some(Timestamp { seconds, nanos: 5 });
    let asked = proto::CreateImageRequest { image: Some(image("a")), source_date_epoch: at(1) };
    let made = client.create(call(asked)).await.unwrap().into_inner().image.unwrap();
    assert_eq!((made.created_at, made.updated_at), (at(1), at(1)));

    let mut asked = update(image("a"), &["labels.z"]);
    asked.get_mut().source_date_epoch = at(2);
    let changed = client.update(asked).await.unwrap().into_inner().image.unwrap();
    assert_eq!((changed.created_at, changed.updated_at), (at(1), at(2)));

    // What a record says of itself does not count.
    let dated = proto::Image { created_at: at(3), updated_at: at(3), ..image("b") };
    let made = client.create(create(dated)).await.unwrap().into_inner().image.unwrap();
    assert!(made.created_at.unwrap().seconds > 1_700_000_000, "{made:?}");

    let never = Some(Timestamp { seconds: 0, nanos: -1 });
    let asked = proto::CreateImageRequest { image: Some(image("c")), source_date_epoch: never };
    let answer = client.create(call(asked)).await;
    refused("no time", answer, Code::InvalidArgument, "source_date_epoch");
    server.stop().await;
}

#[tokio::test]
async fn a_delete_may_name_the_target_and_wait() {
    let server = Server::start().await;
    let mut client = ImagesClient::new(server.channel());
    let of = |digest: String| {
        let target = Some(Descriptor { digest, ..Default::default() });
        call(proto::DeleteImageRequest { target, ..delete("redis") })
    };
    client.create(create(image("redis"))).await.unwrap();
    let other = client.delete(of(digest("two"))).await;
    refused("another target", other, Code::NotFound, "redis");
    let broken = client.delete(of("sha256:x".to_owned())).await;
    refused("no digest", broken, Code::InvalidArgument, "digest");
    assert_eq!(names(&mut client, &[]).await, ["redis"]);
    client.delete(of(digest("one"))).await.unwrap();

    client.create(create(image("redis"))).await.unwrap();
    // A target without a digest is none.
    client.delete(of(String::new())).await.unwrap();

    client.create(create(image("redis"))).await.unwrap();
    let request = proto::DeleteImageRequest { sync: true, ..delete("redis") };
    client.delete(call(request)).await.unwrap();
    assert!(names(&mut client, &[]).await.is_empty());
    server.stop().await;
}
