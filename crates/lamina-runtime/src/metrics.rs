//! What a task uses, out of the messages that shims of runc answer: those of control groups, version 1
//! or 2. Only the fields that are shown are read.

use std::fmt;

use lamina_core::{Any, Error, Result};
use prost::Message;
use serde::Serialize;

/// What a metric's name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    One(u64),
    /// A number for each processor.
    Each(Vec<u64>),
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::One(number)
    }
}

impl fmt::Display for Value {
    /// As ctr has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::One(number) => number.fmt(f),
            Value::Each(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                write!(f, "[{}]", numbers.join(" "))
            }
        }
    }
}

/// The numbers of a metric by the names that ctr gives them, in its order.
///
/// # Errors
/// Unimplemented for a message of another kind, DataLoss for a broken one.
pub fn read(data: &Any) -> Result<Vec<(&'static str, Value)>> {
    let broken =
        |error| Error::data_loss(format!("the metrics {}", data.type_url)).with_source(error);
    match data.type_url.rsplit('/').next().unwrap_or_default() {
        "io.containerd.cgroups.v1.Metrics" => {
            V1::decode(data.value.as_slice()).map(first).map_err(broken)
        }
        "io.containerd.cgroups.v2.Metrics" => {
            V2::decode(data.value.as_slice()).map(second).map_err(broken)
        }
        other => Err(Error::unimplemented(format!("metrics of the kind {other:?}"))),
    }
}

fn first(metrics: V1) -> Vec<(&'static str, Value)> {
    let mut found = Vec::new();
    if let Some(memory) = metrics.memory {
        let usage = memory.usage.unwrap_or_default();
        found.push(("memory.usage_in_bytes", usage.usage.into()));
        found.push(("memory.limit_in_bytes", usage.limit.into()));
        found.push(("memory.stat.cache", memory.total_cache.into()));
    }
    if let Some(usage) = metrics.cpu.and_then(|cpu| cpu.usage) {
        found.push(("cpuacct.usage", usage.total.into()));
        found.push(("cpuacct.usage_percpu", Value::Each(usage.per_cpu)));
    }
    if let Some(pids) = metrics.pids {
        found.extend([("pids.current", pids.current.into()), ("pids.limit", pids.limit.into())]);
    }
    found
}

fn second(metrics: V2) -> Vec<(&'static str, Value)> {
    let mut found = Vec::new();
    if let Some(pids) = metrics.pids {
        found.extend([("pids.current", pids.current.into()), ("pids.limit", pids.limit.into())]);
    }
    if let Some(cpu) = metrics.cpu {
        found.extend([
            ("cpu.usage_usec", cpu.usage_usec.into()),
            ("cpu.user_usec", cpu.user_usec.into()),
            ("cpu.system_usec", cpu.system_usec.into()),
            ("cpu.nr_periods", cpu.nr_periods.into()),
            ("cpu.nr_throttled", cpu.nr_throttled.into()),
            ("cpu.throttled_usec", cpu.throttled_usec.into()),
        ]);
    }
    if let Some(memory) = metrics.memory {
        found.extend([
            ("memory.usage", memory.usage.into()),
            ("memory.usage_limit", memory.usage_limit.into()),
            ("memory.swap_usage", memory.swap_usage.into()),
            ("memory.swap_limit", memory.swap_limit.into()),
        ]);
    }
    found
}

#[derive(Clone, PartialEq, Message)]
struct V1 {
    #[prost(message, optional, tag = "2")]
    pids: Option<Pids>,
    #[prost(message, optional, tag = "3")]
    cpu: Option<Cpu1>,
    #[prost(message, optional, tag = "4")]
    memory: Option<Memory1>,
}

#[derive(Clone, PartialEq, Message)]
struct V2 {
    #[prost(message, optional, tag = "1")]
    pids: Option<Pids>,
    #[prost(message, optional, tag = "2")]
    cpu: Option<Cpu2>,
    #[prost(message, optional, tag = "4")]
    memory: Option<Memory2>,
}

#[derive(Clone, PartialEq, Message)]
struct Pids {
    #[prost(uint64, tag = "1")]
    current: u64,
    #[prost(uint64, tag = "2")]
    limit: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Cpu1 {
    #[prost(message, optional, tag = "1")]
    usage: Option<Usage1>,
}

#[derive(Clone, PartialEq, Message)]
struct Usage1 {
    #[prost(uint64, tag = "1")]
    total: u64,
    #[prost(uint64, repeated, tag = "4")]
    per_cpu: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Memory1 {
    #[prost(uint64, tag = "18")]
    total_cache: u64,
    #[prost(message, optional, tag = "33")]
    usage: Option<MemoryUsage1>,
}

#[derive(Clone, PartialEq, Message)]
struct MemoryUsage1 {
    #[prost(uint64, tag = "1")]
    limit: u64,
    #[prost(uint64, tag = "2")]
    usage: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Cpu2 {
    #[prost(uint64, tag = "1")]
    usage_usec: u64,
    #[prost(uint64, tag = "2")]
    user_usec: u64,
    #[prost(uint64, tag = "3")]
    system_usec: u64,
    #[prost(uint64, tag = "4")]
    nr_periods: u64,
    #[prost(uint64, tag = "5")]
    nr_throttled: u64,
    #[prost(uint64, tag = "6")]
    throttled_usec: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Memory2 {
    #[prost(uint64, tag = "32")]
    usage: u64,
    #[prost(uint64, tag = "33")]
    usage_limit: u64,
    #[prost(uint64, tag = "34")]
    swap_usage: u64,
    #[prost(uint64, tag = "35")]
    swap_limit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let any = |kind: &str, value: Vec<u8>| Any { type_url: kind.to_owned(), value };
        let pids = Some(Pids { current: 3, limit: 9 });
        let usage = Some(MemoryUsage1 { limit: 7, usage: 5 });
        let memory = Some(Memory1 { total_cache: 2, usage });
        let cpu = Some(Cpu1 { usage: Some(Usage1 { total: 11, per_cpu: vec![4, 7] }) });
        let one = V1 { pids: pids.clone(), cpu, memory }.encode_to_vec();
        assert_eq!(
            read(&any("io.containerd.cgroups.v1.Metrics", one)).unwrap(),
            [
                ("memory.usage_in_bytes", 5.into()),
                ("memory.limit_in_bytes", 7.into()),
                ("memory.stat.cache", 2.into()),
                ("cpuacct.usage", 11.into()),
                ("cpuacct.usage_percpu", Value::Each(vec![4, 7])),
                ("pids.current", 3.into()),
                ("pids.limit", 9.into()),
            ]
        );
        let two = V2 { pids, cpu: None, memory: None }.encode_to_vec();
        let kind = "type.googleapis.com/io.containerd.cgroups.v2.Metrics";
        let found = read(&any(kind, two)).unwrap();
        assert_eq!(found, [("pids.current", 3.into()), ("pids.limit", 9.into())]);
        assert_eq!(Value::Each(vec![4, 7]).to_string(), "[4 7]");
        assert!(read(&any("x", Vec::new())).is_err());
        assert!(read(&any(kind, vec![0xff])).is_err());
    }
}
