//! Images between Lamina and programs that others wrote: skopeo, umoci and podman read what we export
//! and push, and we read what they write.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use lamina_core::image::Image as Record;
use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::transfer::{ByteSink, NewReference};
use lamina_core::{Digest, Host, Labels, Namespace, Platform, Reference, Result, Scope};
use lamina_image::contents::Contents;
use lamina_image::export::Export;
use lamina_image::import::{Import, Source};
use lamina_image::pull::Silent;
use lamina_image::push::Push;
use lamina_image::registry::{Anonymous, Config, Registry};
use lamina_store::{Options, Store};
use lamina_testkit::honest::HonestRegistry;
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder};
use lamina_testkit::or_skip;
use lamina_testkit::tar::{Entry, TarBuilder};

struct Lab {
    dir: tempfile::TempDir,
    store: Store,
}

fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let store =
        Store::open(Options::new(dir.path().join("root"), dir.path().join("state"))).unwrap();
    Lab { dir, store }
}

fn scope() -> Scope {
    Scope::new(Namespace::new("default").unwrap())
}

fn image() -> Image {
    ImageBuilder::new(Flavor::Oci)
        .layer(TarBuilder::archive([Entry::dir("etc"), Entry::file("etc/one", "1")]))
        .layer_as(TarBuilder::archive([Entry::file("two", vec![2; 100_000])]), Compression::None)
        .config(serde_json::json!({"Cmd": ["/two"], "Env": ["A=b"]}))
        .build()
}

