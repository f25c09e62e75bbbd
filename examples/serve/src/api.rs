//! The JSON of a request and of its response.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use starple::data::RawValue;

/// The body of `POST /predict`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request<'a> {
    /// The client's name for this request, for the log and the answer; not read by the model.
    #[serde(borrow, default)]
    pub request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub domain: Cow<'a, str>,
    /// What all candidates share.
    #[serde(borrow, default)]
    pub given: Cells<'a>,
    #[serde(borrow)]
    pub candidates: Vec<Cells<'a>>,
}

/// Columns and values as they stand in a JSON object, repetitions included.
#[derive(Debug, Default)]
pub struct Cells<'a>(Vec<(Name<'a>, Value<'a>)>);

#[derive(Debug, Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Debug)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Integer(i128),
    Boolean(bool),
}

impl Cells<'_> {
    /// Columns and values as a predictor takes them.
    pub fn raw(&self) -> impl Iterator<Item = (&str, RawValue<'_>)> {
        self.0.iter().map(|(name, value)| {
            let value = match value {
                Value::Text(text) => RawValue::Text(text),
                Value::Number(number) => RawValue::Number(*number),
                Value::Integer(number) => RawValue::Integer(*number),
                Value::Boolean(boolean) => RawValue::Boolean(*boolean),
            };
            (&*name.0, value)
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Cells<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Cells<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of columns and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cells<'de>, A::Error> {
                let mut cells = Vec::new();
                while let Some(cell) = map.next_entry()? {
                    cells.push(cell);
                }
                Ok(Cells(cells))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl<'de> Visitor<'de> for Scalar {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true, false, or null for a missing value")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
                Ok(Value::Text(text.into()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
                Ok(Value::Text(text.to_owned().into()))
            }

            fn visit_bool<E: Error>(self, boolean: bool) -> Result<Value<'de>, E> {
                Ok(Value::Boolean(boolean))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'de>, E> {
                Ok(Value::Number(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'de>, E> {
                Ok(Value::Integer(number.into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
                Ok(Value::Integer(number.into()))
            }

            fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
                Ok(Value::Text("".into()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

/// The answer to `POST /predict`.
#[derive(Debug, Serialize)]
pub struct Response<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Cow<'a, str>>,
    /// Of the model that gave all these answers.
    pub version: &'a str,
    /// By binary task, in the order of the candidates.
    #[serde(serialize_with = "as_object")]
    pub probabilities: Vec<(&'a str, Vec<f32>)>,
    /// The predicted numbers, by task that is not binary, in the order of the candidates; absent if all tasks are binary.
    #[serde(serialize_with = "as_object", skip_serializing_if = "Vec::is_empty")]
    pub predictions: Vec<(&'a str, Vec<f32>)>,
}

fn as_object<S: Serializer>(tasks: &[(&str, Vec<f32>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tasks.iter().map(|(task, answers)| (task, answers)))
}

/// The answer to whatever went wrong.
#[derive(Debug, Serialize)]
pub struct Problem {
    pub error: String,
}
