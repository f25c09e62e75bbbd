//! Files that are overwritten in place while they are loaded: a load gives one of the models, whole, or an error, never a mixture.

use std::fs::{self, OpenOptions};
use std::io::{Cursor, Read, Seek, SeekFrom, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use starple::data::Layout;
use starple::nn::StarLinear;
use starple::persist::{ModelFile, Saved};
use starple::{Error, ErrorKind, Star, StarConfig};

use crate::forge::{Forge, signed};
use crate::world::{bytes, encoder, star};

/// Gives the bytes of one file up to a number of calls, and those of another after it.
struct Changing<'a> {
    old: &'a [u8],
    new: &'a [u8],
    calls: usize,
    at: u64,
}

impl<'a> Changing<'a> {
    /// The file as it is for one more call.
    fn now(&mut self) -> Cursor<&'a [u8]> {
        let mut now = Cursor::new(if self.calls > 0 { self.old } else { self.new });
        self.calls = self.calls.saturating_sub(1);
        now.set_position(self.at);
        now
    }
}

impl Read for Changing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.now().read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Changing<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.at = self.now().seek(to)?;
        Ok(self.at)
    }
}

fn load_changing(old: &[u8], new: &[u8], calls: usize) -> Result<Saved, Error> {
    Saved::from_reader(Changing { old, new, calls, at: 0 })
}

/// The bytes that a loaded model would be saved as.
fn again(saved: &Saved) -> Vec<u8> {
    let file = ModelFile::new(&saved.model);
    bytes(&match &saved.encoder {
        Some(encoder) => file.encoder(encoder),
        None => file,
    })
}

#[test]
fn a_file_that_changes_between_any_two_reads_is_never_taken_for_a_whole_one() {
    let encoder = encoder();
    // They differ in the values of all tensors, of one, and in nothing but the seed.
    let files = [1, 2].map(|seed| bytes(&ModelFile::new(&star(seed)).encoder(&encoder)));
    let mut one_value = star(1);
    one_value.net_mut().get_mut::<StarLinear>(("layers", 0)).unwrap().shared.bias[0] += 1.0;
    let one_value = bytes(&ModelFile::new(&one_value).encoder(&encoder));
    assert_eq!((files[0].len(), one_value.len()), (files[1].len(), files[0].len()));
    for (old, new) in [(&files[0], &files[1]), (&files[0], &one_value), (&one_value, &files[0])] {
        let (mut olds, mut news, mut refused) = (0, 0, 0);
        for calls in 0.. {
            match load_changing(old, new, calls) {
                Ok(saved) if again(&saved) == *old => olds += 1,
                Ok(saved) => {
                    assert!(again(&saved) == *new, "a mixture after {calls} calls");
                    assert_eq!(saved.checksum, load_changing(new, new, 0).unwrap().checksum);
                    news += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    refused += 1;
                }
            }
            // No call is left: it was the old one to its end.
            if olds > 40 {
                break;
            }
        }
        assert!(news > 0 && refused > 10, "{olds} old ones, {news} new ones, {refused} refused");
    }
}

#[test]
fn what_a_change_makes_of_the_values_is_not_blamed_on_them() {
    let encoder = encoder();
    let old = bytes(&ModelFile::new(&star(1)).encoder(&encoder));
    let mut forge = Forge::of(&old);
    forge.tensor("embeddings.item").bytes.fill(0xff);
    let forged = signed(forge.file());
    // Beside the change, the forged file is refused for its values.
    assert_eq!(load_changing(&forged, &forged, 0).unwrap_err().kind(), ErrorKind::NonFinite);
    let mut changed = 0;
    for calls in 1..40 {
        match load_changing(&old, &forged, calls) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                changed += usize::from(error.to_string().contains("the file changed while it was read"));
            }
            Err(error) => assert_eq!((error.kind(), calls < 4), (ErrorKind::NonFinite, true), "{calls} calls: {error}"),
            Ok(saved) => assert!(again(&saved) == old, "{calls} calls"),
        }
    }
    assert!(changed > 5, "{changed}");
}

/// A file that shrinks to nothing and grows again, as one that is copied over.
#[test]
fn a_file_that_is_cut_off_while_it_is_read_is_an_error() {
    let old = bytes(&ModelFile::new(&star(1)));
    for rest in [&old[..0], &old[..7], &old[..100], &old[..old.len() - 1]] {
        for calls in 0..40 {
            for (before, after) in [(&old[..], rest), (rest, &old[..])] {
                match load_changing(before, after, calls) {
                    Ok(saved) => assert!(again(&saved) == old),
                    Err(error) => assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Foreign), "{error}"),
                }
            }
        }
    }
}

#[test]
fn a_file_that_another_thread_overwrites_is_loaded_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("star.safetensors");
    let layout = Layout::new(["home"], ["click"]).field("item", 20_000);
    let star = |seed| Star::new(StarConfig::builder(&layout).embedding_dim(4).hidden([4]).seed(seed).build().unwrap());
    let files = [1, 2].map(|seed| bytes(&ModelFile::new(&star(seed))));
    assert_eq!(files[0].len(), files[1].len());
    fs::write(&path, &files[0]).unwrap();
    let loads: usize = std::env::var("STARPLE_LOADS").map_or(200, |loads| loads.parse().unwrap());
    let over = AtomicBool::new(false);
    let (mut whole, mut refused) = ([0, 0], 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            for bytes in files.iter().rev().cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                file.rewind().unwrap();
                for part in bytes.chunks(1 << 14) {
                    file.write_all(part).unwrap();
                }
                thread::yield_now();
            }
        });
        for _ in 0..loads {
            match Saved::load_as::<StarConfig>(&path) {
                Ok(saved) => {
                    let found = files.iter().position(|file| *file == again(&saved));
                    if found.is_none() {
                        over.store(true, Ordering::Relaxed);
                    }
                    whole[found.expect("a mixture was loaded")] += 1;
                }
                Err(_) => refused += 1,
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("{loads} loads: {whole:?} whole, {refused} refused, 0 mixed");
    assert!(refused > 0, "it was never met in between: {whole:?}");
}

/// Nothing is waited for: a pipe without a writer would never open.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, found) in [(pipe.as_path(), "a pipe"), (folder.path(), "a folder"), ("/dev/zero".as_ref(), "a device")] {
        let error = Saved::load_as::<StarConfig>(path).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(path)));
        assert!(error.to_string().contains(&format!("expected a file, found {found}")), "{error}");
    }
}
