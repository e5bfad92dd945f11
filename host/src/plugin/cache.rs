//! Compiled components on disk, and the one place where such code is taken into the process.
//!
//! A file is the artefact and the SHA-256 of it; its directory belongs to us alone and is named after
//! everything that the artefact depends on besides the component.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::{Error, engine};

const SUM: usize = 32;

/// The directory of compiled components.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens `cache/` in the data directory, and drops what other versions of the engine left there.
    pub(super) fn open(data_dir: &Path, engine: &Engine) -> Result<Self, Error> {
        let root = data_dir.join("cache");
        let dir = root.join(engine::compatibility(engine));
        let bad = |e: io::Error| Error::Cache(format!("{}: {e}", dir.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(bad)?;
        for made in [&root, &dir] {
            let m = fs::symlink_metadata(made).map_err(bad)?;
            if !m.is_dir() || m.uid() != rustix::process::geteuid().as_raw() {
                return Err(bad(io::Error::other("is not a directory of ours")));
            }
            fs::set_permissions(made, fs::Permissions::from_mode(0o700)).map_err(bad)?;
        }
        for entry in fs::read_dir(&root).map_err(bad)?.flatten() {
            if entry.path() != dir && entry.file_type().is_ok_and(|t| t.is_dir()) {
                // Old code takes room and is never read again; what cannot be removed does no harm.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(Self { dir })
    }

    /// A compiled component, if it is there, whole and ours.
    pub(super) fn get(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let m = fs::symlink_metadata(&path).ok()?;
        if !m.is_file() || m.uid() != rustix::process::geteuid().as_raw() || m.mode() & 0o077 != 0 {
            return None;
        }
        let mut bytes = fs::read(&path).ok()?;
        let at = bytes.len().checked_sub(SUM)?;
        let sum = bytes.split_off(at);
        (Sha256::digest(&bytes)[..] == sum[..]).then_some(bytes)
    }

    /// Keeps a compiled component; whole or not at all.
    pub(super) fn put(&self, digest: &str, artefact: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(artefact)?;
        file.write_all(&Sha256::digest(artefact))?;
        file.persist(self.path(digest)).map_err(|e| e.error)?;
        Ok(())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.cwasm"))
    }
}

/// Takes compiled code into the process.
#[expect(unsafe_code, reason = "compiled code is run as it is; see the comment inside")]
pub(super) fn deserialize(engine: &Engine, artefact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are the output of our own compile child, either just now from its pipe or from a
    // file that only we can write (`Cache::get` checks owner, mode and sum). Nobody else's artefacts ever
    // come here. Engine version and settings are checked by wasmtime itself.
    unsafe { Component::deserialize(engine, artefact) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_of_ours_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(&engine::config()).unwrap();
        fs::create_dir_all(dir.path().join("cache/old")).unwrap();
        let cache = Cache::open(dir.path(), &engine).unwrap();
        assert!(!dir.path().join("cache/old").exists());
        assert_eq!(cache.get("d"), None);
        cache.put("d", b"artefact").unwrap();
        assert_eq!(cache.get("d").unwrap(), b"artefact");
        let mode = fs::metadata(&cache.dir).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700);

        let mut bytes = fs::read(cache.path("d")).unwrap();
        bytes[0] ^= 1;
        fs::write(cache.path("d"), &bytes).unwrap();
        assert_eq!(cache.get("d"), None, "a changed file");
        bytes[0] ^= 1;
        fs::write(cache.path("d"), &bytes).unwrap();
        assert!(cache.get("d").is_some());
        fs::set_permissions(cache.path("d"), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(cache.get("d"), None, "a file that others can write");
        fs::write(cache.path("d"), b"x").unwrap();
        assert_eq!(cache.get("d"), None, "a short file");
    }
}
