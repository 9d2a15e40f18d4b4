//! How many members of a sweep match patterns, without looking at each member.
//!
//! Members' ids differ in their number alone, so patterns are read as an automaton: first over the sweep's name, then over
//! the digits, ten ways at each. A block of numbers that match all, or none, or as many as one that was counted before, is
//! not looked into. A prefix pattern over the whole name is decided by the name.
//!
//! Several patterns together are their union: a member that matches two of them counts once.

use super::facts::width_of;
use super::work::step;
use muster_model::spec::{SweepShape, TaskGlob};
use muster_model::{SweepId, limits};
use std::collections::BTreeMap;

/// For each pattern the places in it that may come next, as bits. A pattern has at most 64 characters.
type States = Vec<u128>;

/// Which members of a sweep match.
#[derive(Debug)]
pub(super) enum Reach<'a> {
    /// The name decides that none does.
    None,
    /// The name decides that all do.
    All,
    /// The numbers decide.
    Some(Box<Digits<'a>>),
}

impl<'a> Reach<'a> {
    /// What `globs` together reach of a sweep.
    pub(super) fn new(globs: &'a [TaskGlob], sweep: &SweepId, shape: SweepShape) -> Self {
        let (automaton, states) = after_name(globs, sweep);
        if is_dead(&states) {
            Self::None
        } else if automaton.takes_all(&states) {
            Self::All
        } else {
            let width = width_of(shape);
            Self::Some(Box::new(Digits { automaton, states, shape, width, memo: BTreeMap::new() }))
        }
    }

    /// How many members with indices in `first..=last` match.
    pub(super) fn count(&mut self, first: u64, last: u64) -> u64 {
        match self {
            Self::None => 0,
            Self::All => last - first + 1,
            Self::Some(digits) => digits.count(first, last),
        }
    }
}

/// Whether `globs` could match a member of a sweep whose numbers nobody knows yet.
pub(super) fn may_match(globs: &[TaskGlob], sweep: &SweepId) -> bool {
    let (automaton, mut states) = after_name(globs, sweep);
    let digits_max = limits::SWEEP_NUMBER_MAX.ilog10() + 1;
    (0..digits_max).any(|_| {
        let mut next = vec![0; states.len()];
        for digit in b'0'..=b'9' {
            for (all, one) in next.iter_mut().zip(automaton.after(&states, digit)) {
                *all |= one;
            }
        }
        states = next;
        automaton.accepts(&states)
    })
}

fn after_name<'a>(globs: &'a [TaskGlob], sweep: &SweepId) -> (Automaton<'a>, States) {
    let automaton = Automaton { patterns: globs.iter().map(|glob| glob.as_str().as_bytes()).collect() };
    let name = sweep.as_str().bytes().chain([b'-']);
    let states = name.fold(automaton.start(), |states, byte| {
        if is_dead(&states) { states } else { automaton.after(&states, byte.to_ascii_lowercase()) }
    });
    (automaton, states)
}

fn is_dead(states: &[u128]) -> bool {
    states.iter().all(|places| *places == 0)
}

/// Patterns as an automaton over bytes.
#[derive(Debug)]
struct Automaton<'a> {
    patterns: Vec<&'a [u8]>,
}

impl Automaton<'_> {
    fn start(&self) -> States {
        self.patterns.iter().map(|pattern| opened(pattern, 1)).collect()
    }

    fn after(&self, states: &[u128], byte: u8) -> States {
        let next = |(pattern, places): (&&[u8], &u128)| {
            let mut next = 0;
            for place in bits(*places) {
                match pattern.get(place) {
                    Some(b'*') => next |= 1 << place,
                    Some(wanted) if *wanted == b'?' || *wanted == byte => next |= 1 << (place + 1),
                    Some(_) | None => {}
                }
            }
            opened(pattern, next)
        };
        self.patterns.iter().zip(states).map(next).collect()
    }

    fn accepts(&self, states: &[u128]) -> bool {
        self.patterns.iter().zip(states).any(|(pattern, places)| places & (1 << pattern.len()) != 0)
    }

    /// Whether any text may follow.
    fn takes_all(&self, states: &[u128]) -> bool {
        self.patterns.iter().zip(states).any(|(pattern, places)| {
            pattern.last() == Some(&b'*') && places & (1 << (pattern.len() - 1)) != 0
        })
    }
}

/// Adds the places behind a `*`, which may be nothing, and drops those before the last `*`: whatever can be matched from
/// there can be matched from the `*` too.
fn opened(pattern: &[u8], mut places: u128) -> u128 {
    let mut last_star = 0;
    for (place, byte) in pattern.iter().enumerate() {
        if places & (1 << place) != 0 && *byte == b'*' {
            places |= 1 << (place + 1);
            last_star = place;
        }
    }
    places >> last_star << last_star
}

fn bits(mut places: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = places.trailing_zeros();
        places = places.checked_sub(1).map(|below| places & below)?;
        Some(place as usize)
    })
}

