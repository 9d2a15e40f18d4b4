//! What a machine offers and what a task takes: slots, processor, memory, disk, processes.
//!
//! One type serves for both, so that "does it fit" is one comparison. Zero means "none asked for" in a request
//! and "none left" in what a node offers.

/// Amounts of each resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Resources {
    /// Task slots.
    pub slots: u32,
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk below the task directory.
    pub disk_bytes: u64,
}

/// One kind of resource that is short, and by how much: the nearest miss of a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Which resource.
    pub resource: &'static str,
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
        ];
        pairs
            .into_iter()
            .find(|(_, wanted, offered)| wanted > offered)
            .map(|(resource, wanted, offered)| Shortage { resource, wanted, offered })
    }

    /// Whether this request fits into `offer`.
    #[must_use]
    pub fn fits(&self, offer: &Self) -> bool {
        self.shortage(offer).is_none()
    }

    /// This amount and another together. Saturates.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            slots: self.slots.saturating_add(other.slots),
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_shortage_is_named_with_both_figures() {
        let offer = Resources { slots: 4, memory_bytes: 28, ..Resources::default() };
        let want = Resources { slots: 1, memory_bytes: 32, ..Resources::default() };
        let short = want.shortage(&offer).unwrap();
        assert_eq!((short.resource, short.wanted, short.offered), ("memory_bytes", 32, 28));
        assert!(Resources { slots: 4, ..Resources::default() }.fits(&offer));
    }
}
