//! Plugin files on disk: which there are, and their bytes if they can be trusted.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::precheck::MAX_FILE;

/// More files than this are left alone.
const MAX_FILES: usize = 256;

/// What tells one content of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

/// The `*.wasm` entries of a directory, whatever they are; none where there is no directory.
pub(super) fn list(dir: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(e),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|e| e != "wasm") {
            continue;
        }
        // One that has just gone is no entry.
        let Ok(m) = fs::symlink_metadata(&path) else { continue };
        found.insert(path, Stamp::of(&m));
    }
    while found.len() > MAX_FILES {
        found.pop_last();
    }
    Ok(found)
}

impl Stamp {
    fn of(m: &fs::Metadata) -> Self {
        Self {
            device: m.dev(),
            inode: m.ino(),
            size: m.size(),
            changed: (m.ctime(), m.ctime_nsec()),
            modified: (m.mtime(), m.mtime_nsec()),
        }
    }
}

/// The bytes of a file, or why it is not read, in words that follow "it". Everything that follows is done
/// with these bytes, never with the file again.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let bad = |e: io::Error| format!("could not be read: {e}");
    if fs::symlink_metadata(path).map_err(bad)?.is_symlink() {
        return Err("is a symbolic link".to_owned());
    }
    // Opening a pipe or a device must neither wait nor do anything.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let custom = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(custom).open(path).map_err(bad)?;
    let m = file.metadata().map_err(bad)?;
    if !m.is_file() {
        return Err("is no regular file".to_owned());
    }
    let us = rustix::process::geteuid().as_raw();
    if m.uid() != 0 && m.uid() != us {
        return Err(format!("belongs to user {}, neither to root nor to us", m.uid()));
    }
    if m.mode() & 0o002 != 0 {
        return Err("can be written by everybody".to_owned());
    }
    if m.len() > MAX_FILE {
        return Err(format!("is larger than {} MiB", MAX_FILE >> 20));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(m.len()).unwrap_or_default() + 1);
    (&file).take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(bad)?;
    let after = file.metadata().map_err(bad)?;
    if Stamp::of(&m) != Stamp::of(&after) || bytes.len() as u64 != m.len() {
        return Err("changed while it was read".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_plain_files_of_trusted_owners_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("good.wasm"), b"x").unwrap();
        symlink(at("good.wasm"), at("link.wasm")).unwrap();
        fs::create_dir(at("dir.wasm")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe.wasm"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        fs::write(at("open.wasm"), b"x").unwrap();
        fs::set_permissions(at("open.wasm"), fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(at(".hidden.wasm"), b"x").unwrap();
        fs::write(at("note.txt"), b"x").unwrap();

        let names: Vec<_> = list(dir.path()).unwrap().into_keys().collect();
        assert_eq!(names, ["dir.wasm", "good.wasm", "link.wasm", "open.wasm", "pipe.wasm"].map(at));
        assert_eq!(read(&at("good.wasm")).unwrap(), b"x");
        assert_eq!(read(&at("link.wasm")).unwrap_err(), "is a symbolic link");
        assert_eq!(read(&at("dir.wasm")).unwrap_err(), "is no regular file");
        assert_eq!(read(&at("pipe.wasm")).unwrap_err(), "is no regular file");
        assert_eq!(read(&at("open.wasm")).unwrap_err(), "can be written by everybody");
        assert!(read(&at("gone.wasm")).unwrap_err().starts_with("could not be read"));
        let large = fs::File::create(at("large.wasm")).unwrap();
        large.set_len(MAX_FILE + 1).unwrap();
        assert_eq!(read(&at("large.wasm")).unwrap_err(), "is larger than 32 MiB");
        assert!(list(&at("nowhere")).unwrap().is_empty());
    }
}
