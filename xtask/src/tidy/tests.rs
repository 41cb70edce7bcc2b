//! Every rule on samples that keep it and samples that break it.

use super::rules::RULES;
use super::tree::{Tree, Weight};

/// The errors that `rule` finds in the samples, as `path:line`.
fn errors(rule: &str, samples: &[(&str, &str)]) -> Vec<String> {
    let rule = RULES.iter().find(|candidate| candidate.name == rule).expect("no such rule");
    let mut findings = rule.check(&Tree::of(samples)).expect("the rule itself failed");
    findings.retain(|finding| finding.weight == Weight::Error);
    findings.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
}

/// (rule, path, text, lines that break the rule)
const WORDS: &[(&str, &str, &str, &[usize])] = &[
    ("wire", "crates/lamina-store/src/a.rs", "// tonic\nlet s = \"prost\";", &[]),
    ("wire", "crates/lamina-store/src/a.rs", "\nuse tonic::Status;", &[2]),
    ("wire", "crates/lamina-image/tests/a.rs", "use lamina_api::v1;", &[1]),
    ("wire", "crates/lamina-server/src/a.rs", "use tonic::Status;", &[]),
    ("unsafe", "crates/lamina-sys/src/a.rs", "unsafe { f() }", &[]),
    ("unsafe", "crates/lamina-store/src/a.rs", "// unsafe\nf(\"unsafe\");", &[]),
    ("unsafe", "crates/lamina-store/src/a.rs", "#![allow(unsafe_code)]\nunsafe { f() }", &[2]),
    ("unsafe", "xtask/src/a.rs", "#[cfg(test)]\nmod t { unsafe fn f() {} }", &[2]),
    ("sql", "crates/lamina-store/src/db/a.rs", "f(\"SELECT a FROM b\");", &[]),
    ("sql", "crates/lamina-store/src/db.rs", "use rusqlite::Row;", &[]),
    (
        "sql",
        "crates/lamina-store/src/gc.rs",
        "f(\"SELECT a FROM b\");\ng(\"delete from x\");",
        &[1, 2],
    ),
    ("sql", "crates/lamina-store/src/gc.rs", "f(\"\n UPDATE t SET a = 1\");", &[2]),
    ("sql", "crates/lamina-store/src/gc.rs", "f(\"insert or ignore into x\");", &[1]),
    (
        "sql",
        "crates/lamina-store/src/gc.rs",
        "tokio::select! {}\nf(\"cannot update the set\");",
        &[],
    ),
    (
        "sql",
        "crates/lamina-store/src/gc.rs",
        "// SELECT a FROM b\nf(\"delete from the disk\");",
        &[],
    ),
    ("sql", "crates/lamina/src/a.rs", "use rusqlite::Connection;", &[1]),
    ("environment", "crates/lamina/src/a.rs", "std::env::var(\"A\")", &[]),
    ("environment", "crates/lamina-image/src/a.rs", "std::env::var(\"A\")", &[1]),
    (
        "environment",
        "crates/lamina-image/src/a.rs",
        "use std::{env, fs};\nenv::current_dir()",
        &[2],
    ),
    ("environment", "crates/lamina-core/src/a.rs", "std::env::consts::ARCH; env!(\"X\")", &[]),
    (
        "environment",
        "crates/lamina-core/src/a.rs",
        "#[cfg(test)]\nmod t { fn f() { std::env::args() } }",
        &[],
    ),
    ("environment", "crates/lamina-api/build.rs", "std::env::var_os(\"OUT_DIR\")", &[]),
    ("environment", "crates/lamina-api/src/a.rs", "std::env::var_os(\"OUT_DIR\")", &[1]),
    ("environment", "crates/lamina-core/tests/a.rs", "std::env::temp_dir()", &[]),
    ("environment", "crates/lamina-store/src/a.rs", "command.current_dir(root)", &[]),
    (
        "driver-scope",
        "crates/lamina-store/src/snapshot/drivers/a.rs",
        "// namespace\nrelease(user_namespace)",
        &[],
    ),
    ("driver-scope", "crates/lamina-store/src/snapshot/drivers/a.rs", "fn f(n: &Namespace)", &[1]),
    ("driver-scope", "crates/lamina-store/src/snapshot/driver.rs", "\nlet lease = 1;", &[2]),
    ("driver-scope", "crates/lamina-store/src/snapshot/driver.rs", "LeaseId\nlease_id", &[1, 2]),
    ("driver-scope", "crates/lamina-store/src/snapshot/engine.rs", "let lease = 1;", &[]),
    ("detached", "crates/lamina-store/src/a.rs", "std::thread::spawn(f)", &[1]),
    ("detached", "crates/lamina-store/src/a.rs", "tokio::task::spawn_blocking(f).await", &[]),
    (
        "detached",
        "crates/lamina-store/src/a.rs",
        "tokio::spawn(f) // joined: by Drop of Writer",
        &[],
    ),
    ("detached", "crates/lamina-store/src/a.rs", "// joined: by Drop\nthread::Builder::new()", &[]),
    ("detached", "crates/lamina-store/src/a.rs", "tokio::spawn(f) // joined:", &[1]),
    (
        "detached",
        "crates/lamina-store/src/a.rs",
        "thread::Builder::new()\n\n// joined: by Drop\n.spawn()",
        &[],
    ),
    (
        "detached",
        "crates/lamina-store/src/a.rs",
        "tokio::spawn(f)\n\n\n\n\n// joined: by Drop",
        &[1],
    ),
    ("detached", "crates/lamina-store/src/a.rs", "thread::scope(|s| { s.spawn(f); })", &[]),
    ("detached", "crates/lamina-server/src/a.rs", "tokio::spawn(f)", &[]),
    ("detached", "crates/lamina-store/src/a/tests.rs", "std::thread::spawn(f)", &[1]),
    ("unfinished", "crates/lamina/src/a.rs", "let todo = 1; // a to-do list", &[]),
    ("unfinished", "crates/lamina/src/a.rs", "\n// TODO later", &[2]),
    ("unfinished", "docs/a.md", "FIXME", &[1]),
    ("unfinished", "crates/lamina/tests/a.rs", "#[ignore = \"slow\"]\nfn f() {}", &[1]),
    ("unfinished", "crates/lamina/src/a.rs", "unimplemented!()\nf(\"todo!\")", &[1]),
    ("machine", "README.md", "see https://example.com/work/x and a/work/b and <id>/work", &[]),
    ("machine", "README.md", "\ncd /work/checkout", &[2]),
    ("machine", "crates/lamina/src/a.rs", "f(\"https://mirror.internal/x\")", &[1]),
];

