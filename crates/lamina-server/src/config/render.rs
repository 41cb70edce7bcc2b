//! A configuration as a file: every setting with what it means.

use std::fmt::Write as _;

use toml::Value;

use super::Config;
use super::load::{NEWEST, name};
use super::settings::GROUPS;
use super::value::Field;

/// Comments are no wider.
const WIDTH: usize = 96;

impl Config {
    /// A file that reads back as this configuration, with comments.
    pub fn to_toml(&self) -> String {
        let mut text = format!("version = {NEWEST}\n");
        let mut table: &[&str] = &[];
        for group in GROUPS {
            if group.path != table {
                text.push('\n');
                comment(&mut text, group.about);
                let _ = writeln!(text, "[{}]", name(group.path));
                table = group.path;
            }
            for setting in group.settings {
                comment(&mut text, setting.about);
                let _ = match (setting.get)(self) {
                    Some(value) => writeln!(text, "{} = {value}", setting.key),
                    None => writeln!(text, "# {} = []", setting.key),
                };
            }
        }
        text.push('\n');
        comment(&mut text, "Time limits by containerd's names.");
        text.push_str("[timeouts]\n");
        for (key, limit) in &self.timeouts {
            let _ = writeln!(text, "{} = {}", name(&[key]), limit.write());
        }
        text.push('\n');
        comment(
            &mut text,
            "Plugins in processes of their own: a table each, with type (snapshot, content, diff, \
             sandbox), address, platform, capabilities, exports.",
        );
        text.push_str("[proxy_plugins]\n");
        for (key, proxy) in &self.proxies {
            let _ = writeln!(text, "{} = {}", name(&[key]), Value::Table(proxy.write()));
        }
        text
    }
}

fn comment(text: &mut String, about: &str) {
    let mut line = String::new();
    for word in about.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "#{line}");
            line.clear();
        }
        line.push(' ');
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(text, "#{line}");
    }
}
