//! What modules have written: it tells where it ends, but only the module knows what it means.

use std::io::Read;

use super::{Reader, Result};

/// What can stand in a module's value.
mod part {
    pub const END: u64 = 0;
    pub const SIGNED: u64 = 1;
    pub const UNSIGNED: u64 = 2;
    pub const FLOAT: u64 = 3;
    pub const DOUBLE: u64 = 4;
    pub const STRING: u64 = 5;
}

impl<R: Read> Reader<R> {
    /// Passes over a value of a module's type, and says of which.
    pub(super) fn module_value(&mut self) -> Result<String> {
        let id = self.input.length()?;
        self.skip_parts()?;
        Ok(type_name(id))
    }

    /// What a module has written beside the keys.
    pub(super) fn module_aux(&mut self) -> Result<()> {
        self.input.length()?;
        self.skip_parts()
    }

    /// What modules have attached to a key.
    pub(super) fn key_metadata(&mut self) -> Result<()> {
        for _ in 0..self.input.length()? {
            self.input.u32_le()?;
            self.skip_parts()?;
        }
        Ok(())
    }

    fn skip_parts(&mut self) -> Result<()> {
        loop {
            match self.input.length()? {
                part::END => return Ok(()),
                part::SIGNED | part::UNSIGNED => drop(self.input.length()?),
                part::FLOAT => drop(self.input.u32_le()?),
                part::DOUBLE => drop(self.input.u64_le()?),
                part::STRING => self.input.skip_string()?,
                _ => return Err(self.input.corrupt("no part of a module's value that there is")),
            }
        }
    }
}

/// The nine characters of a type's name, which are in its id above ten bits of a version.
fn type_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |n: u32| LETTERS.get((id >> (10 + 6 * n) & 0x3f) as usize).copied().unwrap_or(b'?');
    (0..9).rev().map(letter).map(char::from).collect()
}
