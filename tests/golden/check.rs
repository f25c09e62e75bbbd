//! Golden values, and the comparison with them.

use std::collections::BTreeMap;
use std::fmt::Display;

use ndarray::Array2;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use starple::nn::{Leaf, LeafMut};

const RELATIVE: f64 = 1e-4;
const ABSOLUTE: f64 = 1e-6;

/// Reads a file of this folder.
///
/// # Panics
/// If it cannot be read; says at which line and column.
pub(crate) fn file<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A tensor, or a number as one without dimensions; a missing value is NaN.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Golden {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// Golden values by dotted name; `None` where autograd found no way from the loss to the parameter.
pub(crate) type Tensors = BTreeMap<String, Option<Golden>>;

impl Golden {
    /// A matrix in f32.
    pub(crate) fn matrix(&self) -> Array2<f32> {
        let values = self.values.iter().map(|&v| v as f32).collect();
        Array2::from_shape_vec((self.shape[0], self.shape[1]), values).expect("a matrix")
    }

    fn gather(value: &Value, depth: usize, into: &mut Self) -> Result<(), String> {
        match value {
            Value::Null => into.values.push(f64::NAN),
            Value::Number(number) => into.values.push(number.as_f64().ok_or("a number beyond f64")?),
            Value::Array(items) => {
                if into.shape.len() == depth {
                    into.shape.push(items.len());
                }
                if into.shape[depth] != items.len() {
                    return Err(format!("a list of {} beside one of {}", items.len(), into.shape[depth]));
                }
                items.iter().try_for_each(|item| Self::gather(item, depth + 1, into))?;
            }
            other => return Err(format!("expected numbers, found {other}")),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Golden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut golden = Self { shape: Vec::new(), values: Vec::new() };
        Self::gather(&Value::deserialize(deserializer)?, 0, &mut golden).map_err(serde::de::Error::custom)?;
        Ok(golden)
    }
}

/// Collects what differs, so that one run shows all of it.
#[derive(Debug, Default)]
pub(crate) struct Check {
    failures: Vec<String>,
    compared: usize,
}

impl Check {
    /// That values agree with golden ones, each to its relative or absolute tolerance.
    pub(crate) fn close(&mut self, what: impl Display, ours: impl IntoIterator<Item = f64>, golden: &Golden) {
        let ours: Vec<f64> = ours.into_iter().collect();
        if ours.len() != golden.values.len() {
            self.fail(format!("{what}: {} values, the twin has {}", ours.len(), golden.values.len()));
            return;
        }
        self.compared += ours.len();
        let error =
            |&(_, (ours, theirs)): &(usize, (&f64, &f64))| (ours - theirs).abs() / (ABSOLUTE + RELATIVE * theirs.abs());
        let pairs = ours.iter().zip(&golden.values).enumerate().filter(|(_, (a, b))| !(a.is_nan() && b.is_nan()));
        // A NaN on one side alone is larger than every error.
        if let Some(worst) = pairs.max_by(|a, b| error(a).total_cmp(&error(b))) {
            let (entry, (ours, theirs)) = worst;
            if error(&worst).is_nan() || error(&worst) > 1.0 {
                self.fail(format!("{what}, entry {entry}: {ours}, the twin has {theirs}"));
            }
        }
    }

    /// The same for a matrix, its shape included.
    pub(crate) fn matrix(&mut self, what: impl Display, ours: &Array2<f32>, golden: &Golden) {
        if ours.shape() != golden.shape {
            self.fail(format!("{what}: of shape {:?}, the twin's is {:?}", ours.shape(), golden.shape));
            return;
        }
        self.close(what, ours.iter().map(|&v| f64::from(v)), golden);
    }

    /// That the tensors of a walk, by name, are the golden ones: none missing, none left over.
    pub(crate) fn tensors(&mut self, what: impl Display, ours: &Tensors, golden: &Tensors) {
        for (name, theirs) in golden {
            match (ours.get(name), theirs) {
                (None, _) => self.fail(format!("{what}: {name}: only the twin has it")),
                (Some(None), None) => {}
                (Some(None), Some(_)) => self.fail(format!("{what}: {name}: absent from the step, the twin has it")),
                (Some(Some(_)), None) => self.fail(format!("{what}: {name}: in the step, the twin left it out")),
                (Some(Some(ours)), Some(theirs)) if ours.shape != theirs.shape => {
                    self.fail(format!("{what}: {name}: of shape {:?}, the twin's is {:?}", ours.shape, theirs.shape));
                }
                (Some(Some(ours)), Some(theirs)) => {
                    self.close(format_args!("{what}: {name}"), ours.values.iter().copied(), theirs);
                }
            }
        }
        for name in ours.keys().filter(|name| !golden.contains_key(*name)) {
            self.fail(format!("{what}: {name}: the twin does not have it"));
        }
    }

    pub(crate) fn fail(&mut self, failure: String) {
        self.failures.push(failure);
    }

    /// # Panics
    /// If something differed, or nothing was compared.
    pub(crate) fn finish(self) {
        let Self { failures, compared } = self;
        let shown = failures.iter().take(40).fold(String::new(), |all, one| all + "\n  " + one);
        assert!(failures.is_empty(), "{} of the comparisons failed:{shown}", failures.len());
        assert!(compared > 0, "nothing was compared");
    }
}

/// A leaf of a walk over parameters, averages and counts.
pub(crate) fn read(leaf: Leaf<'_>) -> Golden {
    match leaf {
        Leaf::Tensor(values, shape, _) | Leaf::Average(values, shape) => {
            Golden { shape: shape.to_vec(), values: values.iter().map(|&v| f64::from(v)).collect() }
        }
        Leaf::Count(count) => Golden { shape: Vec::new(), values: vec![*count as f64] },
    }
}

/// Sets a leaf to its golden value.
///
/// # Panics
/// If there is none, or one of another shape.
pub(crate) fn load(case: &str, name: &str, leaf: LeafMut<'_>, golden: &Tensors) {
    let Some(Some(golden)) = golden.get(name) else { panic!("{case}: the twin has no {name}") };
    match leaf {
        LeafMut::Tensor(values, shape, _) | LeafMut::Average(values, shape) => {
            assert_eq!(shape, golden.shape, "{case}: the shape of {name}");
            values.iter_mut().zip(&golden.values).for_each(|(v, &g)| *v = g as f32);
        }
        LeafMut::Count(count) => *count = golden.values[0] as u64,
    }
}

#[test]
fn whatever_differs_is_found_and_named() {
    let golden = |text: &str| serde_json::from_str::<Golden>(text).unwrap();
    let tensors = |text: &str| serde_json::from_str::<Tensors>(text).unwrap();
    let failures = |compare: &dyn Fn(&mut Check)| {
        let mut check = Check::default();
        compare(&mut check);
        check.failures
    };
    let theirs = golden("[1, 1000, null, 0]");
    let close = |ours: [f64; 4]| failures(&|check| check.close("case", ours, &theirs));
    assert_eq!(close([1.000_1, 1000.099, f64::NAN, -9e-7]), [""; 0]);
    assert_eq!(close([1.0, 1000.2, f64::NAN, 2e-6]), ["case, entry 3: 0.000002, the twin has 0"; 1]);
    assert_eq!(close([f64::NAN, 1000.0, f64::NAN, 0.0]), ["case, entry 0: NaN, the twin has 1"]);
    assert_eq!(close([1.0, 1000.0, 0.0, 0.0]), ["case, entry 2: 0, the twin has NaN"]);
    assert_eq!(failures(&|check| check.close("case", [1.0], &theirs)), ["case: 1 values, the twin has 4"]);
    let turned = Array2::zeros((2, 1));
    assert_eq!(
        failures(&|check| check.matrix("case", &turned, &golden("[[0, 0]]"))),
        ["case: of shape [2, 1], the twin's is [1, 2]"]
    );

    let ours = tensors(r#"{"same": [1], "other": [1, 2], "shape": [1], "absent": null, "present": 1, "ours": 1}"#);
    let theirs =
        tensors(r#"{"same": [1], "other": [1, 3], "shape": [[1]], "absent": 1, "present": null, "theirs": 1}"#);
    let mut found = failures(&|check| check.tensors("case", &ours, &theirs));
    found.sort_unstable();
    let expected = [
        "case: absent: absent from the step, the twin has it",
        "case: other, entry 1: 2, the twin has 3",
        "case: ours: the twin does not have it",
        "case: present: in the step, the twin left it out",
        "case: shape: of shape [1], the twin's is [1, 1]",
        "case: theirs: only the twin has it",
    ];
    assert_eq!(found, expected);
    assert!(std::panic::catch_unwind(|| Check::default().finish()).is_err(), "nothing compared is no success");
}
