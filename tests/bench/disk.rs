//! The disk's own speed, in the minutes in which it matters.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use crate::Res;
use crate::stats::Times;

/// Written before each `fdatasync`: about what a commit of a few rows appends to SQLite's log.
const BYTES: usize = 8 << 10;

/// A file on the disk that the databases of this run are on.
#[derive(Debug)]
pub(crate) struct Disk {
    file: File,
    _dir: TempDir,
}

/// A directory on the disk that is measured; it is removed with the handle.
pub(crate) fn directory() -> Res<TempDir> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(base)?;
    Ok(tempfile::Builder::new().prefix("ratios-").tempdir_in(base)?)
}

impl Disk {
    pub(crate) fn new() -> Res<Self> {
        let dir = directory()?;
        let file = OpenOptions::new().create(true).append(true).open(dir.path().join("probe"))?;
        Ok(Self { file, _dir: dir })
    }

    /// Appends and syncs `count` times; each time is that of `syncs` syncs in a row.
    pub(crate) fn probe(&mut self, count: usize, syncs: usize) -> Res<Times> {
        let bytes = vec![7_u8; BYTES];
        let mut times = Times::default();
        for _ in 0..count {
            let begun = Instant::now();
            for _ in 0..syncs {
                self.file.write_all(&bytes)?;
                self.file.sync_data()?;
            }
            times.push(begun.elapsed());
        }
        Ok(times)
    }
}
