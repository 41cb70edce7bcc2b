//! Headings and colours, the same in every subcommand.
//!
//! Colour is for people: it appears on a terminal only, and never when `NO_COLOR` is set
//! (<https://no-color.org>). `CLICOLOR_FORCE` turns it on in a pipe.

use std::io::IsTerminal;
use std::sync::OnceLock;

/// A line that starts a new part of the output.
pub(crate) fn heading(text: &str) {
    println!("\n{}", paint("1;36", &format!("==> {text}")));
}

/// Text for something that failed or was left out.
pub(crate) fn red(text: &str) -> String {
    paint("31", text)
}

/// Text for something that went well.
pub(crate) fn green(text: &str) -> String {
    paint("32", text)
}

/// Text for what is worth a look but is no failure.
pub(crate) fn yellow(text: &str) -> String {
    paint("33", text)
}

fn paint(code: &str, text: &str) -> String {
    if coloured() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn coloured() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    *ANSWER.get_or_init(|| {
        !set("NO_COLOR") && (set("CLICOLOR_FORCE") || std::io::stdout().is_terminal())
    })
}