/// Counts the members whose numbers match.
#[derive(Debug)]
pub(super) struct Digits<'a> {
    automaton: Automaton<'a>,
    /// After the name and the dash.
    states: States,
    shape: SweepShape,
    /// Digits of a number.
    width: u32,
    /// How many match in a block that is wanted whole: by its free digits, its states, and where the first member is in it.
    memo: BTreeMap<(u32, States, u64), u64>,
}

impl Digits<'_> {
    fn count(&mut self, first: u64, last: u64) -> u64 {
        let (low, high) = (self.shape.number(first), self.shape.number(last));
        let states = self.states.clone();
        self.within(&states, 0, self.width, low, high)
    }

    /// Of the numbers from `start` whose last `free` digits are free, those within `low..=high` that match. Recursion
    /// goes as deep as a number has digits.
    fn within(&mut self, states: &[u128], start: u64, free: u32, low: u64, high: u64) -> u64 {
        step();
        let end = start.saturating_add(10_u64.saturating_pow(free) - 1);
        let members = match self.shape.indices(start.max(low), end.min(high)) {
            Some((first, last)) if start <= high && low <= end && !is_dead(states) => last - first + 1,
            Some(_) | None => return 0,
        };
        if self.automaton.takes_all(states) {
            return members;
        }
        let Some(free) = free.checked_sub(1) else {
            return if self.automaton.accepts(states) { members } else { 0 };
        };
        let whole = low <= start && end <= high;
        // `start` is a member's number or above one when the block is wanted whole, as `low` is a member's number.
        let offset = start.saturating_sub(self.shape.first) % self.shape.step.max(1);
        let key = (free, states.to_vec(), offset);
        if whole && let Some(count) = self.memo.get(&key) {
            return *count;
        }
        let length = 10_u64.saturating_pow(free);
        let mut count = 0;
        for digit in 0..10 {
            let next = self.automaton.after(states, b'0' + digit);
            count += self.within(
                &next,
                start.saturating_add(length.saturating_mul(digit.into())),
                free,
                low,
                high,
            );
        }
        if whole {
            self.memo.insert(key, count);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn globs(texts: &[&str]) -> Vec<TaskGlob> {
        texts.iter().map(|text| TaskGlob::parse(text).unwrap()).collect()
    }

    fn sweep(text: &str) -> SweepId {
        SweepId::parse(text).unwrap()
    }

    #[test]
    fn the_name_decides_where_it_can() {
        let shape = SweepShape { first: 1, step: 1, count: 100 };
        let reach = |glob: &str| format!("{:?}", Reach::new(&globs(&[glob]), &sweep("Frame"), shape));
        assert!(["*", "frame*", "frame-*", "f*-*"].iter().all(|glob| reach(glob) == "All"));
        assert!(["a*", "frame", "frames-*"].iter().all(|glob| reach(glob) == "None"));
        assert!(["frame-0*", "*-merge", "frame-??5"].iter().all(|glob| reach(glob).starts_with("Some")));
    }

    #[test]
    fn a_hundred_million_members_are_counted_by_their_digits() {
        let before = super::super::work::steps();
        for (step, glob, expected) in
            [(1, "s-*7", 10_000_000), (1, "s-10?1*", 10_000_000), (5, "s-*5", 50_000_000)]
        {
            let shape = SweepShape { first: 1_000_000_000, step, count: 100_000_000 };
            let globs = globs(&[glob]);
            assert_eq!(Reach::new(&globs, &sweep("s"), shape).count(0, shape.count - 1), expected, "{glob}");
        }
        let steps = super::super::work::steps() - before;
        assert!(steps < 5_000, "{steps} steps");
    }

    #[test]
    fn patterns_that_no_number_fits_match_no_unknown_sweep() {
        assert!(
            ["s-*", "*", "s-?", "s-0*5", "?-1"].iter().all(|glob| may_match(&globs(&[glob]), &sweep("S")))
        );
        assert!(
            !["s-", "s-*x", "s", "*-m*", "t*"].iter().any(|glob| may_match(&globs(&[glob]), &sweep("S")))
        );
    }

    proptest! {
        #[test]
        fn members_are_counted_as_by_matching_each(
            texts in prop::collection::vec("[s*?]{0,2}[-*?]{0,1}[0-2*?]{0,4}", 1..4),
            first in 0_u64..120, step in 1_u64..13, count in 1_u64..60,
            (from, more) in (0_u64..60, 0_u64..60),
        ) {
            let globs: Vec<_> = texts.iter().filter_map(|text| TaskGlob::parse(text).ok()).collect();
            let shape = SweepShape { first, step, count };
            let sweep = sweep("S");
            let (from, to) = (from.min(count - 1), (from + more).min(count - 1));
            let matches = |index| globs.iter().any(|glob| glob.matches(shape.task_id(&sweep, index).as_str()));
            let plain = (from..=to).filter(|index| matches(*index)).count() as u64;
            let mut reach = Reach::new(&globs, &sweep, shape);
            prop_assert_eq!(reach.count(from, to), plain);
            prop_assert_eq!(reach.count(from, to), plain, "asked again");
            prop_assert!(plain == 0 || may_match(&globs, &sweep));
        }
    }
}
