//! Bounds-checked reading of header fields.

use super::varint::{Varint, varint};
use crate::{Error, Result};

/// Takes fields from the front of a slice. Every method fails with [`Error::Corrupt`] naming the field.
pub(super) struct Reader<'a> {
    data: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Everything that has not been read.
    pub(super) fn rest(self) -> &'a [u8] {
        self.data
    }

    pub(super) fn bytes(&mut self, count: usize, field: &str) -> Result<&'a [u8]> {
        let (taken, rest) = self.data.split_at_checked(count).ok_or_else(|| Error::Corrupt(format!("{field} is cut off")))?;
        self.data = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        let (taken, rest) = self.data.split_first_chunk().ok_or_else(|| Error::Corrupt(format!("{field} is cut off")))?;
        self.data = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self, field: &str) -> Result<u8> {
        self.array(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &str) -> Result<u16> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn varint(&mut self, field: &str) -> Result<u32> {
        match varint(self.data) {
            Varint::Complete(value, length) => {
                self.data = &self.data[length..];
                Ok(value)
            }
            Varint::Incomplete => Err(Error::Corrupt(format!("{field} is cut off"))),
            Varint::Invalid => Err(Error::Corrupt(format!("{field} is not a valid variable-length integer"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::varint::put_varint;
    use super::*;

    fn read(data: &[u8]) -> Result<u32> {
        Reader::new(data).varint("field")
    }

    #[test]
    fn varint_vectors() {
        let vectors: [(u32, &[u8]); 7] = [
            (0, &[0x00]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (300, &[0xac, 0x02]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 0x01]),
            (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ];
        for (value, bytes) in vectors {
            let mut written = Vec::new();
            put_varint(&mut written, value);
            assert_eq!(written, bytes, "{value}");
            assert_eq!(read(bytes).unwrap(), value);
            for cut in 0..bytes.len() {
                assert!(read(&bytes[..cut]).unwrap_err().to_string().contains("cut off"), "{value} cut at {cut}");
            }
        }
    }

    #[test]
    fn longer_forms_and_larger_values_are_rejected() {
        for bytes in [
            &[0x80, 0x00][..],
            &[0xff, 0x80, 0x00],
            &[0xff, 0xff, 0xff, 0xff, 0x10],
            &[0xff, 0xff, 0xff, 0xff, 0x8f],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        ] {
            assert!(read(bytes).unwrap_err().to_string().contains("not a valid"), "{bytes:?}");
        }
    }

    #[test]
    fn fields_are_little_endian_and_checked() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(reader.u8("a").unwrap(), 1);
        assert_eq!(reader.u16("b").unwrap(), 0x0302);
        assert_eq!(reader.u32("c").unwrap(), 0x0706_0504);
        let error = reader.u16("the last field").unwrap_err();
        assert!(matches!(&error, Error::Corrupt(m) if m == "the last field is cut off"), "{error}");
        assert_eq!(reader.bytes(1, "d").unwrap(), [8]);
        assert!(reader.is_empty());
        assert!(reader.bytes(usize::MAX, "e").is_err());
    }
}
