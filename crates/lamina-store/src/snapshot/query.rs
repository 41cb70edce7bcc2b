//! Stat, Update, Usage, Mounts and the pages of Walk.

use lamina_core::snapshot::{Info, Kind, PAGE, Usage};
use lamina_core::{Error, Filters, Mount, Result, Scope, labels};

use super::engine::Engine;
use crate::db::names::NameRow;

impl Engine {
    pub(super) fn name_row(&self, scope: &Scope, key: &str) -> Result<Option<NameRow>> {
        self.db.read(|r| r.name(&scope.namespace, &self.name, key))
    }

    /// The row of `key`, or NotFound.
    pub(super) fn named(&self, scope: &Scope, key: &str) -> Result<NameRow> {
        self.name_row(scope, key)?.ok_or_else(|| Error::not_found(format!("snapshot {key:?}")))
    }

    pub(super) fn stat(&self, scope: &Scope, key: &str) -> Result<Info> {
        let row = self.named(scope, key)?;
        if let Some(remote) = &self.remote {
            remote.look_for(row.id, key)?;
        }
        Ok(self.shown(row))
    }

    pub(super) fn update(&self, scope: &Scope, info: &Info, paths: &[String]) -> Result<Info> {
        if info.name.is_empty() {
            return Err(Error::invalid_argument("a snapshot key must not be empty"));
        }
        let _held = self.keys.hold(&scope.namespace, &[&info.name]);
        if let Some(remote) = &self.remote {
            let row = self.named(scope, &info.name)?;
            let mut labels = row.labels.clone();
            labels::apply_update(&mut labels, &info.labels, paths, |_| false)?;
            remote.relabel(row.id, &labels::inherited(&row.labels), labels::inherited(&labels))?;
        }
        let (scope, info, paths) = (scope.clone(), info.clone(), paths.to_vec());
        let snapshotter = self.name.clone();
        let row = self.db.write(move |tx| {
            let mut row = tx
                .name(&scope.namespace, &snapshotter, &info.name)?
                .ok_or_else(|| Error::not_found(format!("snapshot {:?}", info.name)))?;
            labels::apply_update(&mut row.labels, &info.labels, &paths, |_| false)?;
            row.updated = tx.now();
            tx.update_name_labels(
                &scope.namespace,
                &snapshotter,
                &row.key,
                &row.labels,
                row.updated,
            )?;
            Ok(row)
        })?;
        Ok(self.shown(row))
    }

    pub(super) fn mounts(&self, scope: &Scope, key: &str) -> Result<Vec<Mount>> {
        let snapshot = self.db.read(|r| {
            let row = r
                .name(&scope.namespace, &self.name, key)?
                .ok_or_else(|| Error::not_found(format!("snapshot {key:?}")))?;
            if row.kind == Kind::Committed {
                return Err(Error::failed_precondition(format!(
                    "snapshot {key:?} is committed; mounts are those of an active or a view"
                )));
            }
            self.describe(r, &row)
        })?;
        self.driver.mounts(&snapshot)
    }

    pub(super) fn usage(
        &self,
        scope: &Scope,
        key: &str,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Usage> {
        loop {
            let (row, stored, snapshot) = self.db.read(|r| {
                let row = r
                    .name(&scope.namespace, &self.name, key)?
                    .ok_or_else(|| Error::not_found(format!("snapshot {key:?}")))?;
                let stored = r.snapshot(&self.name, row.id)?.map(|s| s.usage).unwrap_or_default();
                let snapshot = self.describe(r, &row)?;
                Ok((row, stored, snapshot))
            })?;
            if row.kind != Kind::Active && self.remote.is_none() {
                return Ok(stored);
            }
            let measured = self.driver.usage(&snapshot, cancelled);
            // What was removed meanwhile was half there while it was measured, or not at all.
            if self.name_row(scope, key)?.is_some_and(|now| now.id == row.id) {
                return measured;
            }
        }
    }

    /// The next names behind `after` that `filters` match, at most [`PAGE`]; none at the end, which
    /// `after` is `None` for. What fits on one page is shown as it was at one moment.
    pub(super) fn walk_page(
        &self,
        scope: &Scope,
        filters: &Filters,
        after: &mut Option<String>,
    ) -> Result<Vec<Info>> {
        loop {
            let Some(from) = after else { return Ok(Vec::new()) };
            let rows = self.db.read(|r| r.name_page(&scope.namespace, &self.name, from, PAGE))?;
            // Another look could show what was renamed since a second time.
            *after = rows.last().filter(|_| rows.len() == PAGE).map(|last| last.key.clone());
            let page: Vec<Info> = rows
                .into_iter()
                .map(|row| (row.id, Info::from(row)))
                .filter(|(_, info)| filters.matches(info))
                .map(|(id, mut info)| {
                    info.labels.extend(self.driver.synthetic_labels(id));
                    info
                })
                .collect();
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    /// A row as clients see it.
    fn shown(&self, row: NameRow) -> Info {
        let id = row.id;
        let mut info = Info::from(row);
        info.labels.extend(self.driver.synthetic_labels(id));
        info
    }
}
