//! `cargo xtask bench`: the same work on Lamina and on containerd, in one run, in release.
//!
//! Prints figures and compares them with the goals; no figure decides whether tests pass. `work.rs` owns
//! the folder that everything happens in and cleans up; `daemon.rs` starts the two sides; one file a
//! family of scenarios measures, and `row.rs` prints.

mod daemon;
mod lifecycle;
mod options;
mod pull;
mod remove;
mod row;
mod shim;
mod snapshots;
mod tools;
mod work;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::repo::Repo;
use crate::ui;
use daemon::Side;
use options::Options;
use row::{Row, Table};
use tools::Tools;
use work::Work;

/// What a scenario measures with.
pub(crate) struct Bench {
    options: Options,
    tools: Tools,
    work: Work,
    ours: Side,
    peer: Side,
}

/// One scenario, and what it is to reach.
struct Scenario {
    name: &'static str,
    goal: &'static str,
    run: fn(&Bench) -> Result<Vec<Row>>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "pull-big", goal: "4x", run: pull::big },
    Scenario { name: "pull-big-durable", goal: "2x; 1.3x of the limit", run: pull::big_durable },
    Scenario { name: "pull-one-layer", goal: "2.5x", run: pull::one_layer },
    Scenario { name: "pull-small-files", goal: "2x", run: pull::small_files },
    Scenario { name: "pull-60-layers", goal: "3x", run: pull::sixty_layers },
    Scenario { name: "pull-zstd", goal: "3x", run: pull::zstd },
    Scenario { name: "pull-10-at-once", goal: "1.1x of one", run: pull::ten_at_once },
    Scenario { name: "pull-other-namespace", goal: "0.1 s", run: pull::other_namespace },
    Scenario { name: "snapshots", goal: "3x by 1, 10x by 64", run: snapshots::writes },
    Scenario { name: "read", goal: "2x, p99 no worse", run: snapshots::reads },
    Scenario { name: "remove-big", goal: "5x; freed no slower", run: remove::big },
    Scenario { name: "gc", goal: "10 ms", run: snapshots::collection },
    Scenario { name: "start", goal: "50, 100, 150 ms", run: lifecycle::start },
    Scenario { name: "memory", goal: "12 MB, 20 MB", run: lifecycle::memory },
    Scenario { name: "run", goal: "no slower", run: shim::run },
];

/// Bytes that a full run needs at once: the images, and one of them unpacked by both sides.
const ROOM: u64 = 15 << 30;

/// Runs the scenarios named, or all.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Result<ExitCode> {
    match args {
        [flag, folder] if flag == work::CLEANER => return work::clean_at_end(folder.as_ref()),
        [name] if name == "group-commit" => return group_commit(repo),
        _ => {}
    }
    let options = Options::parse(args)?;
    if let Some(unknown) = options.scenarios.iter().find(|name| !known(name)) {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!("no scenario is called {unknown}; there are {}, group-commit", names.join(", "));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("snapshotters mount and daemons own what they unpack: run it as root");
    }
    let tools = Tools::make(repo, &options)?;
    let work = Work::new()?;
    work.check_room(ROOM * options.percent() / 100)?;
    let (ours, peer) = (Side::lamina(&tools), Side::peer(&tools, &options)?);
    let bench = Bench { options, tools, work, ours, peer };
    bench.run_all()
}

fn known(name: &str) -> bool {
    SCENARIOS.iter().any(|scenario| scenario.name == name)
}

impl Bench {
    fn run_all(&self) -> Result<ExitCode> {
        let mut table = Table::new(&self.ours.version()?, &self.peer.version()?);
        let mut code = ExitCode::SUCCESS;
        let chosen = &self.options.scenarios;
        for scenario in SCENARIOS {
            if !chosen.is_empty() && !chosen.iter().any(|name| name == scenario.name) {
                continue;
            }
            ui::heading(&format!("{} (goal: {})", scenario.name, scenario.goal));
            let began = Instant::now();
            match (scenario.run)(self).with_context(|| scenario.name) {
                Ok(rows) => rows.into_iter().for_each(|row| table.add(scenario.name, row)),
                Err(error) => {
                    println!("{error:#}");
                    table.failed(scenario.name, &format!("{error:#}"));
                    code = ExitCode::FAILURE;
                }
            }
            println!("in {:.0} s", began.elapsed().as_secs_f64());
        }
        ui::heading("all of it");
        table.print();
        if self.options.json {
            println!("{}", table.json());
        }
        Ok(code)
    }

    /// What stands for `full`: a tenth of it with `--quick`.
    fn amount(&self, full: u64) -> u64 {
        full * self.options.percent() / 100
    }
}

fn group_commit(repo: &Repo) -> Result<ExitCode> {
    let mut command = repo.cargo();
    command.args(["run", "--release", "--package", "lamina-store", "--example", "group_commit"]);
    crate::process::run(&mut command)?;
    Ok(ExitCode::SUCCESS)
}