/// Runs a program, which has to be here and to succeed.
fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let output = match Command::new(program).args(args).output() {
        Ok(output) => output,
        Err(error) => return Err(format!("{program} cannot be run: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn take(store: &Store, source: Source) -> Record {
    let import = Import {
        host: Arc::new(store.clone()),
        scope: scope(),
        platforms: None,
        index_names: Vec::new(),
        references: vec![NewReference::Prefix {
            prefix: "imported".to_owned(),
            allow_overwrite: true,
            add_digest: true,
            skip_named_digest: true,
        }],
        labels: Labels::new(),
        unpacks: vec![("native".to_owned(), Matcher::only(&Platform::host()))],
        force_compress: false,
        limits: Limits::STANDARD,
        progress: Arc::new(Silent),
    };
    import.run(source).await.unwrap().remove(0)
}

fn archive(path: &Path) -> Source {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    Source::Archive(Box::pin(stream::iter([Ok(Bytes::from(bytes))])))
}

#[derive(Debug)]
struct ToFile(File);

#[async_trait::async_trait]
impl ByteSink for ToFile {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.write_all(&bytes).unwrap();
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

async fn export(lab: &Lab, record: &Record, path: &Path) {
    let export = Export {
        content: lab.store.content(&scope()),
        images: vec![record.clone()],
        platforms: Some(Matcher::only(&Platform::host())),
        docker: true,
        skip_nondistributable: false,
        limits: Limits::STANDARD,
    };
    export.run(&mut ToFile(File::create(path).unwrap())).await.unwrap();
}

/// The diff IDs and the start of a container that an image in a store has.
async fn config(lab: &Lab, record: &Record) -> (Vec<Digest>, Vec<String>) {
    let content = lab.store.content(&scope());
    let contents = Contents::of(&*content, &record.target, Limits::STANDARD).await.unwrap();
    assert_eq!(contents.missing, []);
    let config = contents.parts[0].config.clone().unwrap();
    (config.rootfs.diff_ids, config.config.env)
}

/// Our image, in our store, from the layout that we are given.
async fn ours(lab: &Lab) -> (Image, Record) {
    let image = image();
    let layout = lab.dir.path().join("layout");
    image.write_layout(&layout, "v1");
    let record = take(&lab.store, Source::Layout(layout)).await;
    (image, Record { name: "registry.test/app:v1".to_owned(), ..record })
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_and_we_read_each_other() {
    let name = "skopeo_and_we_read_each_other";
    or_skip!(name, run("skopeo", &["--version"]));
    let lab1 = lab();
    let (image, record) = ours(&lab1).await;
    let at = |name: &str| lab1.dir.path().join(name);
    let shown = |name: &str| at(name).display().to_string();
    export(&lab1, &record, &at("ours.tar")).await;
    let ours = [
        format!("oci-archive:{}", shown("ours.tar")),
        format!("docker-archive:{}", shown("ours.tar")),
    ];
    let theirs: [(String, &str); 3] = [
        (format!("oci:{}:v2", shown("theirs")), "theirs"),
        (format!("oci-archive:{}:v2", shown("theirs-oci.tar")), "theirs-oci.tar"),
        (format!("docker-archive:{}:app:v2", shown("theirs-docker.tar")), "theirs-docker.tar"),
    ];
    for from in &ours {
        for (to, file) in &theirs {
            let _ = std::fs::remove_file(at(file));
            let _ = std::fs::remove_dir_all(at(file));
            run("skopeo", &["--insecure-policy", "copy", "-q", from, to]).unwrap();
            let source = match at(file).is_dir() {
                true => Source::Layout(at(file)),
                false => archive(&at(file)),
            };
            let lab2 = lab();
            let back = take(&lab2.store, source).await;
            assert!(back.name.ends_with(":v2"), "{}", back.name);
            let (diff_ids, env) = config(&lab2, &back).await;
            assert_eq!((diff_ids, env), (image.diff_ids.clone(), vec!["A=b".to_owned()]));
        }
    }
    let registry = or_skip!(name, HonestRegistry::start());
    push(&lab1, &record, registry.host()).await;
    let from = format!("docker://{}/app:pushed", registry.host());
    let to = format!("oci:{}:v3", shown("pulled"));
    let copy = ["--insecure-policy", "copy", "-q", "--src-tls-verify=false", &from, &to];
    run("skopeo", &copy).unwrap();
    let lab3 = lab();
    let back = take(&lab3.store, Source::Layout(at("pulled"))).await;
    // skopeo compresses the layer that is not.
    assert_eq!(config(&lab3, &back).await.0, image.diff_ids);
}

async fn push(lab: &Lab, record: &Record, host: &str) {
    let reference = Reference::parse(&format!("{host}/app:pushed")).unwrap();
    let client = Registry::new(Config { plain_http: true, ..Config::default() }).unwrap();
    let push = Push {
        content: lab.store.content(&scope()),
        repository: client.destination(&reference, Arc::new(Anonymous)).await.unwrap(),
        platforms: None,
        what_is_here: false,
        uploads: 3,
        chunk: None,
        limits: Limits::STANDARD,
        progress: Arc::new(Silent),
    };
    push.run(&record.target).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn umoci_unpacks_what_we_export() {
    let name = "umoci_unpacks_what_we_export";
    or_skip!(name, run("umoci", &["--version"]));
    let lab = lab();
    let (_, record) = ours(&lab).await;
    let (tar, layout) = (lab.dir.path().join("ours.tar"), lab.dir.path().join("ours"));
    export(&lab, &record, &tar).await;
    std::fs::create_dir(&layout).unwrap();
    let (tar, bundle) = (tar.display().to_string(), lab.dir.path().join("bundle"));
    run("tar", &["-xf", &tar, "-C", &layout.display().to_string()]).unwrap();
    let image = format!("{}:v1", layout.display());
    run("umoci", &["unpack", "--rootless", "--image", &image, &bundle.display().to_string()])
        .unwrap();
    assert_eq!(std::fs::read(bundle.join("rootfs/etc/one")).unwrap(), b"1");
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_podman_loads_and_pulls_what_is_ours() {
    let name = "privileged_podman_loads_and_pulls_what_is_ours";
    if !lamina_sys::kernel::is_root() {
        eprintln!("SKIP {name}: needs root");
        return;
    }
    or_skip!(name, run("podman", &["--version"]));
    let lab1 = lab();
    let (image, record) = ours(&lab1).await;
    let shown = |name: &str| lab1.dir.path().join(name).display().to_string();
    let (root, run_root) = (shown("podman"), shown("podman-run"));
    let podman = |args: &[&str]| {
        let own = ["--root", &*root, "--runroot", &*run_root, "--storage-driver", "vfs"];
        run("podman", &[&own, args].concat()).unwrap()
    };
    export(&lab1, &record, &lab1.dir.path().join("ours.tar")).await;
    podman(&["load", "-q", "-i", &shown("ours.tar")]);
    let layers = "{{json .RootFS.Layers}}";
    let wanted = serde_json::to_string(&image.diff_ids).unwrap();
    let inspected = podman(&["image", "inspect", "--format", layers, "registry.test/app:v1"]);
    assert_eq!(inspected.trim(), wanted);
    podman(&["save", "-q", "-o", &shown("theirs.tar"), "registry.test/app:v1"]);
    let lab2 = lab();
    let back = take(&lab2.store, archive(&lab1.dir.path().join("theirs.tar"))).await;
    assert_eq!(config(&lab2, &back).await.0, image.diff_ids);

    let registry = or_skip!(name, HonestRegistry::start());
    push(&lab1, &record, registry.host()).await;
    let pushed = format!("{}/app:pushed", registry.host());
    podman(&["pull", "-q", "--tls-verify=false", &pushed]);
    let inspected = podman(&["image", "inspect", "--format", layers, &pushed]);
    assert_eq!(inspected.trim(), wanted);
}
