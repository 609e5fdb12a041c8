//! Where a run computes.

use std::str::FromStr;
use std::thread::available_parallelism;

use burn::module::Module;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::tensor::DeviceType;
use burn::tensor::{DType, Device};

use crate::cli::ComputeType;
use crate::error::QatError;

/// Bytes that the gradients of all workers together may take.
const GRADIENT_BYTES: usize = 2 << 30;

/// `--device`: a kind of device and, of several, which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceChoice {
    kind: Kind,
    index: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Auto,
    Cpu,
    Gpu,
    Interface(&'static str),
}

/// The graphics interfaces, best first.
const INTERFACES: [&str; 4] = ["cuda", "metal", "vulkan", "wgpu"];

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, index) = match text.split_once(':') {
            None => (text, None),
            Some((name, number)) => match number.parse() {
                Ok(index) => (name, Some(index)),
                Err(_) => return Err(format!("`{number}` is not the number of a device")),
            },
        };
        let kind = match name {
            "auto" if index.is_none() => Kind::Auto,
            "cpu" if index.is_none_or(|index| index == 0) => Kind::Cpu,
            "gpu" => Kind::Gpu,
            _ => match INTERFACES.iter().find(|interface| **interface == name) {
                Some(interface) => Kind::Interface(interface),
                None => {
                    return Err(
                        "expected auto, cpu, gpu, vulkan, metal, cuda or wgpu, a GPU with its number as in vulkan:0"
                            .to_string(),
                    );
                }
            },
        };
        Ok(Self { kind, index })
    }
}

/// A GPU of this machine.
struct Gpu {
    interface: &'static str,
    index: usize,
    name: String,
    device: Device,
}

impl Gpu {
    /// A program that draws on the processor: never the best choice.
    fn is_software(&self) -> bool {
        let name = self.name.to_lowercase();
        [
            "llvmpipe",
            "lavapipe",
            "swiftshader",
            "software",
            "basic render",
        ]
        .iter()
        .any(|software| name.contains(software))
    }
}

/// The GPUs that this build reaches, best interface first.
fn gpus() -> Vec<Gpu> {
    #[allow(unused_mut, reason = "a build without a GPU feature has none to add")]
    let mut gpus = Vec::new();
    #[cfg(feature = "cuda")]
    add(&mut gpus, "cuda", DeviceType::Cuda);
    #[cfg(feature = "metal")]
    add(&mut gpus, "metal", DeviceType::Metal);
    #[cfg(feature = "vulkan")]
    add(&mut gpus, "vulkan", DeviceType::Vulkan);
    #[cfg(feature = "wgpu")]
    add(&mut gpus, "wgpu", DeviceType::Wgpu);
    gpus
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn add(gpus: &mut Vec<Gpu>, interface: &'static str, kind: DeviceType) {
    for (index, device) in Device::enumerate(kind).into_iter().enumerate() {
        let name = match device.identity() {
            Some(identity) => identity.name,
            None => format!("{device:?}"),
        };
        gpus.push(Gpu {
            interface,
            index,
            name,
            device,
        });
    }
}

/// `count` devices as `choice` says: that one and those after it, the processor as often as asked.
pub(crate) fn open(choice: DeviceChoice, count: usize) -> Result<Vec<Device>, QatError> {
    if choice.kind == Kind::Cpu {
        return Ok(vec![Device::flex(); count]);
    }
    let gpus = gpus();
    let interface = match choice.kind {
        Kind::Interface(interface) => Some(interface),
        // All GPUs of one interface: the first that has a real one.
        _ => gpus
            .iter()
            .find(|gpu| !gpu.is_software())
            .map(|gpu| gpu.interface),
    };
    let devices: Vec<Device> = gpus
        .iter()
        .filter(|gpu| Some(gpu.interface) == interface)
        .filter(|gpu| matches!(choice.kind, Kind::Interface(_)) || !gpu.is_software())
        .skip(choice.index.unwrap_or(0))
        .take(count)
        .map(|gpu| gpu.device.clone())
        .collect();
    match (choice.kind, devices.len()) {
        (_, found) if found == count => Ok(devices),
        (Kind::Auto, 0) => Ok(vec![Device::flex(); count]),
        (_, found) => Err(QatError::Device {
            missing: count - found,
            available: available(&gpus),
        }),
    }
}

fn available(gpus: &[Gpu]) -> String {
    let mut names = vec!["cpu".to_string()];
    for gpu in gpus {
        names.push(format!("{}:{} ({})", gpu.interface, gpu.index, gpu.name));
    }
    let built = INTERFACES
        .into_iter()
        .filter(|interface| match *interface {
            "cuda" => cfg!(feature = "cuda"),
            "metal" => cfg!(feature = "metal"),
            "vulkan" => cfg!(feature = "vulkan"),
            _ => cfg!(feature = "wgpu"),
        })
        .count();
    let mut list = names.join(", ");
    if built == 0 {
        list += "; this program was built without GPUs: build it with --features vulkan, metal, cuda or wgpu";
    }
    list
}

/// What `--torch-dtype` comes to on `device`: `None` for float32.
pub(crate) fn compute_dtype(
    choice: ComputeType,
    device: &Device,
) -> Result<Option<DType>, QatError> {
    let dtype = match choice {
        ComputeType::Float32 => return Ok(None),
        ComputeType::Float16 => DType::F16,
        ComputeType::Bfloat16 => DType::BF16,
        ComputeType::Auto if is_cpu(device) => return Ok(None),
        ComputeType::Auto => {
            return Ok([DType::BF16, DType::F16]
                .into_iter()
                .find(|dtype| device.supports_dtype(*dtype)));
        }
    };
    if device.supports_dtype(dtype) {
        Ok(Some(dtype))
    } else {
        Err(QatError::ComputeType {
            dtype: format!("{dtype:?}"),
        })
    }
}

pub(crate) fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// The devices of a run, the processor once for each worker that shares out a batch of `rows` rows.
///
/// Flex computes the larger operations on every core, the smaller ones on one. Two workers on two halves of a batch keep
/// both cores busy in between. Each worker holds gradients of its own, which bounds their number for a large model.
pub(crate) fn workers<M: Module>(devices: &[Device], rows: usize, model: &M) -> Vec<Device> {
    let [device] = devices else {
        return devices.to_vec();
    };
    if !is_cpu(device) {
        return devices.to_vec();
    }
    let cores = available_parallelism().map_or(1, usize::from);
    let affordable = GRADIENT_BYTES / (4 * model.num_params().max(1));
    vec![device.clone(); cores.min(rows).min(affordable).max(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_with_their_number() {
        let parse = |text: &str| text.parse::<DeviceChoice>();
        let vulkan = DeviceChoice {
            kind: Kind::Interface("vulkan"),
            index: Some(1),
        };
        assert_eq!(parse("vulkan:1"), Ok(vulkan));
        assert_eq!(parse("gpu").unwrap().kind, Kind::Gpu);
        for wrong in ["", "tpu", "auto:0", "cpu:1", "vulkan:x", "vulkan:-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_processor_is_there_as_often_as_asked() {
        let devices = open("cpu".parse().unwrap(), 3).unwrap();
        assert_eq!(devices, vec![Device::flex(); 3]);
    }

    #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
    #[test]
    fn a_build_without_gpus_says_so() {
        let error = open("vulkan:0".parse().unwrap(), 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains("--features vulkan"), "{error}");
        assert_eq!(open("auto".parse().unwrap(), 1).unwrap(), [Device::flex()]);
    }
}
