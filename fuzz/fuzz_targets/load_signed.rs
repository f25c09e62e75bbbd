//! The same behind the checksum: it is put right, so that what comes after it is tried too. What loads is saved and loaded again.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use starple::persist::{ModelFile, Saved};

/// Where the checksum stands, behind the header's length and `{"__metadata__":{"starple.checksum":"`.
const CHECKSUM: std::ops::Range<usize> = 45..53;

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    if file.len() >= CHECKSUM.end {
        file[CHECKSUM].fill(b'0');
        let checksum = format!("{:08x}", crc32fast::hash(&file));
        file[CHECKSUM].copy_from_slice(checksum.as_bytes());
    }
    if let Ok(saved) = Saved::from_reader(Cursor::new(&file)) {
        let mut again = Cursor::new(Vec::new());
        let mut contents = ModelFile::new(&saved.model);
        if let Some(encoder) = &saved.encoder {
            contents = contents.encoder(encoder);
        }
        contents.write_to(&mut again).expect("what was loaded can be saved");
        Saved::from_reader(again).expect("what was saved can be loaded");
    }
});
