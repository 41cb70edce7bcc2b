//! Every rule, in one list.
//!
//! A rule is a name (used in messages and in `ARCHITECTURE.md`), what it holds, and either
//! [patterns](Pattern) or a function over the [`Tree`]. A new rule is an entry here and a row in the
//! table of samples in `tests.rs`.

use anyhow::Result;

use super::patterns::{Files, Layer, Pattern};
use super::tree::{Finding, Tree};
use super::{docs, graph, programs, security, sizes};

pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// What holds when the rule finds nothing.
    pub(crate) holds: &'static str,
    pub(crate) check: Check,
}

pub(crate) enum Check {
    Tree(fn(&Tree) -> Result<Vec<Finding>>),
    Words(&'static [Pattern]),
}

impl Rule {
    pub(crate) fn check(&self, tree: &Tree) -> Result<Vec<Finding>> {
        match &self.check {
            Check::Tree(check) => check(tree),
            Check::Words(patterns) => {
                let mut findings = Vec::new();
                for pattern in *patterns {
                    findings.extend(pattern.check(tree)?);
                }
                Ok(findings)
            }
        }
    }
}

/// The crates below the server: libraries that get what they need passed in.
const LIBRARIES: &[&str] = &[
    "crates/lamina-api/",
    "crates/lamina-client/",
    "crates/lamina-core/",
    "crates/lamina-image/",
    "crates/lamina-runtime/",
    "crates/lamina-store/",
    "crates/lamina-sys/",
];

/// The rules are written in the words they forbid.
const OURSELVES: &str = "xtask/src/tidy/";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "crate-graph",
        holds: "crates depend on each other only along the edges of the table in tidy/graph.rs",
        check: Check::Tree(graph::check_edges),
    },
    Rule {
        name: "foreign-crates",
        holds: "no crate depends on a library that its layer must not know",
        check: Check::Tree(graph::check_foreign),
    },
    Rule {
        name: "manifests",
        holds: "every crate inherits the workspace's lints and dependency versions",
        check: Check::Tree(graph::check_manifests),
    },
    Rule {
        name: "wire",
        holds: "the domain crates never name the wire: tonic, prost, ttrpc, lamina-api",
        check: Check::Words(&[Pattern {
            words: r"\b(tonic|prost|ttrpc|lamina_api)\b",
            harmless: "",
            layer: Layer::Code,
            files: Files {
                under: &[
                    "crates/lamina-core/",
                    "crates/lamina-image/",
                    "crates/lamina-store/",
                    "crates/lamina-sys/",
                ],
                except: &[],
                tests: true,
            },
            unless_marked: None,
            says: "the wire is known from lamina-api upwards; convert at that edge",
        }]),
    },
    Rule {
        name: "unsafe",
        holds: "only lamina-sys contains unsafe code",
        check: Check::Words(&[Pattern {
            words: r"\bunsafe\b",
            harmless: "",
            layer: Layer::Code,
            files: Files { under: &[], except: &["crates/lamina-sys/"], tests: true },
            unless_marked: None,
            says: "give lamina-sys a safe function for it",
        }]),
    },
    Rule {
        name: "sql",
        holds: "only lamina-store/src/db names SQL",
        check: Check::Words(&[
            Pattern {
                words: r"\brusqlite\b",
                harmless: "",
                layer: Layer::Code,
                files: SQL_FREE,
                unless_marked: None,
                says: "the database is spoken to in crates/lamina-store/src/db only",
            },
            Pattern {
                words: concat!(
                    r#"\bSELECT\s|\b(?i:insert\s+(or\s+\w+\s+)?into)\b|\b(?i:delete\s+from\s+\w+)("|\s+WHERE|;|$)"#,
                    r"|\b(?i:update\s+\w+\s+set\s+\w+\s*=)|\b(?i:create\s+(unique\s+|temp\s+)?(table|index|trigger)\b)",
                    r"|\bPRAGMA\s|\bSAVEPOINT\b|\bVACUUM\b"
                ),
                harmless: "",
                layer: Layer::Strings,
                files: SQL_FREE,
                unless_marked: None,
                says: "SQL belongs into crates/lamina-store/src/db",
            },
        ]),
    },
    Rule {
        name: "environment",
        holds: "only lamina and lamina-server read the environment or the current directory",
        check: Check::Words(&[Pattern {
            words: concat!(
                r"\bstd::env\b|\benv::(args|args_os|current_dir|current_exe|home_dir|set_current_dir",
                r"|set_var|remove_var|temp_dir|var|var_os|vars|vars_os)\b|\bpath::absolute\b|\bgetcwd\b"
            ),
            harmless: r"\b(std::)?env::(consts|split_paths|join_paths)\b",
            layer: Layer::Code,
            files: Files {
                under: LIBRARIES,
                // Cargo tells a build script by the environment where to write.
                except: &["crates/lamina-api/build.rs"],
                tests: false,
            },
            unless_marked: None,
            says: "what a library needs is passed in by lamina or lamina-server",
        }]),
    },
    Rule {
        name: "driver-scope",
        holds: "a snapshot driver never sees a namespace or a lease",
        check: Check::Words(&[Pattern {
            words: r"\b(?i:namespaces?|leases?)\b|\b(Namespace|Lease)\w*|\w+(Namespace|Lease)\b|\b(namespace|lease)_\w+",
            harmless: r"\b(User|Mount)Namespace\b|\buser_?namespaces?\b|\bmount_?namespaces?\b",
            layer: Layer::Code,
            files: Files {
                under: &[
                    "crates/lamina-store/src/snapshot/drivers/",
                    "crates/lamina-store/src/snapshot/drivers.rs",
                    "crates/lamina-store/src/snapshot/driver/",
                    "crates/lamina-store/src/snapshot/driver.rs",
                ],
                except: &[],
                tests: true,
            },
            unless_marked: None,
            says: "names, namespaces and leases are the engine's; a driver knows snapshots by id",
        }]),
    },
    Rule {
        name: "detached",
        holds: "nothing below lamina-server spawns a task or thread that nobody joins",
        check: Check::Words(&[Pattern {
            words: r"\b(tokio|task|thread)::(spawn|spawn_local)\b|\bthread::Builder\b|\b[Hh]andle(::current\(\))?\.spawn\(",
            harmless: "",
            layer: Layer::Code,
            files: Files { under: LIBRARIES, except: &[], tests: false },
            unless_marked: Some("joined:"),
            says: "join it, and say who does in a comment `// joined: …` on the line or above it",
        }]),
    },
    Rule {
        name: "unfinished",
        holds: "the source has no unfinished places and no ignored tests",
        check: Check::Words(&[
            Pattern {
                words: r"\b(TODO|FIXME|XXX|HACK)\b",
                harmless: "",
                layer: Layer::Everything,
                files: Files { under: &[], except: &[OURSELVES, "LICENSE"], tests: true },
                unless_marked: None,
                says: "finish it, or file an issue and say plainly what the code does not do",
            },
            Pattern {
                words: r"\b(todo|unimplemented)!|#\[ignore\b",
                harmless: "",
                layer: Layer::Code,
                files: Files { under: &[], except: &[], tests: true },
                unless_marked: None,
                says: "an unfinished place or a test that never runs",
            },
        ]),
    },
    Rule {
        name: "machine",
        holds: "no file names somebody's machine: private hosts, folders of one developer",
        check: Check::Words(&[Pattern {
            words: concat!(
                r#"(^|[\s"'=(`:])/(work|Users)/[\w.]|https?://[\w.-]+\.(corp|internal|intranet|lan)\b"#,
                r"|\bregistry\s*=\s*.https?://"
            ),
            harmless: "",
            layer: Layer::Everything,
            files: Files { under: &[], except: &[OURSELVES], tests: true },
            unless_marked: None,
            says: "write it relative to the repository, or use a reserved name (example.com, .test)",
        }]),
    },
    Rule {
        name: "programs",
        holds: "every program that a test runs is in the table of xtask/src/setup.rs",
        check: Check::Tree(programs::check),
    },
    Rule {
        name: "file-size",
        holds: "files are small: median below 250 lines, none above 1000 without its tests",
        check: Check::Tree(sizes::check),
    },
    Rule {
        name: "code-map",
        holds: "every crate's folder has its name, and ARCHITECTURE.md maps it",
        check: Check::Tree(docs::check_code_map),
    },
    Rule {
        name: "links",
        holds: "links from Markdown files lead to files and headings that exist",
        check: Check::Tree(docs::check_links),
    },
    Rule {
        name: "security",
        holds: "the tests that docs/security.md names exist, and each of its reports has one",
        check: Check::Tree(security::check),
    },
];

/// Everything but the database module and these rules.
const SQL_FREE: Files =
    Files { under: &[], except: &["crates/lamina-store/src/db", OURSELVES], tests: true };
