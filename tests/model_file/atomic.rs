//! A process that is killed while it saves leaves the old file or the new one, whole.
//!
//! `STARPLE_KILLS=500 cargo test --test model_file killed` is the long form.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs, thread};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::data::Layout;
use starple::persist::{ModelFile, Saved};
use starple::{Star, StarConfig};

const TARGET: &str = "STARPLE_SAVES_AT";
const SAVED: &str = "another one is saved";

/// A file of about a megabyte, so that much of the time is spent writing it.
fn star(seed: u64) -> Star {
    let layout = Layout::new(["home"], ["click"]).field("item", 60_000);
    Star::new(StarConfig::builder(&layout).embedding_dim(4).hidden([4]).seed(seed).build().unwrap())
}

/// What the killed process does: not a test of its own.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn saves_two_versions_for_ever() {
    let Some(path) = env::var_os(TARGET) else { return };
    let versions = [star(1), star(2)];
    for version in versions.iter().cycle() {
        ModelFile::new(version).save(&path).unwrap();
        println!("\n{SAVED}");
    }
}

/// Starts a process that saves, and kills it during the save behind the first so many.
fn start_and_kill(path: &Path, saves: usize, rng: &mut ChaCha8Rng) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "atomic::saves_two_versions_for_ever", "--ignored", "--nocapture"])
        .env(TARGET, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut saved = lines.filter(|line| line.as_ref().unwrap() == SAVED).map(|_| Instant::now());
    let times: Vec<Instant> = saved.by_ref().take(saves).collect();
    assert_eq!(times.len(), saves, "it saves for ever");
    let one = (times[saves - 1] - times[0]) / (saves - 1) as u32;
    thread::sleep(one.mul_f64(rng.random_range(0.0..1.2)));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_process_leaves_the_old_file_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("star.safetensors");
    let kills: usize = env::var("STARPLE_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let versions = [star(1), star(2)];
    let (mut seen, mut rng) = ([0, 0], ChaCha8Rng::seed_from_u64(7));
    for kill in 0..kills {
        start_and_kill(&path, 2 + kill % 2, &mut rng);
        let model = Saved::load_as::<StarConfig>(&path).unwrap_or_else(|error| panic!("kill {kill}: {error}")).model;
        let version = (model.config() != versions[0].config()) as usize;
        assert_eq!(
            (model.embeddings(), model.net()),
            (versions[version].embeddings(), versions[version].net()),
            "kill {kill}"
        );
        seen[version] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "both versions are met: {seen:?}");
    // What was half written when the process died stays aside, until the next one saves.
    let left = || fs::read_dir(folder.path()).unwrap().count() - 1;
    println!("{kills} kills: the first version {} times, the second {}; {} files left", seen[0], seen[1], left());
    assert!(left() <= 1, "each process tidies what the one before it left");
    fs::write(folder.path().join(".star.safetensors.0123456789aB.tmp"), "half").unwrap();
    let other = folder.path().join(".star.safetensors.old.tmp");
    fs::write(&other, "another's").unwrap();
    ModelFile::new(&versions[0]).save(&path).unwrap();
    assert_eq!(Saved::load_as::<StarConfig>(&path).unwrap().model.net(), versions[0].net());
    assert!(left() == 1 && other.exists(), "what is not ours stays");
}

/// Two that save at the same place at the same time take nothing away from each other.
#[test]
fn files_that_are_being_written_are_not_tidied_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("star.safetensors");
    let versions = [star(1), star(2)];
    std::thread::scope(|scope| {
        for version in &versions {
            scope.spawn(|| {
                for _ in 0..40 {
                    ModelFile::new(version).save(&path).unwrap();
                    Saved::load_as::<StarConfig>(&path).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
