//! The directory of a new instance: its files, and how all of it is taken back.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Result as IoResult, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, fchown, lchown},
    path::{Path, PathBuf},
};

use super::{Owner, process::at_work_in};
use crate::{
    decide::carry,
    error::{Code, Error, Result},
};

/// What may be in a directory that is still empty: the root of a file system has the first, and a launch that was killed
/// leaves the others.
const NOTHING: [&str; 3] = ["lost+found", "redis-baton.new", "redis-baton.former"];

/// Extensions of a file that is being written, and of the one that it replaces.
const NEW: &str = "new";
const FORMER: &str = "former";

/// A directory of which one server has all.
pub struct Place {
    /// The directory.
    pub directory: PathBuf,
}

/// What is in a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// There is no such directory yet.
    Missing,
    /// It is empty.
    Empty,
    /// An earlier launch has left its configuration, and perhaps data.
    Ours,
}

impl Place {
    /// The place in that directory.
    pub fn of(directory: &Path) -> Result<Self> {
        let plain = directory.to_str().is_some_and(|path| !path.contains(|c: char| c.is_control() || c == '"'));
        if !directory.is_absolute() || !plain || directory.parent().is_none() {
            return Err(Error::input(
                "directory",
                format!("{directory:?} is no absolute path of a directory of its own"),
            ));
        }
        Ok(Place { directory: directory.to_owned() })
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.file("redis-baton.conf")
    }

    /// The users, where the source has them in a file of their own.
    pub fn users(&self) -> PathBuf {
        self.file("users.acl")
    }

    /// What the server has to say.
    pub fn log(&self) -> PathBuf {
        self.file("server.log")
    }

    /// The number of its process.
    pub fn pid(&self) -> PathBuf {
        self.file("server.pid")
    }

    /// The mark in the configuration, from [`carry::digest`]; none if there is no such file of ours.
    pub fn mark(&self) -> Result<Option<String>> {
        match fs::read_to_string(self.config()) {
            Ok(text) => Ok(carry::mark(&text).map(str::to_owned)),
            Err(e) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&e.kind()) => Ok(None),
            Err(e) => Err(denied(&self.config(), "read", &e)),
        }
    }

    /// Looks what is in it. What is not ours is left alone, whatever it is.
    pub fn look(&self) -> Result<Found> {
        let entries = match fs::read_dir(&self.directory) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let parent = self.directory.parent().unwrap_or(Path::new("/"));
                return match parent.is_dir() {
                    true => Ok(Found::Missing),
                    false => Err(Error::input("directory", format!("there is no {} to make it in", parent.display()))),
                };
            }
            Err(e) => return Err(denied(&self.directory, "read", &e)),
            Ok(entries) => entries,
        };
        let names: BTreeSet<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| !NOTHING.contains(&name.as_str()))
            .collect();
        if let Some(pid) = at_work_in(&self.directory, &self.pid(), &self.config()) {
            let found = format!("process {pid} is at work in {}", self.directory.display());
            return Err(Error::new(Code::DirectoryInUse, found)
                .remedy("wait until it answers, end it, or give another directory"));
        }
        match names.first() {
            None => Ok(Found::Empty),
            Some(_) if self.mark()?.is_some() => Ok(Found::Ours),
            Some(name) => {
                let found =
                    format!("{} holds files that are not of a launch, such as {name}", self.directory.display());
                Err(Error::new(Code::DirectoryInUse, found)
                    .remedy("give an empty directory, or one that is not there yet"))
            }
        }
    }

    /// Makes the directory where it is missing, and writes these files, which only the owner can read. Dropped without
    /// [`Settled::keep`], all of it is taken back.
    pub fn settle(&self, found: &Found, owner: Option<Owner>, files: &[(PathBuf, String)]) -> Result<Settled> {
        let mut settled = Settled {
            directory: self.directory.clone(),
            made: false,
            kept: false,
            names: BTreeSet::new(),
            former: Vec::new(),
        };
        if *found == Found::Missing {
            DirBuilder::new().mode(0o750).create(&self.directory).map_err(|e| denied(&self.directory, "made", &e))?;
            settled.made = true;
        } else {
            settled.names = names(&self.directory).map_err(|e| denied(&self.directory, "read", &e))?;
        }
        if let Some(owner) = owner {
            let given = fs::canonicalize(&self.directory)
                .and_then(|directory| lchown(directory, Some(owner.uid), Some(owner.gid)));
            given.map_err(|e| denied(&self.directory, "given away", &e))?;
        }
        for (path, text) in files {
            settled.replace(path, text.as_bytes(), owner).map_err(|e| denied(path, "written", &e))?;
        }
        Ok(settled)
    }
}

