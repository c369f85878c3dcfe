//! The output, which gets its name only when it is whole.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ngc_examples::{Failure, Kind};

/// A file that is being written, under another name in the same folder. It goes away with this, unless it was finished.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    part: PathBuf,
    /// Holds the lock.
    file: File,
    force: bool,
    finished: bool,
}

impl Output {
    /// Takes the place of an output.
    ///
    /// # Errors
    /// [`Kind::Exists`] if it is there or another process has it in hand, [`Kind::Encode`] if it cannot be written.
    pub fn new(path: &Path, force: bool) -> Result<Self, Failure> {
        let name = path.file_name().ok_or_else(|| Failure::new(Kind::Usage, format!("{} is no file name", path.display())))?;
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(".part");
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(Failure::new(Kind::Encode, format!("{}: there is no such folder", folder.display())));
        }
        let part = path.with_file_name(part);
        // Another process may finish between opening and locking: then what is locked is its result.
        for _ in 0..100 {
            if path.is_dir() || (path.exists() && !force) {
                return Err(Failure::new(Kind::Exists, format!("{} exists; --force replaces it", path.display())));
            }
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&part).map_err(|e| failed(&part, &e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::new(Kind::Exists, format!("{} is being written by another process", path.display())));
                }
                Err(TryLockError::Error(e)) => return Err(failed(&part, &e)),
            }
            let same = |a: std::fs::Metadata, b: std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
            if let (Ok(held), Ok(named)) = (file.metadata(), part.metadata())
                && same(held, named)
            {
                return Ok(Self { path: path.into(), part, file, force, finished: false });
            }
        }
        Err(Failure::new(Kind::Exists, format!("{} is being written by other processes", path.display())))
    }

    /// Where to write.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |m| m.len())
    }

    /// Gives it its name, once all of it is on the disk.
    ///
    /// # Errors
    /// [`Kind::Encode`]; [`Kind::Exists`] if another file has taken the name.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|e| failed(&self.part, &e))?;
        if self.force {
            std::fs::rename(&self.part, &self.path).map_err(|e| failed(&self.path, &e))?;
        } else {
            // A link does not replace what may have come meanwhile.
            match std::fs::hard_link(&self.part, &self.path) {
                Ok(()) => std::fs::remove_file(&self.part).map_err(|e| failed(&self.part, &e))?,
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(Failure::new(Kind::Exists, format!("{} has come into being meanwhile", self.path.display())));
                }
                // Some file systems have no links.
                Err(_) => std::fs::rename(&self.part, &self.path).map_err(|e| failed(&self.path, &e))?,
            }
        }
        self.finished = true;
        // The name is on the disk when the folder is.
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Encode, format!("{}: {error}", path.display()))
}
