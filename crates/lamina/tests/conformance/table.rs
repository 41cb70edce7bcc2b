//! The tables of docs/compatibility.md.
//!
//! The first column names the thing, the last is a remark for people; the others are checked. With
//! `LAMINA_BLESS` set, a column is written as it was found instead; remarks stay.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

/// Which table, by the heading above it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Section {
    Rpcs,
    Client,
    Commands,
    Nerdctl,
}

impl Section {
    fn heading(self) -> &'static str {
        match self {
            Section::Rpcs => "## RPCs",
            Section::Client => "## The Go client",
            Section::Commands => "## Commands of ctr",
            Section::Nerdctl => "## Commands of nerdctl",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    section: Section,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Tests that write the page do so one after the other.
static PAGE: Mutex<()> = Mutex::new(());

impl Table {
    pub(crate) fn read(section: Section) -> Table {
        Table::parse(section, &std::fs::read_to_string(path()).unwrap())
    }

    fn parse(section: Section, page: &str) -> Table {
        let (_, below) = page.split_once(&format!("\n{}\n", section.heading())).unwrap();
        let mut lines = below.lines().skip_while(|line| !line.starts_with('|'));
        let cells = |line: &str| -> Vec<String> {
            let inside = line.trim_start_matches('|').trim_end().strip_suffix('|').unwrap();
            inside.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
        };
        let header = cells(lines.next().unwrap());
        let rows: Vec<Vec<String>> =
            lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect();
        let rows = rows.into_iter().map(|mut row| {
            row.resize(header.len(), String::new());
            row
        });
        Table { section, rows: rows.collect(), header }
    }

    /// What it has rows for, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.rows.iter().map(|row| row[0].clone()).collect()
    }

    /// Whether nothing was ever found out for `column`.
    pub(crate) fn is_blank(&self, column: &str) -> bool {
        let index = self.header.iter().position(|name| name == column).unwrap();
        self.rows.iter().all(|row| row[index].is_empty())
    }

    /// Fails unless `column` says of every name what was found. A state other than that of most needs a
    /// remark, but that is for the caller.
    pub(crate) fn check(mut self, column: &str, found: &BTreeMap<String, String>) {
        let index = self.header.iter().position(|name| name == column).unwrap();
        let mut wrong = Vec::new();
        for row in &mut self.rows {
            let state = found.get(&row[0]).map_or("", String::as_str);
            if row[index] != state {
                wrong.push(format!(
                    "{}: the page says {:?}, and it is {state:?}",
                    row[0], row[index]
                ));
                row[index] = state.to_owned();
            }
        }
        if !wrong.is_empty() && std::env::var_os("LAMINA_BLESS").is_some() {
            self.write(index, |_| true);
            return;
        }
        assert!(
            wrong.is_empty(),
            "docs/compatibility.md, column {column}; LAMINA_BLESS=1 writes it:\n{}",
            wrong.join("\n")
        );
    }

    /// Fails unless `column` says `state` of `name`; `shown` is what else to tell then.
    pub(crate) fn check_one(mut self, column: &str, name: &str, state: &str, shown: &str) {
        let index = self.header.iter().position(|header| header == column).unwrap();
        let row = self.rows.iter().position(|row| row[0] == name);
        let row = row.unwrap_or_else(|| panic!("docs/compatibility.md has no row {name}"));
        if self.rows[row][index] != state && std::env::var_os("LAMINA_BLESS").is_some() {
            state.clone_into(&mut self.rows[row][index]);
            self.write(index, |one| one == row);
            return;
        }
        assert_eq!(
            self.rows[row][index], state,
            "docs/compatibility.md, {name} in column {column}; LAMINA_BLESS=1 writes it:\n{shown}"
        );
    }

    /// Those whose state in `column` is `state`, with their remarks.
    pub(crate) fn remarks(&self, column: &str, state: &str) -> Vec<(String, String)> {
        let index = self.header.iter().position(|name| name == column).unwrap();
        let rows = self.rows.iter().filter(|row| row[index] == state);
        rows.map(|row| (row[0].clone(), row.last().unwrap().clone())).collect()
    }

    /// Writes one column of these rows into the page as it is now.
    fn write(&self, index: usize, which: impl Fn(usize) -> bool) {
        let _one: MutexGuard<'_, ()> = PAGE.lock().unwrap();
        let page = std::fs::read_to_string(path()).unwrap();
        let mut table = Table::parse(self.section, &page);
        for (number, row) in table.rows.iter_mut().enumerate() {
            if which(number) {
                row[index].clone_from(&self.rows[number][index]);
            }
        }
        let heading = format!("\n{}\n", self.section.heading());
        let (before, below) = page.split_once(&heading).unwrap();
        let start = below.find("\n|").unwrap() + 1;
        let end = below[start..].find("\n\n").map_or(below.len(), |end| start + end + 1);
        let text = format!("{before}{heading}{}{}{}", &below[..start], table.text(), &below[end..]);
        std::fs::write(path(), text).unwrap();
    }

    fn text(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&self.header) + "|" + &"---|".repeat(self.header.len()) + "\n";
        for row in &self.rows {
            let mut row = row.clone();
            row[0] = format!("`{}`", row[0]);
            text += &line(&row);
        }
        text
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md")
}

#[test]
fn a_table_is_read_as_it_is_written() {
    let text = "| a | b | remark |\n|---|---|---|\n| `x y` | served |  |\n| `z` |  | why |\n";
    let table = Table::parse(Section::Rpcs, &format!("#\n\n## RPCs\n\ntext\n\n{text}\nmore\n"));
    assert_eq!(table.text(), text);
    assert_eq!(table.names(), ["x y", "z"]);
    assert_eq!(table.remarks("b", ""), [("z".to_owned(), "why".to_owned())]);
}
