//! The header of a file: metadata, and where each tensor is.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The type of a tensor's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dtype {
    F32,
    U64,
    U8,
    /// A type that this crate does not write.
    #[serde(untagged)]
    Other(String),
}

impl Dtype {
    /// The bytes of one value; 0 if unknown.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::F32 => 4,
            Self::U64 => 8,
            Self::U8 => 1,
            Self::Other(_) => 0,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32 => f.write_str("F32"),
            Self::U64 => f.write_str("U64"),
            Self::U8 => f.write_str("U8"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// A tensor's entry in the header.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TensorInfo {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// The start and end of its bytes, counted from the end of the header.
    pub(super) data_offsets: (u64, u64),
}

/// A tensor that a file must have.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    /// `None`: one dimension of any length.
    pub(crate) shape: Option<Vec<usize>>,
}

/// A parsed header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: HashMap<String, String>,
    pub(super) entries: HashMap<String, TensorInfo>,
}

impl Header {
    /// Parses the header of a file that has `values` bytes of values.
    pub(super) fn parse(json: &[u8], values: u64) -> Result<Self, String> {
        let header: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        header.check(values)?;
        Ok(header)
    }

    /// Checks that every tensor has the bytes of its shape, and that all tensors cover the values without gap or overlap.
    fn check(&self, values: u64) -> Result<(), String> {
        let mut in_order: Vec<_> = self.entries.iter().collect();
        in_order.sort_unstable_by_key(|(_, entry)| entry.data_offsets);
        let mut expected = 0;
        for (name, TensorInfo { dtype, shape, data_offsets: (start, end) }) in in_order {
            if *start != expected || end < start {
                let wanted = format!("expected them to start at {expected}, and to end there or later");
                return Err(format!("tensor {name:?} has bytes {start} to {end}; {wanted}"));
            }
            let size = shape.iter().try_fold(dtype.size() as u64, |size, &n| size.checked_mul(n as u64));
            if size != Some(end - start) && !matches!(dtype, Dtype::Other(_)) {
                return Err(format!("tensor {name:?} of shape {shape:?} cannot have bytes {start} to {end}"));
            }
            expected = *end;
        }
        if expected == values { Ok(()) } else { Err(format!("{expected} bytes of values announced, found {values}")) }
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the header of a safetensors file")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header { metadata: HashMap::new(), entries: HashMap::new() };
        let mut first = true;
        while let Some(name) = map.next_key::<String>()? {
            if std::mem::take(&mut first) && name == "__metadata__" {
                header.metadata = map.next_value::<Distinct>()?.0;
                continue;
            }
            let entry = map.next_value()?;
            if header.entries.contains_key(&name) {
                return Err(A::Error::custom(format!("tensor {name:?} is listed twice")));
            }
            header.entries.insert(name, entry);
        }
        Ok(header)
    }
}

/// A map of texts without duplicate keys.
struct Distinct(HashMap<String, String>);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Distinct;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from text to text")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Distinct, A::Error> {
                let mut texts = HashMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if texts.contains_key(&key) {
                        return Err(A::Error::custom(format!("metadata {key:?} is listed twice")));
                    }
                    texts.insert(key, value);
                }
                Ok(Distinct(texts))
            }
        }

        deserializer.deserialize_map(Texts)
    }
}