#[test]
fn word_rules_find_what_breaks_them_and_nothing_else() {
    for (rule, path, text, lines) in WORDS {
        let expected: Vec<String> = lines.iter().map(|line| format!("{path}:{line}")).collect();
        assert_eq!(errors(rule, &[(path, text)]), expected, "{rule} on {path}:\n{text}");
    }
}

#[test]
fn modules_declared_for_tests_are_test_code_whatever_their_name() {
    let code = "std::thread::spawn(f)";
    for (parent, child, test) in [
        ("crates/lamina-sys/src/lib.rs", "crates/lamina-sys/src/testing.rs", true),
        ("crates/lamina-sys/src/lib.rs", "crates/lamina-sys/src/testing/deep.rs", true),
        ("crates/lamina-sys/src/fs/mod.rs", "crates/lamina-sys/src/fs/testing.rs", true),
        ("crates/lamina-sys/src/fs.rs", "crates/lamina-sys/src/fs/testing.rs", true),
        ("crates/lamina-sys/src/fs.rs", "crates/lamina-sys/src/testing.rs", false),
    ] {
        let found = errors("detached", &[(parent, "#[cfg(test)]\nmod testing;"), (child, code)]);
        assert_eq!(found.is_empty(), test, "{child} of {parent}");
    }
}

const LINTS: &str = "[lints]\nworkspace = true\n";

/// A manifest with the given lines after the package section.
fn manifest(name: &str, rest: &str) -> String {
    format!("[package]\nname = \"{name}\"\n{LINTS}{rest}")
}

/// What `rule` says about one manifest with these dependencies: the lines, counted after the header.
fn manifest_errors(rule: &str, name: &str, rest: &str) -> Vec<usize> {
    let path = format!("crates/{name}/Cargo.toml");
    let found = errors(rule, &[(&path, &manifest(name, rest))]);
    let line = |error: &String| error.rsplit_once(':').and_then(|(_, line)| line.parse().ok());
    found.iter().filter_map(line).map(|line: usize| line.saturating_sub(4)).collect()
}

