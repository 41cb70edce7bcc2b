//! `ctr`, unmodified, against containerd and against Lamina.

mod known;
mod run;
mod script;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use lamina_testkit::daemon::Program;
use lamina_testkit::{or_skip, peers};

use self::known::Known;
use self::run::Outcome;
use self::script::{STEPS, Step};
use crate::subject::{self, Shelf};
use crate::table::{Section, Table};

/// Runs the script against both, and answers where `other` differs from `one`, by which every step
/// has to work.
fn differences(
    ctr: &Path,
    old: bool,
    one: &Program,
    other: &Program,
) -> Result<Vec<Difference>, String> {
    let steps: Vec<Step> = STEPS.iter().filter(|step| !(old && step.new)).copied().collect();
    let one = run::run(one, ctr, &Shelf::open()?, &steps);
    let failed: Vec<_> = steps.iter().zip(&one).filter(|(_, outcome)| !outcome.worked).collect();
    assert!(failed.is_empty(), "the script itself is wrong: {failed:#?}");
    let other = run::run(other, ctr, &Shelf::open()?, &steps);
    let both = steps.into_iter().zip(one.into_iter().zip(other));
    Ok(both.filter(|(_, (one, other))| one != other).map(Difference::new).collect())
}

#[derive(Debug)]
struct Difference {
    step: Step,
    shown: String,
}

impl Difference {
    fn new((step, (one, other)): (Step, (Outcome, Outcome))) -> Difference {
        let part = |name: &str, one: &str, other: &str| {
            if one == other {
                String::new()
            } else {
                format!("{name}:\n--- one\n{one}\n--- other\n{other}\n")
            }
        };
        let word = |worked| if worked { "worked" } else { "failed" };
        let shown = part("end", word(one.worked), word(other.worked))
            + &part("output", &one.output, &other.output)
            + &part("errors", &one.errors, &other.errors);
        Difference { step, shown }
    }
}

/// Fails on a difference that is not known, and on a known one that there is not.
fn check(found: &[Difference], known: &[Known]) {
    let is = |known: &Known, found: &Difference| known.line == found.step.line;
    let new: Vec<String> = found
        .iter()
        .filter(|found| !known.iter().any(|known| is(known, found)))
        .map(|found| format!("$ {}\n{}", found.step.line, found.shown))
        .collect();
    assert!(new.is_empty(), "they differ:\n{}", new.join("\n"));
    let gone: Vec<&Known> =
        known.iter().filter(|known| !found.iter().any(|found| is(known, found))).collect();
    assert!(gone.is_empty(), "known as different, and the same: {gone:#?}");
}

#[test]
fn a_script_gives_the_same_twice() {
    let name = "ctr_a_script_gives_the_same_twice";
    let program = or_skip!(name, subject::containerd2());
    let ctr = or_skip!(name, peers::containerd2()).ctr;
    let found = or_skip!(name, differences(&ctr, false, &program, &program));
    check(&found, &[]);
}

#[test]
fn old_ctr_finds_containerd_2_like_1_6() {
    let name = "ctr_old_ctr_finds_containerd_2_like_1_6";
    let (old, program) =
        (or_skip!(name, subject::containerd16()), or_skip!(name, subject::containerd2()));
    let ctr = or_skip!(name, peers::containerd16()).ctr;
    let found = or_skip!(name, differences(&ctr, true, &old, &program));
    check(&found, known::CONTAINERD_16);
}

#[test]
fn the_table_has_every_command() {
    let name = "ctr_the_table_has_every_command";
    let ctr = or_skip!(name, peers::containerd2()).ctr;
    assert_eq!(Table::read(Section::Commands).names(), commands(&ctr, &[]));
}

/// What is not driven says why, and so does what differs.
#[test]
fn the_table_gives_reasons() {
    let table = Table::read(Section::Commands);
    for column in ["Lamina, ctr 2.3.4", "Lamina, ctr 1.6"] {
        for state in ["differs", "not driven"] {
            for (command, remark) in table.remarks(column, state) {
                assert!(!remark.is_empty(), "{command} is {state:?}, and nothing says why");
            }
        }
    }
    for step in STEPS {
        assert!(table.names().iter().any(|name| name == step.command), "no row: {step:?}");
    }
}

#[test]
fn lamina_is_like_containerd_to_ctr() {
    let name = "ctr_lamina_is_like_containerd_to_ctr";
    let ctr = or_skip!(name, peers::containerd2()).ctr;
    or_skip!(name, compare_lamina(&ctr, false, "Lamina, ctr 2.3.4"));
}

#[test]
fn lamina_is_like_containerd_to_old_ctr() {
    let name = "ctr_lamina_is_like_containerd_to_old_ctr";
    let ctr = or_skip!(name, peers::containerd16()).ctr;
    or_skip!(name, compare_lamina(&ctr, true, "Lamina, ctr 1.6"));
}

/// containerd 2.x is what Lamina is compared with, whatever the `ctr`.
fn compare_lamina(ctr: &Path, old: bool, column: &str) -> Result<(), String> {
    let (reference, lamina) = (subject::containerd2()?, subject::lamina()?);
    if Table::read(Section::Commands).is_blank(column) && std::env::var_os("LAMINA_BLESS").is_none()
    {
        return Err(format!("docs/compatibility.md says nothing yet in the column {column}"));
    }
    let found = differences(ctr, old, &reference, &lamina)?;
    for difference in &found {
        // For whoever wants to know how; the table says only that.
        println!("$ {}\n{}", difference.step.line, difference.shown);
    }
    let table = Table::read(Section::Commands);
    table.check(column, &states(&commands(&peers::containerd2()?.ctr, &[]), old, &found));
    Ok(())
}

/// The state of each command: that of its steps together.
fn states(commands: &[String], old: bool, found: &[Difference]) -> BTreeMap<String, String> {
    let state = |command: &String| {
        let driven = STEPS.iter().any(|step| step.command == command && !(old && step.new));
        match () {
            () if !driven => "not driven",
            () if found.iter().any(|found| found.step.command == command) => "differs",
            () => "same",
        }
    };
    commands.iter().map(|command| (command.clone(), state(command).to_owned())).collect()
}

/// Every command that does something, as `ctr` itself lists them.
fn commands(ctr: &Path, words: &[&str]) -> Vec<String> {
    let output = Command::new(ctr).args(words).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let listed = help.lines().skip_while(|line| *line != "COMMANDS:").skip(1);
    let mut found = Vec::new();
    for line in listed.take_while(|line| !line.is_empty()) {
        let name = line.split([' ', ',']).find(|word| !word.is_empty()).unwrap();
        if name == "help" {
            continue;
        }
        let words = [words, &[name]].concat();
        let below = commands(ctr, &words);
        if below.is_empty() { found.push(words.join(" ")) } else { found.extend(below) }
    }
    if words.is_empty() {
        found.sort();
    }
    found
}
