//! Files that differ from good ones where a test wants it, their checksum right.
//!
//! The safetensors crate takes them apart: it is a second opinion on what was written.

use std::fmt::Write as _;

use safetensors::SafeTensors;
use serde_json::{Value, json};

pub(crate) const CHECKSUM: &str = "starple.checksum";
const BEFORE: &str = r#"{"__metadata__":{"starple.checksum":""#;

#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Forge {
    /// In the order of the file, but for the checksum.
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) tensors: Vec<Tensor>,
}

impl Forge {
    pub(crate) fn of(file: &[u8]) -> Self {
        let (_, header) = SafeTensors::read_metadata(file).unwrap();
        let mut metadata: Vec<(String, String)> = header.metadata().clone().unwrap().into_iter().collect();
        metadata.retain(|(key, _)| key != CHECKSUM);
        metadata.sort_by_key(|(key, _)| (key != "starple.format", key.clone()));
        let tensors = SafeTensors::deserialize(file).unwrap();
        let tensors = tensors.iter().map(|(name, view)| Tensor {
            name: name.into(),
            dtype: view.dtype().to_string(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        });
        Self { metadata, tensors: tensors.collect() }
    }

    pub(crate) fn metadata(mut self, key: &str, value: &str) -> Self {
        match self.metadata.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value.into(),
            None => self.metadata.push((key.into(), value.into())),
        }
        self
    }

    pub(crate) fn config(&self) -> Value {
        let (_, config) = self.metadata.iter().find(|(key, _)| key == "starple.config").unwrap();
        serde_json::from_str(config).unwrap()
    }

    pub(crate) fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        let text = |text: &str| Value::from(text).to_string();
        let (mut header, mut start) = (format!("{BEFORE}00000000\""), 0);
        for (key, value) in &self.metadata {
            write!(header, ",{}:{}", text(key), text(value)).unwrap();
        }
        header.push('}');
        for Tensor { name, dtype, shape, bytes } in &self.tensors {
            let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, start + bytes.len()] });
            write!(header, ",{}:{entry}", text(name)).unwrap();
            start += bytes.len();
        }
        header.push('}');
        raw(header.as_bytes(), &self.tensors.iter().flat_map(|tensor| tensor.bytes.clone()).collect::<Vec<_>>())
    }
}

/// A file of this header and these values, with the right checksum.
pub(crate) fn raw(header: &[u8], values: &[u8]) -> Vec<u8> {
    signed([&(header.len() as u64).to_le_bytes(), header, values].concat())
}

/// The same file with the right checksum, if it has a place for one.
pub(crate) fn signed(mut file: Vec<u8>) -> Vec<u8> {
    let place = 8 + BEFORE.len()..8 + BEFORE.len() + 8;
    if file.len() >= place.end {
        file[place.clone()].fill(b'0');
        let checksum = format!("{:08x}", crc32fast::hash(&file));
        file[place].copy_from_slice(checksum.as_bytes());
    }
    file
}
