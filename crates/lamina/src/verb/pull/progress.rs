//! How far a pull is, on standard error: bars on a terminal, lines elsewhere. No colour in either.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lamina_core::{Descriptor, Digest};
use lamina_image::pull::{Progress, State};

/// One line a change.
#[derive(Debug)]
pub(super) struct Lines;

impl Progress for Lines {
    fn resolved(&self, target: &Descriptor) {
        tell(&format!("{} resolved", part(target)));
    }

    fn state(&self, content: &Descriptor, state: State) {
        tell(&format!("{} {}", part(content), word(state)));
    }

    fn bytes(&self, _: &Digest, _: u64, _: u64) {}
}

/// One bar for each layer.
#[derive(Debug, Default)]
pub(super) struct Bars {
    all: MultiProgress,
    each: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Progress for Bars {
    fn resolved(&self, _: &Descriptor) {}

    fn state(&self, content: &Descriptor, state: State) {
        let mut bars = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(content.digest.clone()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(content.size).with_style(style()));
            bar.set_prefix(part(content).chars().take(24).collect::<String>());
            bar
        });
        bar.set_message(word(state));
        match state {
            State::Downloading { from } => {
                bar.set_position(from);
                bar.reset_eta();
            }
            State::Exists | State::Done => {
                bar.set_position(content.size);
                bar.abandon();
            }
            State::Waiting | State::Unpacking => bar.tick(),
        }
    }

    fn bytes(&self, digest: &Digest, received: u64, _: u64) {
        let bars = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = bars.get(digest) {
            bar.set_position(received);
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{prefix:24} {msg:11} {bar:20} {binary_bytes:>10}/{binary_total_bytes:10} \
                    {binary_bytes_per_sec}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The part as containerd's progress names it.
fn part(content: &Descriptor) -> String {
    let kind = match content {
        c if c.is_index() => "index",
        c if c.is_manifest() => "manifest",
        c if c.is_config() => "config",
        c if c.is_layer() => "layer",
        _ => "blob",
    };
    format!("{kind}-{}", content.digest)
}

fn word(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Downloading { .. } => "downloading",
        State::Unpacking => "extracting",
        State::Exists => "exists",
        State::Done => "done",
    }
}

/// A reader who left does not end the pull.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
