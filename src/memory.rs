//! Available memory, so that a model that does not fit is an error before it is allocated, instead of a killed process.

use std::fs;
use std::path::Path;

/// The environment variable that replaces what the system reports, in GiB.
pub(crate) const VARIABLE: &str = "STARPLE_MEMORY_GIB";

/// The amount where the system does not report one: far above what machines have, far below what hostile settings ask for.
const UNKNOWN: f64 = 1e13;

/// The bytes that this process can have at most: memory and swap of the machine, or the limit of its control group or address space if that is
/// lower.
pub(crate) fn total() -> f64 {
    wanted().unwrap_or_else(|| {
        let machine = meminfo(&["MemTotal:", "SwapTotal:"]).unwrap_or(UNKNOWN);
        machine.min(group(|limit, _| limit)).min(address_space().unwrap_or(f64::INFINITY))
    })
}

/// The bytes that this process can still allocate: what is free or can be freed, with the limits of [`total`].
pub(crate) fn available() -> f64 {
    wanted().unwrap_or_else(|| {
        let machine = meminfo(&["MemAvailable:", "SwapFree:"]).unwrap_or(UNKNOWN);
        let addresses = address_space().map_or(f64::INFINITY, |limit| limit - used_addresses());
        machine.min(group(|limit, used| limit - used)).min(addresses).max(0.0)
    })
}

fn wanted() -> Option<f64> {
    let gib: f64 = std::env::var(VARIABLE).ok()?.trim().parse().ok()?;
    (gib > 0.0).then_some(gib * 1024.0_f64.powi(3))
}

/// The sum of these entries of `/proc/meminfo`, in bytes.
fn meminfo(keys: &[&str]) -> Option<f64> {
    sum_of(&fs::read_to_string("/proc/meminfo").ok()?, keys)
}

fn sum_of(text: &str, keys: &[&str]) -> Option<f64> {
    let value = |key: &&str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    keys.iter().map(value).sum::<Option<f64>>().map(|kib| kib * 1024.0)
}

/// The least value of `of(limit, used)`, both in bytes, over the control groups of this process.
fn group(of: fn(f64, f64) -> f64) -> f64 {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut least = f64::INFINITY;
    let mut see = |folder: &Path, limit: &str, used: &str| {
        let number = |name| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<f64>().ok();
        if let Some(limit) = number(limit) {
            least = least.min(of(limit, number(used).unwrap_or(0.0)));
        }
    };
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let path = Path::new(path.trim_start_matches('/'));
        let (root, limit, used) = if controllers.is_empty() {
            (Path::new("/sys/fs/cgroup"), "memory.max", "memory.current")
        } else if controllers.split(',').any(|name| name == "memory") {
            (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            continue;
        };
        // The limits of parent groups hold too.
        for path in path.ancestors() {
            see(&root.join(path), limit, used);
        }
    }
    least
}

/// The limit on address space (`ulimit -v`), if there is one.
fn address_space() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn used_addresses() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    sum_of(&status, &["VmSize:"]).unwrap_or(0.0)
}

/// `12.3 GB`.
pub(crate) fn shown(bytes: f64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value >= 1e6 {
        return format!("{value:.1e} {}", units[unit]);
    }
    let decimals = usize::from(unit > 0 && value < 99.5);
    format!("{value:.decimals$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_and_added() {
        let text = "MemTotal:       24000000 kB\nMemFree:         1 kB\nSwapTotal:       1000000 kB\n";
        assert_eq!(sum_of(text, &["MemTotal:", "SwapTotal:"]), Some(25e6 * 1024.0));
        assert_eq!(sum_of(text, &["MemTotal:", "MemAvailable:"]), None);
        assert_eq!(sum_of("", &["MemTotal:"]), None);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(total() > 1e6 && available() > 0.0 && available() <= total());
    }

    #[test]
    fn bytes_are_shown_in_the_unit_that_suits() {
        let shown = [0.0, 999.0, 1000.0, 123_456.0, 2.56e11, 1e24].map(shown);
        assert_eq!(shown, ["0 bytes", "999 bytes", "1.0 kB", "123 kB", "256 GB", "1.0e9 PB"]);
    }
}
