//! Small tensors from the host to a device, without waiting for the device.

use std::cell::RefCell;
use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use crate::Result;

/// A tensor of the CPU on another device. On a GPU the copy is queued behind what the device has to do, from pinned memory;
/// a plain copy would wait until the device is idle.
pub fn upload(host: &Tensor, device: Device) -> Result<Tensor> {
    match device {
        Device::Cuda(_) => Ok(pinned(host, device)?.f_to_device_(device, host.f_kind()?, true, false)?),
        _ => Ok(host.f_to_device(device)?),
    }
}

/// A copy in pinned memory. (The public function of libtorch warns at every call of the device that it takes.)
fn pinned(host: &Tensor, device: Device) -> Result<Tensor> {
    Ok(host.f_internal_pin_memory(device)?)
}

/// Bytes of a tensor of 8 bits; waits for the device.
pub fn download(bytes: &Tensor) -> Result<Vec<u8>> {
    let count = bytes.numel();
    let mut out = vec![0; count];
    if let Device::Cuda(number) = bytes.device() {
        // Through pinned memory, which copies at the full rate of the bus.
        let staged = remembered("pinned", vec![count as i64], Device::Cuda(number), || {
            pinned(&Tensor::f_empty([count as i64], (Kind::Uint8, Device::Cpu))?, Device::Cuda(number))
        })?;
        staged.shallow_clone().f_copy_(&bytes.f_reshape([-1])?)?;
        staged.f_copy_data_u8(&mut out, count)?;
    } else {
        bytes.f_contiguous()?.f_copy_data_u8(&mut out, count)?;
    }
    Ok(out)
}

/// Constant floats on a device.
pub fn constant(values: &[f32], device: Device) -> Result<Tensor> {
    remembered("floats", values.iter().map(|v| i64::from(v.to_bits())).collect(), device, || {
        Ok(Tensor::f_from_slice(values)?.f_to_device(device)?)
    })
}

/// A constant that `name` and `key` stand for. On a GPU, where making it takes launches and copies, it is made once for each
/// thread; so that only its maker may write to it.
pub(super) fn remembered(
    name: &'static str,
    key: Vec<i64>,
    device: Device,
    make: impl FnOnce() -> Result<Tensor>,
) -> Result<Tensor> {
    type Key = (&'static str, usize, Vec<i64>);
    thread_local! {
        static KNOWN: RefCell<HashMap<Key, Tensor>> = RefCell::default();
    }
    let Device::Cuda(number) = device else { return make() };
    let key = (name, number, key);
    KNOWN.with_borrow_mut(|known| {
        if let Some(tensor) = known.get(&key) {
            return Ok(tensor.shallow_clone());
        }
        let tensor = tch::no_grad(make)?;
        known.insert(key, tensor.shallow_clone());
        Ok(tensor)
    })
}
