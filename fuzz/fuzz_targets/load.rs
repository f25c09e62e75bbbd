//! Any bytes as a model file: they are a model or an error.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use starple::persist::Saved;

fuzz_target!(|bytes: &[u8]| {
    let _ = Saved::from_reader(Cursor::new(bytes));
});
