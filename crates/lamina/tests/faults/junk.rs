//! Bytes at random, and messages of the right form with wrong values. The same for the same seed.

use std::collections::HashMap;

use lamina_api::proto::DESCRIPTORS;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Text that names nothing, is bad syntax somewhere, or is dangerous to trust.
const TEXTS: [&str; 22] = [
    "",
    "a",
    "no such thing",
    "../../../../etc/passwd",
    "/",
    "nul\0inside",
    "new\nline",
    "\u{202e}\u{fffd}\u{10ffff}",
    "sha256:zz",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha512:00",
    "md5:d41d8cd98f00b204e9800998ecf8427e",
    "name==",
    "labels.\"x==,,~=(",
    "name~=[",
    "labels.a==b",
    "overlayfs",
    "native",
    "type.googleapis.com/google.protobuf.Empty",
    "containerd.types.transfer.OCIRegistry",
    "containerd.types.transfer.ImageStore",
    "%s%n{}",
];

const NUMBERS: [u64; 8] =
    [0, 1, 2, 4096, i32::MAX as u64, i64::MAX as u64, i64::MIN as u64, u64::MAX];

/// Numbers that look random (xorshift).
pub(crate) struct Junk {
    state: u64,
    messages: HashMap<String, DescriptorProto>,
}

impl Junk {
    pub(crate) fn new(seed: u64) -> Junk {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let mut messages = HashMap::new();
        for file in files.file {
            for message in file.message_type {
                gather(&format!(".{}", file.package.as_deref().unwrap()), message, &mut messages);
            }
        }
        Junk { state: seed | 1, messages }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    /// At most `longest` bytes of anything.
    pub(crate) fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A message of the type with this full name, which begins with a dot.
    pub(crate) fn message(&mut self, name: &str) -> Vec<u8> {
        self.nested(name, 0)
    }

    fn nested(&mut self, name: &str, depth: usize) -> Vec<u8> {
        let mut encoded = Vec::new();
        let Some(message) = self.messages.get(name).cloned() else { return encoded };
        for field in &message.field {
            let times = match field.label() {
                Label::Repeated => self.below(4),
                // Mostly there: calls without arguments end early.
                _ => usize::from(self.below(6) > 0),
            };
            for _ in 0..times {
                self.field(field, depth, &mut encoded);
            }
        }
        encoded
    }

    fn field(&mut self, field: &FieldDescriptorProto, depth: usize, to: &mut Vec<u8>) {
        let tag = u32::try_from(field.number()).unwrap();
        match field.r#type() {
            Type::String => {
                let text = match self.below(12) {
                    0 => "long/".repeat(600),
                    _ => TEXTS[self.below(TEXTS.len())].to_owned(),
                };
                delimited(tag, text.as_bytes(), to);
            }
            Type::Bytes => delimited(tag, &self.bytes(200), to),
            Type::Message if depth < 5 => {
                let inner = self.nested(field.type_name(), depth + 1);
                delimited(tag, &inner, to);
            }
            Type::Message => {}
            Type::Double | Type::Fixed64 | Type::Sfixed64 => {
                encode_key(tag, WireType::SixtyFourBit, to);
                to.extend(self.next().to_le_bytes());
            }
            Type::Float | Type::Fixed32 | Type::Sfixed32 => {
                encode_key(tag, WireType::ThirtyTwoBit, to);
                to.extend((self.next() as u32).to_le_bytes());
            }
            _ => {
                encode_key(tag, WireType::Varint, to);
                encode_varint(NUMBERS[self.below(NUMBERS.len())], to);
            }
        }
    }
}

fn delimited(tag: u32, bytes: &[u8], to: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(bytes.len() as u64, to);
    to.extend(bytes);
}

fn gather(prefix: &str, message: DescriptorProto, into: &mut HashMap<String, DescriptorProto>) {
    let name = format!("{prefix}.{}", message.name());
    for inner in &message.nested_type {
        gather(&name, inner.clone(), into);
    }
    into.insert(name, message);
}
