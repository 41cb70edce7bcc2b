//! What a test registry holds: content, tags, rules, tokens, and the record of its requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lamina_core::Digest;

use super::access::{Access, Issued};
use super::fault::{Fault, On};
use super::message::Request;
use crate::image::Content;

/// One request and what was sent for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `GET`, `HEAD`, `POST`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, as it came.
    pub query: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The status that was answered; 0 when none was.
    pub status: u16,
    /// Bytes of the body that were sent.
    pub sent: u64,
}

impl Record {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) access: Access,
    pub(super) base: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    repositories: BTreeMap<String, Repository>,
    rules: Vec<(On, Fault)>,
    records: Vec<Record>,
    /// How many records were forgotten: numbers are never used twice.
    forgotten: usize,
    issued: Issued,
    /// Uploads that are under way, by number.
    uploads: BTreeMap<usize, Vec<u8>>,
    begun: usize,
}

impl Inner {
    fn record(&mut self, number: usize) -> Option<&mut Record> {
        self.records.get_mut(number.checked_sub(self.forgotten)?)
    }
}

#[derive(Debug, Default)]
struct Repository {
    content: BTreeMap<Digest, Content>,
    tags: BTreeMap<String, Digest>,
}

impl State {
    pub(super) fn new(access: Access, base: String) -> State {
        State { access, base, inner: Mutex::default() }
    }

    pub(super) fn put(&self, repository: &str, digest: &Digest, media_type: &str, bytes: Bytes) {
        let content = Content { media_type: media_type.to_owned(), bytes };
        let mut inner = self.lock();
        let repository = inner.repositories.entry(repository.to_owned()).or_default();
        repository.content.insert(digest.clone(), content);
    }

    pub(super) fn tag(&self, repository: &str, tag: &str, digest: &Digest) {
        let mut inner = self.lock();
        let repository = inner.repositories.entry(repository.to_owned()).or_default();
        repository.tags.insert(tag.to_owned(), digest.clone());
    }

    /// The content that a tag or digest names.
    pub(super) fn get(&self, repository: &str, name: &str) -> Option<(Digest, Content)> {
        let inner = self.lock();
        let repository = inner.repositories.get(repository)?;
        let digest = match repository.tags.get(name) {
            Some(digest) => digest.clone(),
            None => Digest::parse(name).ok()?,
        };
        let content = repository.content.get(&digest)?.clone();
        Some((digest, content))
    }

    pub(super) fn add_rule(&self, on: On, fault: Fault) {
        self.lock().rules.push((on, fault));
    }

    pub(super) fn clear_rules(&self) {
        self.lock().rules.clear();
    }

    /// The fault for a request, if it gets one.
    pub(super) fn rule(&self, request: &Request) -> Option<Fault> {
        let mut inner = self.lock();
        let rules = inner.rules.iter_mut();
        let mut taken = rules.filter_map(|(on, fault)| {
            on.takes(&request.method, &request.path).then(|| fault.clone())
        });
        taken.next()
    }

    /// Whether no more than these bytes of a request's body are to be read.
    pub(super) fn cuts(&self, request: &Request, bytes: usize) -> bool {
        let inner = self.lock();
        let rule = inner.rules.iter().find(|(on, _)| on.would_take(&request.method, &request.path));
        matches!(rule, Some((_, Fault::TakeOnly(most))) if bytes >= *most)
    }

    /// Begins an upload, and returns its number.
    pub(super) fn begin_upload(&self) -> usize {
        let mut inner = self.lock();
        inner.begun += 1;
        let number = inner.begun;
        inner.uploads.insert(number, Vec::new());
        number
    }

    /// Works on an upload that is under way.
    pub(super) fn upload<T>(
        &self,
        number: usize,
        work: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> Option<T> {
        self.lock().uploads.get_mut(&number).map(work)
    }

    pub(super) fn end_upload(&self, number: usize) -> Option<Vec<u8>> {
        self.lock().uploads.remove(&number)
    }

    /// Notes a request; returns its number for [`finish`](State::finish).
    pub(super) fn begin(&self, request: &Request) -> usize {
        let mut inner = self.lock();
        inner.records.push(Record {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            status: 0,
            sent: 0,
        });
        inner.forgotten + inner.records.len() - 1
    }

    pub(super) fn answered(&self, number: usize, status: u16) {
        if let Some(record) = self.lock().record(number) {
            record.status = status;
        }
    }

    pub(super) fn sent(&self, number: usize, bytes: i64) {
        if let Some(record) = self.lock().record(number) {
            record.sent = record.sent.saturating_add_signed(bytes);
        }
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    pub(super) fn forget(&self) {
        let mut inner = self.lock();
        inner.forgotten += inner.records.len();
        inner.records.clear();
    }

    pub(super) fn revoke(&self) {
        self.lock().issued = Issued::default();
    }

    /// Works on the tokens given out.
    pub(super) fn issued<T>(&self, work: impl FnOnce(&mut Issued) -> T) -> T {
        work(&mut self.lock().issued)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
