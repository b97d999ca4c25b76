//! The bytes of an RDB one after the other: numbers, lengths and strings.

use std::io::{ErrorKind, Read};

use crc_fast::{CrcAlgorithm, Digest};

use super::{Problem, Result, Seed, Unreadable};

/// How many bytes are read ahead. No single piece that is asked for is longer.
const AHEAD: usize = 1 << 18;

/// The longest packed value that is held in memory.
pub const MOST_PACKED: usize = 64 << 20;

/// How far back compressed text refers.
const LZF_WINDOW: usize = 1 << 13;

/// A string's length, or how it is encoded instead.
enum Length {
    Plain(u64),
    Encoded(u8),
}

/// A string before its bytes are read.
enum Head {
    Number(i64),
    Raw(u64),
    Compressed { packed: u64, plain: u64 },
}

pub(super) struct Input<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where in the buffer the next byte is, and how many of its bytes are filled.
    at: usize,
    filled: usize,
    /// How many bytes came before the buffer's first one.
    before: u64,
    /// Up to where in the buffer the sum was formed.
    summed: usize,
    sum: Digest,
    plain: Vec<u8>,
}

impl<R: Read> Input<R> {
    pub fn new(source: R) -> Self {
        Input {
            source,
            buffer: vec![0; AHEAD],
            at: 0,
            filled: 0,
            before: 0,
            summed: 0,
            sum: Digest::new(CrcAlgorithm::Crc64Redis),
            plain: Vec::new(),
        }
    }

    /// How many bytes were taken so far.
    pub fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    pub fn error(&self, problem: Problem) -> Unreadable {
        Unreadable { offset: self.offset(), problem }
    }

    pub fn corrupt(&self, what: &'static str) -> Unreadable {
        self.error(Problem::Corrupt(what))
    }

    /// The next bytes, as many as are wished: no more than [`AHEAD`].
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&[u8]> {
        if self.filled - self.at < count {
            self.fill(count)?;
        }
        let from = self.at;
        self.at += count;
        // The range is within the buffer: `fill` has seen to that.
        Ok(self.buffer.get(from..self.at).unwrap_or_default())
    }

