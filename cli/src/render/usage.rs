//! How what an attempt used is told: after its end, and so far while it runs.
//!
//! What a node cannot measure is left out, not shown as zero.

use muster_proto::wire;

use super::words;
use crate::outlet::Field;

/// What an attempt used, as fields of a record. Of one that still runs each is marked.
#[must_use]
pub(crate) fn fields(usage: &wire::ResourceUsage, is_running: bool) -> Vec<(&'static str, Field)> {
    let size = |bytes: u64| if bytes == 0 { String::new() } else { words::size(bytes) };
    let texts = [
        ("peak memory", size(usage.peak_memory_bytes)),
        ("processor time", processor_time(usage)),
        ("disk traffic", both(size(usage.read_bytes), "read", size(usage.written_bytes), "written")),
        (
            "peak processes",
            Some(usage.peak_processes)
                .filter(|count| *count > 0)
                .map(|count| count.to_string())
                .unwrap_or_default(),
        ),
        ("peak disk", size(usage.peak_disk_bytes)),
        ("files", both(size(usage.staged_bytes), "fetched", size(usage.uploaded_bytes), "uploaded")),
    ];
    let mark = if is_running { " so far" } else { "" };
    let shown = texts.into_iter().filter(|(_, text)| !text.is_empty());
    shown.map(|(name, text)| (name, format!("{text}{mark}").into())).collect()
}

fn processor_time(usage: &wire::ResourceUsage) -> String {
    both(
        words::span(usage.user_cpu_time.as_ref()),
        "user",
        words::span(usage.kernel_cpu_time.as_ref()),
        "kernel",
    )
}

/// Two amounts with their words, or the one that there is.
fn both(one: String, its_word: &str, other: String, others_word: &str) -> String {
    let told = |amount: String, word: &str| (!amount.is_empty()).then(|| format!("{amount} {word}"));
    let parts = [told(one, its_word), told(other, others_word)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_is_told() {
        assert!(fields(&wire::ResourceUsage::default(), false).is_empty());
        let usage = wire::ResourceUsage {
            user_cpu_time: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
            peak_memory_bytes: 3 << 20,
            written_bytes: 1 << 30,
            peak_processes: 7,
            ..Default::default()
        };
        let expected = |mark: &str| {
            [
                ("peak memory", "3.0 MiB"),
                ("processor time", "1m30s user"),
                ("disk traffic", "1.0 GiB written"),
                ("peak processes", "7"),
            ]
            .map(|(name, text)| (name, Field::from(format!("{text}{mark}"))))
        };
        assert_eq!(fields(&usage, false), expected(""));
        assert_eq!(fields(&usage, true), expected(" so far"));
    }
}
