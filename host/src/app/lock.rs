//! The data directory: made for us alone, and held against a second process.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::Error;

/// The lock; it ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held open, never read")] File);

/// Makes the directory if need be and locks it.
pub(super) fn take(dir: &Path) -> Result<Lock, Error> {
    let wrong = |why: String| Error::DataDir { dir: dir.to_owned(), why };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|why| wrong(why.to_string()))?;
    let path = dir.join("vigil.lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|why| wrong(why.to_string()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(wrong(
                "another vigil is using it; stop that one, or give this one its own --data-dir".into(),
            ));
        }
        Err(std::fs::TryLockError::Error(why)) => return Err(wrong(why.to_string())),
    }
    // For people who wonder whose lock it is; the lock does not depend on it.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Lock(file))
}