    #[cold]
    fn fill(&mut self, count: usize) -> Result<()> {
        self.form_sum();
        self.buffer.copy_within(self.at..self.filled, 0);
        self.before += self.at as u64;
        self.filled -= self.at;
        (self.at, self.summed) = (0, 0);
        while self.filled < count {
            let Some(free) = self.buffer.get_mut(self.filled..).filter(|free| !free.is_empty()) else {
                return Err(self.corrupt("a piece that is too long"));
            };
            match self.source.read(free) {
                Ok(0) => return Err(self.error(Problem::Short)),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(Problem::Io(error))),
            }
        }
        Ok(())
    }

    fn form_sum(&mut self) {
        self.sum.update(self.buffer.get(self.summed..self.at).unwrap_or_default());
        self.summed = self.at;
    }

    /// The checksum at the end, which must be that of all before it. A server that is told to writes 0 instead.
    pub fn checksum(&mut self) -> Result<()> {
        self.form_sum();
        let formed = self.sum.finalize();
        match self.u64_le()? {
            0 => Ok(()),
            there if there == formed => Ok(()),
            _ => Err(self.error(Problem::Checksum)),
        }
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        let array = taken.try_into();
        array.map_err(|_| self.corrupt("a piece that is too long"))
    }

    pub fn byte(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub fn u32_le(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64_le(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A length that is one.
    pub fn length(&mut self) -> Result<u64> {
        match self.any_length()? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(_) => Err(self.corrupt("a string where a length must be")),
        }
    }

    fn any_length(&mut self) -> Result<Length> {
        let first = self.byte()?;
        let low = first & 0x3f;
        Ok(match first >> 6 {
            0 => Length::Plain(u64::from(low)),
            1 => Length::Plain(u64::from(low) << 8 | u64::from(self.byte()?)),
            2 if first == 0x80 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            2 if first == 0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
            2 => return Err(self.corrupt("no length that there is")),
            _ => Length::Encoded(low),
        })
    }

    fn head(&mut self) -> Result<Head> {
        Ok(match self.any_length()? {
            Length::Plain(length) => Head::Raw(length),
            Length::Encoded(0) => Head::Number(i64::from(i8::from_le_bytes(self.array()?))),
            Length::Encoded(1) => Head::Number(i64::from(i16::from_le_bytes(self.array()?))),
            Length::Encoded(2) => Head::Number(i64::from(i32::from_le_bytes(self.array()?))),
            Length::Encoded(3) => Head::Compressed { packed: self.length()?, plain: self.length()? },
            Length::Encoded(_) => return Err(self.corrupt("no encoding of a string that there is")),
        })
    }

    /// The digest of a string of any length.
    pub fn string(&mut self, seed: Seed) -> Result<u64> {
        match self.head()? {
            Head::Number(number) => Ok(seed.number(number)),
            Head::Raw(length) => match usize::try_from(length) {
                Ok(length) if length <= AHEAD => Ok(seed.text(self.take(length)?)),
                _ => {
                    let mut pieces = seed.pieces();
                    self.each_piece(length, |piece| pieces.update(piece))?;
                    Ok(pieces.digest())
                }
            },
            Head::Compressed { packed, plain } if plain <= AHEAD as u64 => {
                let text = self.inflate(packed, plain, |_| {})?;
                let digest = seed.text(&text);
                self.plain = text;
                Ok(digest)
            }
            Head::Compressed { packed, plain } => {
                let mut pieces = seed.pieces();
                let rest = self.inflate(packed, plain, |text| {
                    if text.len() > AHEAD {
                        let done = text.len() - LZF_WINDOW;
                        pieces.update(text.get(..done).unwrap_or_default());
                        text.drain(..done);
                    }
                })?;
                pieces.update(&rest);
                self.plain = rest;
                Ok(pieces.digest())
            }
        }
    }

    /// A string of which nothing is wanted.
    pub fn skip_string(&mut self) -> Result<()> {
        match self.head()? {
            Head::Number(_) => Ok(()),
            Head::Raw(length) | Head::Compressed { packed: length, .. } => self.each_piece(length, |_| {}),
        }
    }

    /// All of a string, in memory; none if it is longer than [`MOST_PACKED`].
    pub fn blob(&mut self) -> Result<Option<&[u8]>> {
        match self.head()? {
            Head::Number(_) => Err(self.corrupt("a number where a packed value must be")),
            Head::Raw(length) if length > MOST_PACKED as u64 => self.each_piece(length, |_| {}).map(|()| None),
            Head::Compressed { packed, plain } if plain > MOST_PACKED as u64 => {
                self.each_piece(packed, |_| {}).map(|()| None)
            }
            Head::Raw(length) => match usize::try_from(length) {
                Ok(length) if length <= AHEAD => self.take(length).map(Some),
                _ => {
                    let mut text = std::mem::take(&mut self.plain);
                    text.clear();
                    self.each_piece(length, |piece| text.extend_from_slice(piece))?;
                    self.plain = text;
                    Ok(Some(&self.plain))
                }
            },
            Head::Compressed { packed, plain } => {
                self.plain = self.inflate(packed, plain, |_| {})?;
                Ok(Some(&self.plain))
            }
        }
    }

    fn each_piece(&mut self, length: u64, mut piece: impl FnMut(&[u8])) -> Result<()> {
        let mut left = length;
        while left > 0 {
            let there = (self.filled - self.at).max(1);
            let count = usize::try_from(left).map_or(there, |left| left.min(there));
            piece(self.take(count)?);
            left -= count as u64;
        }
        Ok(())
    }

    /// Expands LZF. `grown` may take from the front of what there is, but for [`LZF_WINDOW`].
    fn inflate(&mut self, packed: u64, plain: u64, mut grown: impl FnMut(&mut Vec<u8>)) -> Result<Vec<u8>> {
        let end = self.offset().saturating_add(packed);
        let mut text = std::mem::take(&mut self.plain);
        text.clear();
        let mut written = 0;
        while self.offset() < end {
            let control = self.byte()?;
            let added = if control < 1 << 5 {
                let count = usize::from(control) + 1;
                text.extend_from_slice(self.take(count)?);
                count
            } else {
                let count = match control >> 5 {
                    7 => usize::from(self.byte()?) + 9,
                    count => usize::from(count) + 2,
                };
                let back = (usize::from(control & 0x1f) << 8 | usize::from(self.byte()?)) + 1;
                if back > text.len() {
                    return Err(self.corrupt("compressed text that refers to before its beginning"));
                }
                repeat(&mut text, back, count);
                count
            };
            written += added as u64;
            if written > plain {
                return Err(self.corrupt("compressed text that is longer than it says"));
            }
            grown(&mut text);
        }
        if self.offset() != end || written != plain {
            return Err(self.corrupt("compressed text of another length than it says"));
        }
        Ok(text)
    }
}

/// Appends what stands `back` bytes before the end, also where that runs into what is appended. `back` is 1 to the length.
fn repeat(text: &mut Vec<u8>, back: usize, count: usize) {
    let from = text.len() - back;
    let mut left = count;
    while left > 0 {
        // What was appended has the same period, so more can be taken each time.
        let chunk = left.min(text.len() - from);
        text.extend_from_within(from..from + chunk);
        left -= chunk;
    }
}