/// A place with the files of a launch in it.
pub struct Settled {
    directory: PathBuf,
    made: bool,
    kept: bool,
    /// What was there before.
    names: BTreeSet<String>,
    /// Files that were replaced. They are kept beside.
    former: Vec<PathBuf>,
}

impl Settled {
    /// Leaves everything as it is.
    pub fn keep(mut self) {
        self.kept = true;
        for path in &self.former {
            let _ = fs::remove_file(path.with_extension(FORMER));
        }
    }

    /// Writes a file beside the place where it goes, so that it is there as a whole or not at all. Links that the
    /// directory's owner may have put there are not followed: this may be root.
    fn replace(&mut self, path: &Path, bytes: &[u8], owner: Option<Owner>) -> IoResult<()> {
        let (beside, former) = (path.with_extension(NEW), path.with_extension(FORMER));
        for stale in [&beside, &former] {
            match fs::remove_file(stale) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        if let Some(owner) = owner {
            fchown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        file.sync_all()?;
        match fs::hard_link(path, &former) {
            Ok(()) => self.former.push(path.to_owned()),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        fs::rename(&beside, path)
    }
}

impl Drop for Settled {
    /// Takes back what came since, be it ours or the server's.
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if self.made {
            let _ = fs::remove_dir_all(&self.directory);
            return;
        }
        for path in &self.former {
            let _ = fs::rename(path.with_extension(FORMER), path);
        }
        for name in names(&self.directory).unwrap_or_default().difference(&self.names) {
            let path = self.directory.join(name);
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

fn names(directory: &Path) -> IoResult<BTreeSet<String>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn denied(path: &Path, done: &str, error: &std::io::Error) -> Error {
    Error::new(Code::HostDenied, format!("{} can't be {done}: {error}", path.display()))
        .remedy("see that the user who runs this may do that, or give another directory")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("baton-place-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn files(place: &Place) -> [(PathBuf, String); 1] {
        let known = carry::Values::new();
        let carry = carry::Carry {
            source: &known,
            known: &known,
            wishes: &carry::Wishes::new(),
            own: &[],
            users: &Default::default(),
            modules: &[],
            digest: "d",
        };
        [(place.config(), carry::carry(&carry).unwrap().text)]
    }

    #[test]
    fn what_a_launch_made_is_taken_back_as_a_whole() {
        let scratch = Scratch::new("made");
        let place = Place::of(&scratch.0.join("new")).unwrap();
        assert_eq!(place.look().unwrap(), Found::Missing);
        let settled = place.settle(&Found::Missing, None, &files(&place)).unwrap();
        let mode = fs::metadata(place.config()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(place.look().unwrap(), Found::Ours);
        drop(settled);
        assert_eq!(place.look().unwrap(), Found::Missing);
    }

    #[test]
    fn a_directory_that_was_there_is_as_before() {
        let scratch = Scratch::new("there");
        let place = Place::of(&scratch.0).unwrap();
        assert_eq!(place.look().unwrap(), Found::Empty);
        place.settle(&Found::Empty, None, &files(&place)).unwrap().keep();
        let settled = place.settle(&Found::Ours, None, &[(place.config(), "other".into())]).unwrap();
        fs::create_dir(place.file("appendonlydir")).unwrap();
        drop(settled);
        assert_eq!(place.mark().unwrap().as_deref(), Some("d"));
        assert_eq!(names(&scratch.0).unwrap().len(), 1);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let scratch = Scratch::new("theirs");
        let place = Place::of(&scratch.0).unwrap();
        fs::write(place.file("dump.rdb"), "").unwrap();
        assert_eq!(place.look().unwrap_err().code, Code::DirectoryInUse);
        assert!(Place::of(Path::new("relative")).is_err() && Place::of(Path::new("/")).is_err());
    }
}