#[test]
fn the_crate_graph_has_the_listed_edges_only() {
    let rest = |dependency: &str| {
        format!("[dependencies]\nserde.workspace = true\n{dependency}.workspace = true\n")
    };
    let cases: &[(&str, &str, &[usize])] = &[
        ("lamina-store", "lamina-core", &[]),
        ("lamina-store", "lamina-sys", &[]),
        ("lamina-store", "lamina-api", &[3]),
        ("lamina-store", "lamina-image", &[3]),
        ("lamina-core", "lamina-sys", &[3]),
        ("lamina-sys", "lamina-core", &[3]),
        ("lamina", "lamina-store", &[]),
        ("lamina-unheard-of", "bytes", &[0]),
    ];
    for (name, dependency, lines) in cases {
        let found = manifest_errors("crate-graph", name, &rest(dependency));
        assert_eq!(found, *lines, "{name} -> {dependency}");
    }
}

#[test]
fn edges_for_builds_targets_and_renamed_crates_count() {
    let cases = [
        "[build-dependencies]\nlamina-image.workspace = true\n",
        "[target.'cfg(unix)'.dependencies]\nlamina-image.workspace = true\n",
        "[dependencies]\nimage = { package = \"lamina-image\", workspace = true }\n",
    ];
    for rest in cases {
        assert_eq!(manifest_errors("crate-graph", "lamina-store", rest).len(), 1, "{rest}");
    }
}

#[test]
fn tests_may_use_more_of_our_crates_but_a_domain_crate_never_the_wire() {
    let rest =
        "[dev-dependencies]\nlamina-testkit.workspace = true\nlamina-image.workspace = true\n";
    assert!(manifest_errors("crate-graph", "lamina-store", rest).is_empty());
    let rest = "[dev-dependencies]\nlamina-api.workspace = true\n";
    assert_eq!(manifest_errors("crate-graph", "lamina-store", rest), [2]);
    let rest = "[dev-dependencies]\ntonic.workspace = true\n";
    assert_eq!(manifest_errors("foreign-crates", "lamina-image", rest), [2]);
}

#[test]
fn foreign_crates_stay_in_their_layer() {
    let rest = |name: &str| format!("[dependencies]\n{name}.workspace = true\n");
    for (name, dependency, expected) in [
        ("lamina-store", "rusqlite", 0),
        ("lamina-image", "rusqlite", 1),
        ("lamina-core", "tokio-util", 1),
        ("lamina-core", "serde", 0),
        ("lamina-sys", "rustix", 0),
        ("lamina-sys", "prost-types", 1),
        ("lamina-server", "tonic", 0),
        ("lamina-server", "tonic-prost-build", 1),
        ("lamina-api", "tonic-prost-build", 0),
    ] {
        let found = manifest_errors("foreign-crates", name, &rest(dependency));
        assert_eq!(found.len(), expected, "{name} -> {dependency}");
    }
}

#[test]
fn manifests_inherit_lints_and_versions() {
    assert!(
        manifest_errors("manifests", "lamina", "[dependencies]\nx.workspace = true\n").is_empty()
    );
    assert_eq!(manifest_errors("manifests", "lamina", "[dependencies]\nx = \"1\"\n"), [2]);
    let bare = [("crates/lamina/Cargo.toml", "[package]\nname = \"lamina\"\n")];
    assert_eq!(errors("manifests", &bare), ["crates/lamina/Cargo.toml:0"]);
}

#[test]
fn file_sizes_are_counted_without_tests() {
    let code = "fn f() {}\n".repeat(1001);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
    let small = ("crates/a/src/s1.rs", "x\n");
    let more = ("crates/a/src/s2.rs", "x\n");
    let long = |text| errors("file-size", &[small, more, ("crates/a/src/b.rs", text)]);
    assert_eq!(long(&code), ["crates/a/src/b.rs:0"]);
    assert!(long(&tests).is_empty());
    let only = errors("file-size", &[("crates/a/src/b.rs", &"x\n".repeat(250))]);
    assert_eq!(only, [":0"], "the median is too high");
}

