//! The ids of new nodes, in the reference's form: `tvm-<hash>_<n>-<yyyymmddthhmmssz>`.
//!
//! The hash tells machines apart, the number makes two of the same second differ. Nothing reads an id apart again.

use muster_model::{Digest, IdError, NodeId, Timestamp};

/// Seconds of a day.
const DAY: i64 = 24 * 3600;

/// The id of a machine that joins: `seed` is a digest of what names the machine and its request.
pub(super) fn node_id(seed: &Digest, number: u32, now: Timestamp) -> Result<NodeId, IdError> {
    let mut hash = seed.to_string();
    hash.truncate(10);
    NodeId::parse(&format!("tvm-{hash}_{number}-{}", stamp(now)))
}

/// A time as `yyyymmddthhmmssz`, UTC.
fn stamp(time: Timestamp) -> String {
    let seconds = time.as_micros().max(0) / 1_000_000;
    let (year, month, day) = civil(seconds / DAY);
    let of_day = seconds % DAY;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}t{hour:02}{minute:02}{second:02}z")
}

/// The Gregorian date of a day counted from 1970-01-01, not before it. Counts in eras of 400 years that begin in March,
/// so that the day that comes and goes is a year's last.
const fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_the_reference() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let seed = Digest::from_bytes([0xab; 32]);
        let id = node_id(&seed, 3, at(1_470_868_405)).unwrap();
        assert_eq!(id.as_str(), "tvm-ababababab_3-20160810t223325z");
        for (seconds, wanted) in [
            (0, "19700101t000000z"),
            (951_782_399, "20000228t235959z"),
            (951_782_400, "20000229t000000z"),
            (951_868_800, "20000301t000000z"),
            (1_735_689_599, "20241231t235959z"),
            (4_107_542_400, "21000301t000000z"),
        ] {
            assert_eq!(stamp(at(seconds)), wanted);
        }
        assert!(node_id(&seed, u32::MAX, Timestamp::FAR_FUTURE).is_ok());
        assert!(node_id(&seed, 0, Timestamp::from_micros(i64::MIN)).is_ok());
    }
}
