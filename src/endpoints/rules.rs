//! When a delivery is tried again, and where none goes. Pure: no database, no clock, no network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::events::EventKind;

/// Attempts before a delivery is given up: with the pauses between them, about three days.
pub const ATTEMPTS_MAX: i32 = 15;
/// Failures in a row after which an endpoint is left alone for a while.
pub const FAILURES_TO_PAUSE: i32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 60 * 60);
const SHORTEST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);

/// The pause after so many attempts: 5 s, 15 s, 45 s, …, 12 h, less up to a quarter, by `chance`, so that those that failed
/// together do not come back together.
#[must_use]
pub fn pause_after(attempts: i32, chance: u8) -> Duration {
    let longer = 3_u32.saturating_pow(attempts.saturating_sub(1).unsigned_abs());
    let pause = FIRST_PAUSE.saturating_mul(longer).min(LONGEST_PAUSE);
    pause.mul_f64(1.0 - f64::from(chance) / 1_024.0)
}

/// How long an endpoint is left alone after so many failures in a row: then one delivery tries it.
#[must_use]
pub fn rest_after(failures: i32) -> Option<Duration> {
    let more = failures.checked_sub(FAILURES_TO_PAUSE).filter(|more| *more >= 0)?;
    Some(SHORTEST_REST.saturating_mul(2_u32.saturating_pow(more.unsigned_abs())).min(LONGEST_REST))
}

/// An endpoint's failures in a row, once these attempts have ended, in this order: each is whether it was taken.
#[must_use]
pub fn failures_after(before: i32, taken: impl Iterator<Item = bool>) -> i32 {
    taken.fold(before, |failures, taken| if taken { 0 } else { failures.saturating_add(1) })
}

/// Whether events of this type are forgotten after a time: those that are no row of anything that is kept.
fn is_forgotten(kind: &str) -> bool {
    kind != EventKind::StockChanged.as_str() && kind != EventKind::OrderPlaced.as_str()
}

/// After which position up to which an endpoint may have missed something it wants, if everything up to `horizon` is
/// forgotten, and it has been given all up to `position`, and was told of a gap that ended at `told`.
#[must_use]
pub fn gap_of(position: i64, told: Option<i64>, types: &[String], horizon: i64) -> Option<(i64, i64)> {
    let from = position.max(told.unwrap_or(position));
    let is_touched = types.is_empty() || types.iter().any(|kind| is_forgotten(kind));
    (is_touched && from < horizon).then_some((from, horizon))
}

/// How many of these fit into so many bytes, in their order: one at least, if there is one.
#[must_use]
pub fn fits_in(bytes: usize, sizes: impl Iterator<Item = usize>) -> usize {
    let mut sum = 0_usize;
    sizes
        .enumerate()
        .take_while(|(place, size)| {
            sum = sum.saturating_add(*size);
            *place == 0 || sum <= bytes
        })
        .count()
}

/// Whether an address is one of the public internet: not of this machine, a private network, or a special purpose.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match (address.to_ipv4_mapped(), address.segments()) {
            (Some(mapped), _) => is_public_v4(mapped),
            // 6to4 and NAT64 carry an address of the older kind.
            (None, [0x2002, high, low, ..]) | (None, [0x64, 0xff9b, 0, 0, 0, 0, high, low]) => {
                is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
            }
            _ => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = a == 0
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        // Shared by carriers, protocol assignments, benchmarks, reserved.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !is_special
}

/// Only what is given out as global unicast, less the documentation and the tunnels in it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    segments[0] & 0xe000 == 0x2000
        && !(segments[0] == 0x2001 && (segments[1] < 0x200 || segments[1] == 0x0db8))
        && segments[0] != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_day_and_all_of_them_last_for_days() {
        assert_eq!(pause_after(1, 0), Duration::from_secs(5));
        assert_eq!(pause_after(2, 0), Duration::from_secs(15));
        assert_eq!(pause_after(i32::MAX, 0), LONGEST_PAUSE);
        assert!(pause_after(3, 255) > Duration::from_secs(33) && pause_after(3, 255) < pause_after(3, 0));
        let all: Duration = (1..ATTEMPTS_MAX).map(|attempts| pause_after(attempts, 128)).sum();
        assert!((2..4).contains(&(all.as_secs() / 86_400)), "{all:?}");
    }

    #[test]
    fn an_endpoint_rests_after_five_failures_and_never_for_long() {
        assert_eq!((rest_after(4), rest_after(5)), (None, Some(SHORTEST_REST)));
        assert_eq!(rest_after(i32::MAX), Some(LONGEST_REST));
    }

    #[test]
    fn failures_count_in_a_row() {
        let after = |taken: &[bool]| failures_after(3, taken.iter().copied());
        assert_eq!([after(&[]), after(&[false, false]), after(&[false, true, false])], [3, 5, 1]);
    }

    #[test]
    fn a_gap_is_told_once_and_only_to_whoever_wants_what_is_forgotten() {
        let (all, some) = (vec![], vec!["stock.changed".to_owned(), "hold.expired".to_owned()]);
        let kept = vec!["stock.changed".to_owned(), "order.placed".to_owned()];
        assert_eq!(gap_of(5, None, &all, 9), Some((5, 9)));
        assert_eq!(gap_of(5, None, &some, 9), Some((5, 9)));
        assert_eq!(gap_of(5, None, &kept, 9), None);
        assert_eq!(gap_of(9, None, &all, 9), None);
        assert_eq!(gap_of(5, Some(9), &all, 9), None);
        assert_eq!(gap_of(5, Some(9), &all, 12), Some((9, 12)));
    }

    #[test]
    fn a_page_is_cut_before_it_is_too_large_and_holds_one_event_at_least() {
        let fits = |sizes: &[usize]| fits_in(10, sizes.iter().copied());
        assert_eq!([fits(&[]), fits(&[11]), fits(&[11, 0]), fits(&[4, 6, 0, 1])], [0, 1, 1, 3]);
    }

    #[test]
    fn nothing_but_the_public_internet_is_public() {
        for private in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "203.0.113.5",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::a00:1",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
