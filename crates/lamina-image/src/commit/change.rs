//! Changes to how an image is run, as a Dockerfile writes them (`CMD ["a", "b"]`, `ENV A=b`).

use std::str::FromStr;

use lamina_core::{Error, Result};
use serde_json::{Map, Value, json};

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The field of the config, and what becomes of it.
    field: &'static str,
    value: Set,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Set {
    /// A text.
    Text(String),
    /// A command.
    Words(Vec<String>),
    /// `NAME=value`, in the place of one of that name.
    Variables(Vec<(String, String)>),
    /// Pairs of an object.
    Labels(Vec<(String, String)>),
    /// Keys of an object without values.
    Keys(Vec<String>),
}

impl FromStr for Change {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let (word, rest) = (word.to_ascii_uppercase(), rest.trim());
        let change = |field, value| Ok(Change { field, value });
        if rest.is_empty() {
            return Err(Error::invalid_argument(format!("the change {text:?} says nothing")));
        }
        match word.as_str() {
            "CMD" => change("Cmd", Set::Words(command(rest))),
            "ENTRYPOINT" => change("Entrypoint", Set::Words(command(rest))),
            "ENV" => change("Env", Set::Variables(pairs(rest)?)),
            "LABEL" => change("Labels", Set::Labels(pairs(rest)?)),
            "USER" => change("User", Set::Text(rest.to_owned())),
            "WORKDIR" => change("WorkingDir", Set::Text(rest.to_owned())),
            "STOPSIGNAL" => change("StopSignal", Set::Text(rest.to_owned())),
            "EXPOSE" => change("ExposedPorts", Set::Keys(ports(rest))),
            "VOLUME" => change("Volumes", Set::Keys(list(rest))),
            _ => Err(Error::invalid_argument(format!(
                "{word:?} is no change of an image; CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, \
                 USER, VOLUME and WORKDIR are"
            ))),
        }
    }
}

impl Change {
    /// Makes the change in the `config` of an image config.
    pub(super) fn make(&self, config: &mut Map<String, Value>) {
        let field = config.entry(self.field).or_insert(Value::Null);
        match &self.value {
            Set::Text(text) => *field = json!(text),
            Set::Words(words) => *field = json!(words),
            Set::Variables(pairs) => {
                let mut all: Vec<Value> = field.as_array().cloned().unwrap_or_default();
                for (name, value) in pairs {
                    let start = format!("{name}=");
                    let named = |one: &&mut Value| {
                        one.as_str().is_some_and(|text| text.starts_with(&start))
                    };
                    let text = json!(format!("{start}{value}"));
                    match all.iter_mut().find(named) {
                        Some(found) => *found = text,
                        None => all.push(text),
                    }
                }
                *field = Value::Array(all);
            }
            Set::Labels(pairs) => {
                let mut all = field.as_object().cloned().unwrap_or_default();
                all.extend(pairs.iter().map(|(name, value)| (name.clone(), json!(value))));
                *field = Value::Object(all);
            }
            Set::Keys(keys) => {
                let mut all = field.as_object().cloned().unwrap_or_default();
                all.extend(keys.iter().map(|key| (key.clone(), json!({}))));
                *field = Value::Object(all);
            }
        }
    }
}

/// `["a", "b"]`, or a line for a shell.
fn command(text: &str) -> Vec<String> {
    let shell = || vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
    serde_json::from_str(text).unwrap_or_else(|_| shell())
}

/// `["a", "b"]`, or words.
fn list(text: &str) -> Vec<String> {
    let words = || text.split_whitespace().map(ToOwned::to_owned).collect();
    serde_json::from_str(text).unwrap_or_else(|_| words())
}

/// Ports are TCP's unless they say otherwise.
fn ports(text: &str) -> Vec<String> {
    let port = |word: &str| match word.contains('/') {
        true => word.to_owned(),
        false => format!("{word}/tcp"),
    };
    text.split_whitespace().map(port).collect()
}

/// `a=b c="d e"`, or one name and the rest of the line.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace).ok_or_else(|| {
            Error::invalid_argument(format!("{text:?} has no value: write it as NAME=value"))
        })?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    words(text)?
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Error::invalid_argument(format!("{word:?} is not NAME=value"))),
        })
        .collect()
}

/// Words as a shell cuts them: by blanks outside of quotes, `\` takes the next character's meaning.
fn words(text: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let open: &mut Option<String> = &mut word;
        match (character, quote) {
            ('\\', None | Some('"')) => {
                open.get_or_insert_default().extend(characters.next());
            }
            ('"' | '\'', None) => {
                open.get_or_insert_default();
                quote = Some(character);
            }
            (one, Some(other)) if one == other => quote = None,
            (blank, None) if blank.is_whitespace() => words.extend(open.take()),
            (other, _) => open.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        return Err(Error::invalid_argument(format!("a quote is open in {text:?}")));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(changes: &[&str]) -> Value {
        let config = json!({
            "Cmd": ["old"], "Env": ["PATH=/bin", "A=1"], "Labels": {"a": "1"}, "Healthcheck": {"x": 1},
        });
        let Value::Object(mut config) = config else { panic!("no object") };
        for change in changes {
            change.parse::<Change>().unwrap().make(&mut config);
        }
        Value::Object(config)
    }

    #[test]
    fn every_instruction() {
        let found = made(&[
            r#"CMD ["echo", "a b"]"#,
            "entrypoint exec $X",
            r#"ENV A=2 B="x y" C=a\ b"#,
            "ENV D and the rest",
            r#"LABEL b='two words' a=3"#,
            "EXPOSE 80 53/udp",
            r#"VOLUME ["/data"]"#,
            "VOLUME /one /two",
            "USER 7:8",
            "WORKDIR /w",
            "STOPSIGNAL SIGINT",
        ]);
        assert_eq!(
            found,
            json!({
                "Cmd": ["echo", "a b"],
                "Entrypoint": ["/bin/sh", "-c", "exec $X"],
                "Env": ["PATH=/bin", "A=2", "B=x y", "C=a b", "D=and the rest"],
                "Labels": {"a": "3", "b": "two words"},
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
                "Volumes": {"/data": {}, "/one": {}, "/two": {}},
                "User": "7:8",
                "WorkingDir": "/w",
                "StopSignal": "SIGINT",
                "Healthcheck": {"x": 1},
            })
        );
        assert_eq!(made(&["CMD []"])["Cmd"], json!([]));
    }

    #[test]
    fn what_is_none() {
        for text in ["", "CMD", "RUN make", "ENV A", "ENV =b", "LABEL a=\"b", "ENV A=b c"] {
            assert!(text.parse::<Change>().is_err(), "{text}");
        }
    }
}
