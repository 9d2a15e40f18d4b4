//! What a machine offers and what a task takes: slots, processor, memory, disk, GPUs and things that operators name.
//!
//! One type serves for both, so that "does it fit" is one comparison. Zero means "none asked for" in a request
//! and "none left" in what a node offers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Counts of things that an operator names, such as licences of a node. Cheap to copy: most have none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NamedCounts(Option<Arc<BTreeMap<String, u64>>>);

impl NamedCounts {
    /// These counts; those of 0 are left out.
    #[must_use]
    pub fn new(counts: impl IntoIterator<Item = (String, u64)>) -> Self {
        let counts: BTreeMap<String, u64> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        Self((!counts.is_empty()).then(|| Arc::new(counts)))
    }

    /// How many of one; 0 if it is not named.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.as_ref().and_then(|counts| counts.get(name)).copied().unwrap_or(0)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().flat_map(|counts| counts.iter()).map(|(name, count)| (name.as_str(), *count))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn merged(&self, other: &Self, add: impl Fn(u64, u64) -> u64) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let mut counts: BTreeMap<String, u64> = self.iter().map(|(n, c)| (n.to_owned(), c)).collect();
        for (name, count) in other.iter() {
            let sum = add(counts.get(name).copied().unwrap_or(0), count);
            counts.insert(name.to_owned(), sum);
        }
        Self::new(counts)
    }
}

impl fmt::Debug for NamedCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Amounts of each resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Resources {
    /// Task slots.
    pub slots: u32,
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk below the task directory.
    pub disk_bytes: u64,
    /// Whole GPUs.
    pub gpus: u32,
    /// What the operator has named.
    pub named: NamedCounts,
}

/// One kind of resource that is short, and by how much: the nearest miss of a placement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shortage {
    /// Which resource: `task slots`, a field of [`Resources`], or a name of the operator's.
    pub resource: String,
    /// How much was asked for.
    pub wanted: u64,
    /// How much there is.
    pub offered: u64,
}

impl Resources {
    /// The first resource of `self` (a request) that `offer` cannot give, or none when all fit.
    #[must_use]
    pub fn shortage(&self, offer: &Self) -> Option<Shortage> {
        let pairs = [
            ("task slots", u64::from(self.slots), u64::from(offer.slots)),
            ("cpu_millis", self.cpu_millis, offer.cpu_millis),
            ("memory_bytes", self.memory_bytes, offer.memory_bytes),
            ("disk_bytes", self.disk_bytes, offer.disk_bytes),
            ("gpus", u64::from(self.gpus), u64::from(offer.gpus)),
        ];
        let named = self.named.iter().map(|(name, wanted)| (name, wanted, offer.named.get(name)));
        pairs
            .into_iter()
            .chain(named)
            .find(|(_, wanted, offered)| wanted > offered)
            .map(|(resource, wanted, offered)| Shortage { resource: resource.to_owned(), wanted, offered })
    }

    /// Whether this request fits into `offer`.
    #[must_use]
    pub fn fits(&self, offer: &Self) -> bool {
        self.slots <= offer.slots
            && self.cpu_millis <= offer.cpu_millis
            && self.memory_bytes <= offer.memory_bytes
            && self.disk_bytes <= offer.disk_bytes
            && self.gpus <= offer.gpus
            && self.named.iter().all(|(name, wanted)| wanted <= offer.named.get(name))
    }

    /// Whether nothing but slots is asked for.
    #[must_use]
    pub fn is_only_slots(&self) -> bool {
        self.cpu_millis == 0
            && self.memory_bytes == 0
            && self.disk_bytes == 0
            && self.gpus == 0
            && self.named.is_empty()
    }

    /// This amount and another together. Saturates.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            slots: self.slots.saturating_add(other.slots),
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
            gpus: self.gpus.saturating_add(other.gpus),
            named: self.named.merged(&other.named, u64::saturating_add),
        }
    }

    /// What is left of this amount when `other` is taken; never below zero.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            slots: self.slots.saturating_sub(other.slots),
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_sub(other.disk_bytes),
            gpus: self.gpus.saturating_sub(other.gpus),
            named: self.named.merged(&other.named, u64::saturating_sub),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn licences(count: u64) -> NamedCounts {
        NamedCounts::new([("licence".to_owned(), count)])
    }

    #[test]
    fn the_first_shortage_is_named_with_both_figures() {
        let offer = Resources { slots: 4, memory_bytes: 28, ..Resources::default() };
        let want = Resources { slots: 1, memory_bytes: 32, ..Resources::default() };
        let short = want.shortage(&offer).unwrap();
        assert_eq!((short.resource.as_str(), short.wanted, short.offered), ("memory_bytes", 32, 28));
        assert!(Resources { slots: 4, ..Resources::default() }.fits(&offer));
    }

    #[test]
    fn named_counts_are_taken_and_given_back() {
        let offer = Resources { named: licences(2), ..Resources::default() };
        let want = Resources { named: licences(2), ..Resources::default() };
        let left = offer.minus(&want);
        assert_eq!(left, Resources::default());
        let short = want.shortage(&left).unwrap();
        assert_eq!((short.resource.as_str(), short.wanted, short.offered), ("licence", 2, 0));
        assert_eq!(left.plus(&want), offer);
        assert!(!want.is_only_slots());
    }
}
