//! A reader of RDB, the format of files and replication streams: what each key is and holds, as a digest.
//!
//! It reads from a stream of bytes that may be anything: memory is bounded by constants here, whatever lengths the
//! bytes claim; values that are larger are digested in pieces; and an error says at which byte it was.
//!
//! Versions 5 to 14 of Redis and 80 of Valkey are known, with every encoding of the built-in types. The value of a module's
//! type can be passed over, and is told as [`Content::Module`].

mod digest;
mod input;
mod module;
mod packed;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_hostile;
mod value;

use std::{fmt, io::Read};

pub use digest::Seed;
use input::Input;
pub use input::MOST_PACKED;

/// What is wrong with the bytes, and where.
#[derive(Debug)]
pub struct Unreadable {
    /// How many bytes were read before.
    pub offset: u64,
    /// What was found there.
    pub problem: Problem,
}

/// What can be wrong with the bytes.
#[derive(Debug)]
pub enum Problem {
    /// They could not be read.
    Io(std::io::Error),
    /// They end too early.
    Short,
    /// They can't be what they are said to be.
    Corrupt(&'static str),
    /// They are of a kind that is not known here.
    Unknown(String),
    /// The checksum at the end is another one.
    Checksum,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Io(error) => write!(f, "{error}"),
            Problem::Short => write!(f, "it ends there"),
            Problem::Corrupt(what) => write!(f, "there is {what}"),
            Problem::Unknown(what) => write!(f, "there is {what}, which is not known here"),
            Problem::Checksum => write!(f, "the checksum at the end is another one"),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.problem)
    }
}

/// Result of reading.
pub type Result<T, E = Unreadable> = std::result::Result<T, E>;

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The digest of its type, its value and when it expires.
    Digest(u64),
    /// A value of a module's type, which only the module understands.
    Module(String),
    /// A value that is packed into more than [`MOST_PACKED`] bytes.
    TooLarge,
}

/// Who made the bytes: the numbers of a few types mean other things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Redis,
    Valkey,
}

/// Reads all of it and hands every key's hash and content to `found`. What follows it is left in `source`, but for what was read
/// ahead: [`Tail`].
pub fn read<R: Read>(source: R, seed: Seed, mut found: impl FnMut(u64, Content)) -> Result<Tail<R>> {
    let mut reader = Reader { input: Input::new(source), seed, flavour: Flavour::Redis, oversized: false };
    reader.header()?;
    let mut db = 0;
    let mut expires = None;
    loop {
        match reader.input.byte()? {
            opcode::EOF => break,
            opcode::SELECTDB => db = reader.input.length()?,
            opcode::EXPIRETIME => expires = Some(u64::from(reader.input.u32_le()?) * 1000),
            opcode::EXPIRETIME_MS => expires = Some(reader.input.u64_le()?),
            opcode::RESIZEDB => reader.lengths(2)?,
            opcode::AUX => {
                reader.input.skip_string()?;
                reader.input.skip_string()?;
            }
            opcode::FREQ => drop(reader.input.byte()?),
            opcode::IDLE => reader.lengths(1)?,
            opcode::MODULE_AUX => reader.module_aux()?,
            opcode::FUNCTION => reader.input.skip_string()?,
            opcode::SLOT_INFO => reader.lengths(3)?,
            opcode::KEY_META_OR_SLOT_IMPORT => match reader.flavour {
                Flavour::Redis => reader.key_metadata()?,
                Flavour::Valkey => {
                    reader.input.skip_string()?;
                    let ranges = reader.input.length()?;
                    reader.lengths(ranges.saturating_mul(2))?;
                }
            },
            kind => {
                let name = reader.input.string(seed)?;
                let content = reader.content(kind, expires.take())?;
                found(seed.key(db, name), content);
            }
        }
    }
    reader.input.checksum()?;
    Ok(Tail(reader.input))
}

/// The first version with a checksum at the end, of Redis 2.6.
const OLDEST: u32 = 5;

/// What comes after the end of the RDB.
pub struct Tail<R>(Input<R>);

impl<R: Read> Tail<R> {
    /// How many bytes the RDB had.
    pub fn offset(&self) -> u64 {
        self.0.offset()
    }

    /// The error that it ended elsewhere than was said.
    pub fn wrong_end(&self) -> Unreadable {
        self.0.corrupt("another end than was said")
    }

    /// The next bytes.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.0.array()
    }
}

/// What can stand in the place of a key's type.
mod opcode {
    pub const KEY_META_OR_SLOT_IMPORT: u8 = 243;
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZEDB: u8 = 251;
    pub const EXPIRETIME_MS: u8 = 252;
    pub const EXPIRETIME: u8 = 253;
    pub const SELECTDB: u8 = 254;
    pub const EOF: u8 = 255;
}

struct Reader<R> {
    input: Input<R>,
    seed: Seed,
    flavour: Flavour,
    /// Whether something packed of the present key was too large to be looked at.
    oversized: bool,
}

impl<R: Read> Reader<R> {
    /// `REDIS0012` or `VALKEY080`.
    fn header(&mut self) -> Result<()> {
        let magic = self.input.array::<9>()?;
        let digits = match &magic {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => &digits[..],
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => {
                self.flavour = Flavour::Valkey;
                &digits[..]
            }
            _ => return Err(self.input.corrupt("no beginning of an RDB")),
        };
        let version = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok());
        match version {
            Some(OLDEST..) => Ok(()),
            _ => Err(self.input.corrupt("no version of an RDB that is known")),
        }
    }

    fn lengths(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            self.input.length()?;
        }
        Ok(())
    }

    fn content(&mut self, kind: u8, expires: Option<u64>) -> Result<Content> {
        self.oversized = false;
        let Some((of_type, value)) = self.value(kind)? else {
            return self.module_value().map(Content::Module);
        };
        if self.oversized {
            return Ok(Content::TooLarge);
        }
        Ok(Content::Digest(self.seed.mix([of_type as u64, expires.unwrap_or(u64::MAX), value])))
    }
}
