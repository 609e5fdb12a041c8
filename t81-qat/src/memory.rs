//! The most memory that a run held.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::device::is_cpu;

/// Peaks in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakMemory {
    /// Of the process in the computer's own memory, as the operating system counted (Linux only).
    pub host: Option<u64>,
    /// Reserved by the allocator on the GPU that had most, as seen at the lines of progress; none on a processor.
    pub device: Option<u64>,
}

impl PeakMemory {
    /// Takes what `devices` hold now for a new peak if it is one. Waits for the devices.
    pub(crate) fn observe(&mut self, devices: &[Device]) {
        let held = devices
            .iter()
            .filter(|device| !is_cpu(device))
            .filter_map(Device::memory_pool_usage)
            .map(|usage| usage.bytes_reserved)
            .max();
        self.device = self.device.max(held);
        self.host = host_peak();
    }
}

/// High-water mark of the process' resident memory.
fn host_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kilobytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_that_was_touched_counts() {
        let mut peak = PeakMemory::default();
        peak.observe(&[Device::flex()]);
        let before = peak.host.unwrap();
        let touched = vec![1u8; before as usize + (64 << 20)];
        assert_eq!(touched.iter().map(|byte| *byte as usize).max(), Some(1));
        peak.observe(&[Device::flex()]);
        assert!(
            peak.host.unwrap() >= before + (32 << 20),
            "{before} {peak:?}"
        );
        assert_eq!(peak.device, None);
    }
}
