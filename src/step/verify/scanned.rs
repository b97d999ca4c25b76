//! Names that SCAN gave.

use crate::{
    error::Result,
    server::raw::{Raw, bulk, elements, length},
};

/// Some names, as an array of the protocol.
pub struct Scanned(Vec<u8>);

impl Scanned {
    /// Asks for a page of them. Returns the cursor of the next one, too; none if this is the last.
    pub async fn ask(raw: &mut Raw, cursor: &str, count: usize) -> Result<(Option<String>, Self)> {
        raw.ask(&[b"SCAN", cursor.as_bytes(), b"COUNT", count.to_string().as_bytes()]);
        let replies = raw.replies().await?;
        if let Some(said) = replies.refusal(0) {
            return Err(raw.refused("SCAN", &said));
        }
        let mut parts = elements(replies.of(0));
        let next = parts.next().and_then(bulk).and_then(|cursor| std::str::from_utf8(cursor).ok());
        match (next, parts.next()) {
            (Some(next), Some(names)) => {
                Ok((Some(next.to_owned()).filter(|next| next != "0"), Scanned(names.to_vec())))
            }
            _ => Err(raw.odd()),
        }
    }

    /// The same in parts of so many; at least one.
    pub fn split(self, names: usize) -> Vec<Self> {
        let all: Vec<&[u8]> = elements(&self.0).collect();
        if all.len() <= names {
            return vec![self];
        }
        let part = |names: &[&[u8]]| Scanned([format!("*{}\r\n", names.len()).as_bytes(), &names.concat()].concat());
        all.chunks(names).map(part).collect()
    }

    /// How many.
    pub fn length(&self) -> usize {
        length(&self.0)
    }

    /// Each of them.
    pub fn names(&self) -> Vec<&[u8]> {
        elements(&self.0).filter_map(bulk).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_all_names() {
        let all = || Scanned(b"*3\r\n$1\r\na\r\n$0\r\n\r\n$3\r\nc\nd\r\n".to_vec());
        for names in 1..5 {
            let parts = all().split(names);
            assert_eq!(parts.len(), 3_usize.div_ceil(names));
            let found: Vec<_> = parts.iter().flat_map(Scanned::names).collect();
            assert_eq!(found, [&b"a"[..], b"", b"c\nd"]);
        }
        assert_eq!(Scanned(b"*0\r\n".to_vec()).split(5).len(), 1);
    }
}
