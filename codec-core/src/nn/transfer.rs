//! Tensors from the host to a device and back: pinned, few, and counted.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use bytemuck::Pod;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Copies between host and device. A test on the CPU counts them too, where they are copies from one tensor to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// To the device. They wait for nothing.
    pub uploads: u32,
    /// To the host. Each waits until the device has done what it was told before.
    pub downloads: u32,
}

thread_local! {
    static DONE: Cell<Transfers> = const { Cell::new(Transfers { uploads: 0, downloads: 0 }) };
}

/// Runs `work` and counts the transfers that it makes through this module on this thread.
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, Transfers) {
    let before = DONE.take();
    let result = work();
    let made = DONE.get();
    DONE.set(Transfers { uploads: before.uploads + made.uploads, downloads: before.downloads + made.downloads });
    (result, made)
}

fn count(uploads: u32, downloads: u32) {
    let done = DONE.get();
    DONE.set(Transfers { uploads: done.uploads + uploads, downloads: done.downloads + downloads });
}

/// A tensor of the CPU on another device. On a GPU the copy is queued behind what the device has to do, from pinned memory;
/// a plain copy would wait until the device is idle.
pub fn upload(host: &Tensor, device: Device) -> Result<Tensor> {
    Pinned::new(host.shallow_clone(), device)?.upload(device)
}

/// A tensor of the CPU in memory that a device reads by itself. Any thread may make it, so that the one which launches has no more to do
/// than start the copy.
#[derive(Debug)]
pub struct Pinned(Tensor);

impl Pinned {
    /// # Errors
    /// Those of libtorch.
    pub fn new(host: Tensor, device: Device) -> Result<Self> {
        Ok(Self(if device.is_cuda() { pinned(&host, device)? } else { host }))
    }

    /// The tensor on the device that it was made for; waits for nothing.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn upload(&self, device: Device) -> Result<Tensor> {
        count(1, 0);
        Ok(self.0.f_to_device_(device, self.0.f_kind()?, true, false)?)
    }
}

/// A tensor on `device`, from wherever it lies: for what is set up or written once. Between devices it waits.
///
/// # Errors
/// Those of libtorch.
#[expect(clippy::disallowed_methods, reason = "the door itself")]
pub fn place(tensor: &Tensor, device: Device) -> Result<Tensor> {
    if tensor.device() != device {
        count(u32::from(device.is_cuda()), u32::from(tensor.device().is_cuda()));
    }
    Ok(tensor.f_to_device(device)?)
}

/// A copy in memory that `device` reads and writes by itself. (The public function of libtorch warns at every call of the device that
/// it takes.)
fn pinned(host: &Tensor, device: Device) -> Result<Tensor> {
    Ok(host.f_internal_pin_memory(device)?)
}

/// Values of a tensor of their kind; waits for the device.
pub fn download<T: Pod>(values: &Tensor) -> Result<Vec<T>> {
    thread_local! {
        static STAGING: RefCell<Staging> = RefCell::default();
    }
    STAGING.with_borrow_mut(|staging| Ok(staging.download(values)?.to_vec()))
}

/// The value of a scalar; waits for the device.
///
/// # Errors
/// Those of libtorch.
pub fn scalar(value: &Tensor) -> Result<f64> {
    Ok(download::<f64>(&value.f_to_kind(Kind::Double)?)?[0])
}

/// Memory of the host for one kind of transfer, kept from frame to frame and pinned where the device is a GPU: what a frame takes is
/// gathered here and crosses in one copy.
///
/// An upload reads this memory some time after the call. Whoever uploads again must have waited for the device in between, by a
/// download of what came of the last upload, or have no use for the last upload any more.
#[derive(Debug, Default)]
pub struct Staging {
    memory: Option<Tensor>,
}