#[test]
fn every_crate_is_on_the_map_under_its_own_name() {
    let manifest = ("crates/lamina/Cargo.toml", "[package]\nname = \"lamina\"\n");
    let map = |text| errors("code-map", &[manifest, ("ARCHITECTURE.md", text)]);
    assert!(map("### `crates/lamina`").is_empty());
    assert_eq!(map("### `crates/lamina-core`"), ["ARCHITECTURE.md:0"]);
    assert_eq!(errors("code-map", &[manifest]), ["ARCHITECTURE.md:0"]);
    let renamed = [("crates/other/Cargo.toml", manifest.1), ("ARCHITECTURE.md", "`crates/other`")];
    assert_eq!(errors("code-map", &renamed), ["crates/other/Cargo.toml:0"]);
}

#[test]
fn programs_of_tests_have_a_package() {
    let cases: &[(&str, &str, usize)] = &[
        ("crates/lamina/tests/a.rs", "Command::new(\"mkfs.ext4\")", 0),
        ("crates/lamina/tests/a.rs", "Command::new(\"unheard-of\")", 1),
        ("crates/lamina-testkit/src/a.rs", "Command::new(\"unheard-of\")", 1),
        ("crates/lamina/src/a.rs", "Command::new(\"unheard-of\")", 0),
        ("crates/lamina/src/a.rs", "#[cfg(test)]\nmod t { f(Command::new(\"unheard-of\")) }", 1),
        ("crates/lamina/tests/a.rs", "Command::new(program); Command::new(\"sh\")", 0),
    ];
    for (path, text, expected) in cases {
        assert_eq!(errors("programs", &[(path, text)]).len(), *expected, "{path}: {text}");
    }
}

#[test]
fn links_lead_somewhere() {
    let target = ("docs/on-disk.md", "# On disk\n\n## The two `things`, named\n");
    // (file, its text, whether it is fine)
    let cases = [
        ("README.md", "[a](docs/on-disk.md)", true),
        ("README.md", "[a](docs) and [b](docs/)", true),
        ("README.md", "[a](docs/on-disk.md#the-two-things-named)", true),
        ("README.md", "[a](docs/on-disk.md#absent)", false),
        ("README.md", "[a](docs/absent.md)", false),
        ("README.md", "[a]: docs/absent.md", false),
        ("README.md", "[a](https://example.com/absent.md) <mailto:a@example.com>", true),
        ("README.md", "```\n[a](absent.md)\n```", true),
        ("README.md", "`docs/absent.md`", false),
        ("README.md", "`docs/on-disk.md`, `docs/<name>.md`", true),
        ("docs/a.md", "[a](on-disk.md), [b](../README.md)", false),
        ("docs/a.md", "[a](on-disk.md), [b](#here)\n# Here", true),
        ("docs/a.md", "[a](../../outside.md)", false),
    ];
    for (path, text, fine) in cases {
        let found = errors("links", &[target, (path, text)]);
        assert_eq!(found.is_empty(), fine, "{path}: {text}: {found:?}");
    }
}

#[test]
fn the_page_about_security_names_tests_that_exist() {
    let source = "#[test]\n/// Why.\n#[expect(lint)]\nfn plain() {}\n\
                  #[tokio::test(flavor = \"multi_thread\")]\nasync fn later() {}\n\
                  fn helper() {}\n// #[test]\nfn out() {}\n";
    let source = ("crates/a/tests/b.rs", source);
    let found = |page: &str| errors("security", &[source, ("docs/security.md", page)]);
    let table = "| report | test |\n|---|---|\n";
    let row = |test: &str| format!("{table}| CVE-1 | {test} |\n\n| other | table |\n|---|---|\n");
    assert!(found(&row("`crates/a/tests/b.rs::plain`, `crates/a/tests/b.rs::later`")).is_empty());
    for bad in ["helper", "out", "pla", "absent"] {
        let test = format!("`crates/a/tests/b.rs::{bad}`");
        assert_eq!(found(&row(&test)), ["docs/security.md:3"], "{bad}");
        assert_eq!(found(&test), ["docs/security.md:1"], "{bad} in a sentence");
    }
    assert_eq!(found(&row("`crates/a/tests/c.rs::plain`")), ["docs/security.md:3"]);
    assert_eq!(found(&row("some day")), ["docs/security.md:3"], "no test");
    assert_eq!(errors("security", &[source]), ["docs/security.md:0"], "no page");
}

#[test]
fn rules_have_names_of_their_own() {
    let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), RULES.len());
}
