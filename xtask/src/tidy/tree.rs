//! The files that the rules look at, and what a rule says about them.
//!
//! The rules see a [`Tree`] in memory and never the disk, so each is tested on small samples.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};

use super::source::Source;
use crate::repo::Repo;

/// Every text file of the repository by its path from the root.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, File>,
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Present for Rust files.
    pub(crate) source: Option<Source>,
    /// Its module is declared under `#[cfg(test)]`.
    test_module: bool,
}

impl Tree {
    /// Reads the working tree. Files that are not UTF-8 are known by name only.
    pub(crate) fn read(repo: &Repo) -> Result<Tree> {
        let mut tree = Tree::default();
        for path in repo.files()? {
            let bytes = std::fs::read(repo.root().join(&path))
                .with_context(|| format!("cannot read {path}"))?;
            tree.add(path, String::from_utf8(bytes).unwrap_or_default());
        }
        tree.mark_test_modules();
        Ok(tree)
    }

    /// A tree out of samples, for the tests of rules.
    #[cfg(test)]
    pub(crate) fn of(samples: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in samples {
            tree.add((*path).to_owned(), (*text).to_owned());
        }
        tree.mark_test_modules();
        tree
    }

    fn add(&mut self, path: String, text: String) {
        let source = path.ends_with(".rs").then(|| Source::new(&text));
        self.files.insert(path.clone(), File { path, text, source, test_module: false });
    }

    /// Finds the files of modules that are declared under `#[cfg(test)]`.
    fn mark_test_modules(&mut self) {
        let mut modules = Vec::new();
        for (file, source) in self.rust() {
            let folder = file.module_folder();
            modules.extend(source.test_modules().iter().map(|name| format!("{folder}/{name}")));
        }
        for file in self.files.values_mut() {
            file.test_module = modules.iter().any(|module| {
                let rest = file.path.strip_prefix(module.as_str());
                rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            });
        }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files().filter_map(|file| Some((file, file.source.as_ref()?)))
    }

    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// Whether `path` is a file, or a folder with a file in it.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        path.is_empty() || self.files.contains_key(path) || {
            let folder = format!("{path}/");
            self.files
                .range(folder.clone()..)
                .next()
                .is_some_and(|(next, _)| next.starts_with(&folder))
        }
    }

    /// The folder names under `crates/`.
    pub(crate) fn crates(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .files
            .keys()
            .filter_map(|path| Some(path.strip_prefix("crates/")?.split_once('/')?.0))
            .collect();
        names.dedup();
        names
    }
}

impl File {
    /// The crate that the file belongs to: a folder of `crates/`, or `xtask`.
    pub(crate) fn krate(&self) -> Option<&str> {
        match self.path.strip_prefix("crates/") {
            Some(rest) => rest.split_once('/').map(|(name, _)| name),
            None => self.path.starts_with("xtask/").then_some("xtask"),
        }
    }

    /// Whether the whole file is test code: an integration test, an example, a bench, or a module
    /// that is compiled for tests only.
    pub(crate) fn is_test(&self) -> bool {
        let folders = ["/tests/", "/examples/", "/benches/"];
        self.test_module
            || self.path.starts_with("tests/")
            || folders
                .iter()
                .any(|folder| self.path.contains(folder) && !self.path.contains("/src/"))
    }

    /// The folder in which the modules lie that this file declares.
    fn module_folder(&self) -> String {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        match name {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        }
    }
}

/// What a rule has to say about one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// From 1; 0 is the file as a whole.
    pub(crate) line: usize,
    pub(crate) weight: Weight,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Breaks a rule.
    Error,
    /// Worth knowing.
    Note,
}

impl Finding {
    pub(crate) fn error(path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, weight: Weight::Error, message: message.into() }
    }

    pub(crate) fn note(path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { weight: Weight::Note, ..Finding::error(path, line, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.path.as_str(), self.line) {
            ("", _) => write!(f, "{}", self.message),
            (path, 0) => write!(f, "{path}: {}", self.message),
            (path, line) => write!(f, "{path}:{line}: {}", self.message),
        }
    }
}
