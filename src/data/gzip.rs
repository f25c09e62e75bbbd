//! Reads gzip files: one or more members, optionally followed by zeros.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The first byte of every member.
const MAGIC: u8 = 0x1f;

/// Decompresses all members. Zeros after the last member are ignored: tapes and block devices pad with them.
pub(super) struct Members<R> {
    /// `None` at the end of the file.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(file: R) -> Self {
        Self { member: Some(GzDecoder::new(file)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let mut file = self.member.take().expect("the loop has one").into_inner();
            if !padding(&mut file)? {
                self.member = Some(GzDecoder::new(file));
            }
        }
        Ok(0)
    }
}

/// Whether the rest of the file is zeros, which are consumed. The bytes of another member are not consumed.
fn padding(file: &mut impl BufRead) -> io::Result<bool> {
    let mut padded = false;
    loop {
        let left = file.fill_buf()?;
        if left.is_empty() {
            return Ok(true);
        }
        let zeros = left.iter().take_while(|&&byte| byte == 0).count();
        if zeros < left.len() {
            if padded || zeros > 0 || left[0] != MAGIC {
                let text = "expected another gzip member or only zeros after a member, found other bytes";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            return Ok(false);
        }
        padded = true;
        file.consume(zeros);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        // A buffer so small that everything is cut somewhere.
        Members::new(io::BufReader::with_capacity(7, bytes)).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn members_and_padding() {
        let two = [member("one, "), member(""), member("two")].concat();
        assert_eq!(unpacked(&two).unwrap(), "one, two");
        for zeros in [1, 7, 511, 512, 10_000] {
            assert_eq!(unpacked(&[&two[..], &vec![0; zeros]].concat()).unwrap(), "one, two");
        }
        for wrong in [&b"garbage"[..], b"\0\0\0x", &[&[0; 20][..], &two].concat()] {
            assert_eq!(unpacked(&[&two[..], wrong].concat()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(unpacked(&two[..two.len() - 3]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(unpacked(b"").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
