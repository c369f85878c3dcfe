//! Whether there is memory for a video, before any of it is taken: an allocation that fails later ends the process.

use std::fs::read_to_string;

use codec_core::{Error, Result};

/// Address space that the C library and stacks reserve for threads to come, in bytes, whether they use it or not.
const RESERVED_BY_THREADS: u64 = 192 << 20;

/// Bytes that this process can still take, as far as the system says.
fn free() -> Option<u64> {
    [address_space(), machine(), control_group()].into_iter().flatten().min()
}

/// What the limit on the address space (`ulimit -v`) leaves.
fn address_space() -> Option<u64> {
    let limits = read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
    let used = kibibytes(&read_to_string("/proc/self/status").ok()?, "VmSize:")?;
    Some(limit.saturating_sub(used + RESERVED_BY_THREADS))
}

/// Memory and swap that the machine has left.
fn machine() -> Option<u64> {
    let info = read_to_string("/proc/meminfo").ok()?;
    Some(kibibytes(&info, "MemAvailable:")? + kibibytes(&info, "SwapFree:").unwrap_or(0))
}

/// What the process's control group allows in all; what it uses counts only as far as it cannot be given back, which is not known.
fn control_group() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok()?.trim().parse().ok()
}

/// A field of one of the kernel's tables, in bytes.
fn kibibytes(table: &str, field: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Checks that there are `needed` bytes for a video of the given size; `what` is what they are for.
///
/// # Errors
/// [`Error::OutOfMemory`] with both numbers and the cure.
pub fn check(what: &str, (width, height): (u32, u32), needed: u64) -> Result<()> {
    enough(what, (width, height), needed, free())
}

fn enough(what: &str, (width, height): (u32, u32), needed: u64, free: Option<u64>) -> Result<()> {
    match free.filter(|&free| needed > free) {
        Some(free) => Err(Error::OutOfMemory(format!(
            "{what} {width}x{height} needs about {} MiB, {} MiB are free; scale the video down, or raise what limits memory: the machine's, \
             ulimit -v, or memory.max of the control group",
            needed >> 20,
            free >> 20
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_passes_and_the_rest_is_refused_with_numbers() {
        enough("encoding", (64, 48), 1_000_000, Some(1_000_000)).unwrap();
        enough("encoding", (64, 48), u64::MAX, None).unwrap();
        let error = enough("encoding", (3840, 2160), 830_000_000, Some(420_000_000)).unwrap_err().to_string();
        assert!(error.starts_with("not enough memory: encoding 3840x2160 needs about 791 MiB, 400 MiB are free"), "{error}");
    }

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(kibibytes("VmPeak:\t  10 kB\nVmSize:\t   1234 kB\n", "VmSize:"), Some(1234 << 10));
        assert!(machine().is_some_and(|bytes| bytes > 1 << 20));
    }
}