impl Staging {
    /// The first `count` bytes, and where they are.
    fn room(&mut self, count: usize, device: Device) -> Result<(Tensor, *mut u8)> {
        let known = self.memory.take().filter(|memory| memory.numel() >= count);
        let memory = match known {
            Some(memory) => memory,
            None => {
                let plain = Tensor::f_zeros([count.max(1) as i64], (Kind::Uint8, Device::Cpu))?;
                if device.is_cuda() { pinned(&plain, device)? } else { plain }
            }
        };
        let memory = self.memory.insert(memory);
        Ok((memory.f_narrow(0, 0, count as i64)?, memory.data_ptr().cast()))
    }

    /// All parts, one after the other, as bytes on the device.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn upload<P: AsRef<[u8]>>(&mut self, parts: &[P], device: Device) -> Result<Tensor> {
        let sum = parts.iter().map(|part| part.as_ref().len()).sum();
        let (room, start) = self.room(sum, device)?;
        // SAFETY: these are at least `sum` bytes, set when they were allocated, which no one else holds: uploads are copies.
        let mut rest = unsafe { std::slice::from_raw_parts_mut(start, sum) };
        for part in parts {
            let part = part.as_ref();
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        count(1, 0);
        // A copy on the CPU, too, so that this memory is free for the next.
        Ok(room.f_to_device_(device, Kind::Uint8, true, true)?)
    }

    /// Values of a tensor of their kind; waits for the device.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn download<T: Pod>(&mut self, values: &Tensor) -> Result<&[T]> {
        let bytes = values.f_contiguous()?.f_view([-1])?.f_view_dtype(Kind::Uint8)?;
        let sum = bytes.numel();
        let (mut room, start) = self.room(sum, values.device())?;
        count(0, 1);
        room.f_copy_(&bytes)?;
        // SAFETY: these are at least `sum` bytes, written by a copy that has ended, and no one writes to them while `self` is borrowed.
        let bytes = unsafe { std::slice::from_raw_parts(start, sum) };
        bytemuck::try_cast_slice(bytes).map_err(|error| Error::Internal(format!("downloaded values: {error}")))
    }
}

/// Constant floats on a device.
pub fn constant(values: &[f32], device: Device) -> Result<Tensor> {
    remembered("floats", values.iter().map(|v| i64::from(v.to_bits())).collect(), device, || {
        upload(&Tensor::f_from_slice(values)?, device)
    })
}

/// A constant that `name` and `key` stand for. On a GPU, where making it takes launches and copies, it is made once for each
/// thread.
pub(crate) fn remembered(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cross_in_one_copy() {
        let mut staging = Staging::default();
        let mut there = |parts: &[&[u8]]| staging.upload(parts, Device::Cpu).unwrap();
        let ((first, second), transfers) = counted(|| (there(&[&[1, 2], &[], &[3]]), there(&[&[4, 5]])));
        assert_eq!(transfers, Transfers { uploads: 2, downloads: 0 });
        assert_eq!(download::<u8>(&first).unwrap(), [1, 2, 3]);
        assert_eq!(download::<u8>(&second).unwrap(), [4, 5]);
    }

    #[test]
    fn values_come_back_as_what_they_are() {
        let values = Tensor::from_slice(&[1i16, -2, 300, 4]).view([2, 2]).transpose(0, 1);
        let (found, transfers) = counted(|| download::<i16>(&values).unwrap());
        assert_eq!((found, transfers), (vec![1, 300, -2, 4], Transfers { uploads: 0, downloads: 1 }));
        assert!(download::<f64>(&Tensor::from_slice(&[1u8, 2, 3])).is_err());
    }

    #[test]
    fn counts_nest() {
        let ((_, inner), outer) = counted(|| {
            let host = Tensor::from_slice(&[1u8]);
            let _ = upload(&host, Device::Cpu).unwrap();
            counted(|| upload(&host, Device::Cpu).unwrap())
        });
        assert_eq!((inner.uploads, outer.uploads), (1, 2));
    }
}
