//! How fields are read from TOML and written to it.

use std::path::PathBuf;
use std::time::Duration;

use lamina_store::Durability;
use lamina_store::content::Sharing;
use toml::{Table, Value};

use super::{Level, Unpack, duration};

/// What a value must be, for a message.
pub(super) type Wanted = String;

/// A field's type.
pub(super) trait Field: Sized {
    /// The value; none for one that is written but says nothing, such as an empty path.
    fn read(value: &Value) -> Result<Option<Self>, Wanted>;
    /// What reads back as the field.
    fn write(&self) -> Value;
}

impl Field for bool {
    fn read(value: &Value) -> Result<Option<Self>, Wanted> {
        value.as_bool().map(Some).ok_or_else(|| "true or false".into())
    }

    fn write(&self) -> Value {
        Value::Boolean(*self)
    }
}

/// An empty text says nothing.
impl Field for String {
    fn read(value: &Value) -> Result<Option<Self>, Wanted> {
        let text = value.as_str().ok_or("a text")?;
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn write(&self) -> Value {
        Value::String(self.clone())
    }
}

impl Field for PathBuf {
    fn read(value: &Value) -> Result<Option<Self>, Wanted> {
        match value.as_str() {
            Some("") => Ok(None),
            Some(path) if path.starts_with('/') => Ok(Some(path.into())),
            _ => Err("an absolute path".into()),
        }
    }

    fn write(&self) -> Value {
        Value::String(self.display().to_string())
    }
}

/// No value is written as an empty text.
impl<T: Field> Field for Option<T> {
    fn read(value: &Value) -> Result<Option<Self>, Wanted> {
        Ok(T::read(value)?.map(Some))
    }

    fn write(&self) -> Value {
        self.as_ref().map_or_else(|| Value::String(String::new()), Field::write)
    }
}

impl Field for Vec<String> {
    fn read(value: &Value) -> Result<Option<Self>, Wanted> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts = value.as_array().and_then(|array| array.iter().map(text).collect());
        texts.map(Some).ok_or_else(|| "a list of texts".into())
    }

    fn write(&self) -> Value {
        Value::Array(self.iter().cloned().map(Value::String).collect())
    }
}

impl Field for Duration {
    fn read(value: &Value) -> Result<Option<Self>, Wanted> {
        let duration = value.as_str().and_then(duration::parse);
        duration.map(Some).ok_or_else(|| "a duration such as \"100ms\"".into())
    }

    fn write(&self) -> Value {
        Value::String(duration::format(*self))
    }
}

/// A list of tables; an empty one unpacks nothing.
impl Field for Vec<Unpack> {
    fn read(value: &Value) -> Result<Option<Self>, Wanted> {
        let one = |value: &Value| -> Result<Unpack, Wanted> {
            let mut unpack = Unpack::default();
            for (key, value) in value.as_table().ok_or("a list of tables")? {
                let inside = |wanted: Wanted| format!("a list of tables with {key} {wanted}");
                match key.as_str() {
                    "platform" => text(value, &mut unpack.platform).map_err(inside)?,
                    "snapshotter" => text(value, &mut unpack.snapshotter).map_err(inside)?,
                    "differ" => text(value, &mut unpack.differ).map_err(inside)?,
                    "config_type" => text(value, &mut unpack.config_type).map_err(inside)?,
                    "layer_types" => {
                        unpack.layer_types =
                            Field::read(value).map_err(inside)?.unwrap_or_default();
                    }
                    "optional" => {
                        unpack.optional = Field::read(value).map_err(inside)?.unwrap_or_default();
                    }
                    other => return Err(format!("a list of tables without {other}")),
                }
            }
            lamina_core::Platform::parse(&unpack.platform)
                .map_err(|_| "a list of tables with platform os/architecture")?;
            Ok(unpack)
        };
        let list = value.as_array().ok_or("a list of tables")?;
        list.iter().map(one).collect::<Result<_, _>>().map(Some)
    }

    fn write(&self) -> Value {
        let one = |unpack: &Unpack| {
            let Unpack { platform, snapshotter, differ, config_type, layer_types, optional } =
                unpack;
            Value::Table(Table::from_iter([
                ("platform".to_owned(), platform.write()),
                ("snapshotter".to_owned(), snapshotter.write()),
                ("differ".to_owned(), differ.write()),
                ("config_type".to_owned(), config_type.write()),
                ("layer_types".to_owned(), layer_types.write()),
                ("optional".to_owned(), optional.write()),
            ]))
        };
        Value::Array(self.iter().map(one).collect())
    }
}

fn text(value: &Value, to: &mut String) -> Result<(), Wanted> {
    *to = value.as_str().ok_or("a text")?.to_owned();
    Ok(())
}

/// Types of a few words: the words, and what they mean.
macro_rules! words {
    ($($type:ty: $($word:literal => $value:path),+;)+) => {$(
        impl Field for $type {
            fn read(value: &Value) -> Result<Option<Self>, Wanted> {
                match value.as_str() {
                    Some("") => Ok(None),
                    $(Some($word) => Ok(Some($value)),)+
                    _ => Err([$(concat!("\"", $word, "\"")),+].join(" or ")),
                }
            }

            #[allow(unreachable_patterns)] // Several words may mean one thing: the first is written.
            fn write(&self) -> Value {
                Value::String(match self { $($value => $word,)+ }.to_owned())
            }
        }
    )+};
}
words! {
    Durability: "full" => Durability::Full, "none" => Durability::None;
    Sharing: "shared" => Sharing::Shared, "isolated" => Sharing::Isolated;
    Level: "trace" => Level::Trace, "debug" => Level::Debug, "info" => Level::Info,
        "warn" => Level::Warn, "error" => Level::Error,
        "fatal" => Level::Error, "panic" => Level::Error;
}

/// A whole number in bounds.
pub(super) fn number<T>(value: &Value, least: T, most: T) -> Result<T, Wanted>
where
    T: Copy + TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    let number = value.as_integer().ok_or("a whole number")?;
    let fits = T::try_from(number).ok().filter(|number| (least..=most).contains(number));
    fits.ok_or_else(|| format!("{least} to {most}, and is {number}"))
}

/// A whole number to write. Those that files can say fit.
pub(super) fn integer(number: impl TryInto<i64>) -> Value {
    Value::Integer(number.try_into().unwrap_or(i64::MAX))
}
