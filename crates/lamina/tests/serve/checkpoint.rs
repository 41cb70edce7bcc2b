//! Checkpoints over the socket. criu is on few hosts, so a shim that only pretends to dump shows what
//! becomes of a dump.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use lamina_api::convert::{any, timestamp};
use lamina_api::proto::containerd::runc::v1 as runc;
use lamina_api::proto::containerd::task::v3 as api;
use lamina_core::task::{CheckpointOptions, CreateTask};
use lamina_core::{Descriptor, Host as _, Kind, Labels, media_type};
use lamina_testkit::env::skip::require_root;
use lamina_testkit::or_skip;
use lamina_testkit::shim::{Code, Reply, Shim};
use prost::Message as _;

use crate::tasks::Lab;

const PAGES: &str = "pages of memory";

/// Dumps into the directory that it is told; answers the directories that tasks were to go on from, with
/// what was in them.
fn answer(found: &Mutex<Vec<String>>, method: &str, payload: &[u8]) -> Reply {
    let message = match method {
        "Create" => {
            let asked = api::CreateTaskRequest::decode(payload).unwrap();
            let dump = PathBuf::from(asked.checkpoint).join("criu/pages.img");
            found.lock().unwrap().push(std::fs::read_to_string(dump).unwrap_or_default());
            api::CreateTaskResponse { pid: 7 }.encode_to_vec()
        }
        "Checkpoint" => {
            let asked = api::CheckpointTaskRequest::decode(payload).unwrap();
            let path = PathBuf::from(asked.path);
            if !path.is_dir() {
                return Reply::Error(Code::FAILED_PRECONDITION, "no such place");
            }
            std::fs::create_dir(path.join("criu")).unwrap();
            std::fs::write(path.join("criu/pages.img"), PAGES).unwrap();
            Vec::new()
        }
        "State" => api::StateResponse {
            pid: 7,
            status: 3,
            exited_at: Some(timestamp::encode(Timestamp::UNIX_EPOCH)),
            ..Default::default()
        }
        .encode_to_vec(),
        "Delete" => api::DeleteResponse {
            pid: 7,
            exit_status: 0,
            exited_at: Some(timestamp::encode(Timestamp::UNIX_EPOCH)),
        }
        .encode_to_vec(),
        "Shutdown" => return Reply::Close,
        _ => Vec::new(),
    };
    Reply::Payload(message)
}

fn into(path: &str) -> CheckpointOptions {
    let options = runc::CheckpointOptions { image_path: path.to_owned(), ..Default::default() };
    CheckpointOptions { options: Some(any::decode(any::pack(&options))), parent: None }
}

fn from(container: &str, checkpoint: Option<&Descriptor>) -> CreateTask {
    let (container, checkpoint) = (container.to_owned(), checkpoint.cloned());
    CreateTask { container, checkpoint, ..CreateTask::default() }
}

#[tokio::test]
async fn privileged_a_checkpoint_becomes_blobs_that_a_task_goes_on_from() {
    let name = "privileged_a_checkpoint_becomes_blobs_that_a_task_goes_on_from";
    or_skip!(name, require_root());
    let lab = Lab::new("dump", "");
    let daemon = lab.site.start();
    let client = lab.client().await;
    let place = lab.site.path("shim");
    std::fs::create_dir(&place).unwrap();
    let found = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&found);
    let shim = Shim::serve(&place, 3, move |_, method, payload| answer(&told, method, payload));
    let leases = client.leases(&lab.scope());
    leases.create("held", Labels::new()).await.unwrap();
    let scope = lab.scope().with_lease("held");
    let (records, tasks) = (client.containers(&lab.scope()), client.tasks(&scope));
    let mut record = lab.record("c", "true");
    record.runtime = shim.program().to_owned();
    records.create(record.clone()).await.unwrap();
    tasks.create(from("c", None)).await.unwrap();

    // The dump and the spec, which the lease keeps; the second time as the first.
    let made = tasks.checkpoint("c", CheckpointOptions::default()).await.unwrap();
    assert_eq!(tasks.checkpoint("c", CheckpointOptions::default()).await.unwrap().len(), 2);
    let [dump, spec] = &made[..] else { panic!("{made:?}") };
    assert_eq!(dump.media_type, media_type::CHECKPOINT);
    assert_eq!(spec.media_type, media_type::CHECKPOINT_CONFIG);
    let content = client.content(&lab.scope());
    let read = async |blob: &Descriptor| {
        let size = usize::try_from(blob.size).unwrap();
        content.reader(&blob.digest).await.unwrap().read_at(0, size).await.unwrap()
    };
    let tar = read(dump).await;
    assert!(tar.len().is_multiple_of(512), "{}", tar.len());
    assert!(tar.windows(PAGES.len()).any(|bytes| bytes == PAGES.as_bytes()));
    let stored = prost_types::Any::decode(read(spec).await).unwrap();
    assert_eq!(any::decode(stored), record.spec);
    let held: Vec<String> =
        leases.resources("held").await.unwrap().into_iter().map(|resource| resource.id).collect();
    for blob in [dump, spec] {
        assert!(held.contains(&blob.digest.to_string()), "{held:?} {blob:?}");
    }

    // Where the client says.
    let own = lab.site.path("own");
    std::fs::create_dir(&own).unwrap();
    assert_eq!(tasks.checkpoint("c", into(own.to_str().unwrap())).await.unwrap(), []);
    assert_eq!(std::fs::read_to_string(own.join("criu/pages.img")).unwrap(), PAGES);
    let refused = tasks.checkpoint("c", into("/nowhere")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::FailedPrecondition);
    assert!(refused.chain().contains("no such place"), "{}", refused.chain());
    let absent = tasks.checkpoint("absent", CheckpointOptions::default()).await.unwrap_err();
    assert!(absent.is_not_found(), "{}", absent.chain());

    // On disk nothing is left of it but the blobs.
    let work = lab.site.path("root/io.containerd.runtime.v2.task").join(&lab.namespace).join("c");
    assert_eq!(std::fs::read_dir(work).unwrap().count(), 0);

    record.id = "d".to_owned();
    records.create(record).await.unwrap();
    let wrong = tasks.create(from("d", Some(spec))).await.unwrap_err();
    assert_eq!(wrong.kind(), Kind::InvalidArgument, "{}", wrong.chain());
    tasks.create(from("d", Some(dump))).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(*found.lock().unwrap(), ["", PAGES]);
    for id in ["c", "d"] {
        tasks.delete(id).await.unwrap();
        records.delete(id).await.unwrap();
    }
    lab.assert_clean();
    drop((records, tasks, content, leases, client));
    daemon.stop();
}
