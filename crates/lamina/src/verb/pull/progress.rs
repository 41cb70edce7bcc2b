//! How far a pull is, on standard error: bars on a terminal, lines elsewhere. No colour in either.

use std::collections::HashMap;
use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
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

/// Whether standard error is a terminal on which lines can be drawn again.
pub(super) fn can_redraw() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stderr().is_terminal() && !dumb
}

/// One bar for each layer.
#[derive(Debug, Default)]
pub(super) struct Bars {
    all: MultiProgress,
    each: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Bars {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, ProgressBar>> {
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Bars {
    fn resolved(&self, _: &Descriptor) {}

    fn state(&self, content: &Descriptor, state: State) {
        if !content.is_layer() {
            return;
        }
        let mut bars = self.lock();
        let bar = bars.entry(content.digest.clone()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(content.size).with_style(style()));
            bar.set_prefix(content.digest.hex().chars().take(7).collect::<String>());
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
            State::Waiting | State::Unpacking => {}
        }
        // Not when the next bytes come: a state may last.
        bar.force_draw();
    }

    fn bytes(&self, digest: &Digest, received: u64, _: u64) {
        if let Some(bar) = self.lock().get(digest) {
            bar.set_position(received);
        }
    }
}

/// What was drawn stays, and what is printed next has a line of its own.
impl Drop for Bars {
    fn drop(&mut self) {
        let bars = self.lock();
        // Drawing once more would go wrong where the terminal showed a `^C` behind the last line.
        self.all.set_draw_target(ProgressDrawTarget::hidden());
        for bar in bars.values() {
            bar.abandon();
        }
        if !bars.is_empty() {
            tell("");
        }
    }
}

/// 39 columns and a bar in those that are left, so that no terminal in use wraps a line.
fn style() -> ProgressStyle {
    let template = "{prefix:7!} {msg:11} {received:>5}/{total:5} {rate:>7} {wide_bar}";
    let style = ProgressStyle::with_template(template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("received", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = out.write_str(&short(state.pos()));
        })
        .with_key("total", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = out.write_str(&short(state.len().unwrap_or_default()));
        })
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            if !state.is_finished() {
                let _ = write!(out, "{}/s", short(state.per_sec() as u64));
            }
        })
}

/// A number of bytes in binary units, in five columns at most: `9.5M`, `1023M`.
fn short(bytes: u64) -> String {
    let mut tenths = u128::from(bytes) * 10;
    let mut units = ["B", "K", "M", "G", "T", "P"].into_iter();
    let mut unit = units.next();
    while (tenths + 5) / 10 >= 1024
        && let Some(next) = units.next()
    {
        tenths = (tenths + 512) / 1024;
        unit = Some(next);
    }
    let unit = unit.unwrap_or_default();
    match tenths {
        0..100 if unit != "B" => format!("{}.{}{unit}", tenths / 10, tenths % 10),
        _ => format!("{}{unit}", (tenths + 5) / 10),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_five_columns() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (10_189, "10K"),
            (1_047_552, "1023K"),
            (1_048_575, "1.0M"),
            (5 << 30, "5.0G"),
        ] {
            assert_eq!(short(bytes), text);
        }
        assert!(short(1 << 59).len() <= 5);
    }
}
