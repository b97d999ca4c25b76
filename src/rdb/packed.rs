//! The packed encodings of small values: listpack, ziplist, intset, zipmap.

/// Why a packed value can't be read.
pub(super) type Bad = &'static str;

/// One element.
#[derive(Debug, PartialEq)]
pub(super) enum Element<'a> {
    Text(&'a [u8]),
    Number(i64),
}

/// Bytes that are taken from the front.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Bad> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("an element that goes beyond its packed value")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("an element that goes beyond its packed value")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Bad> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn text(&mut self, length: usize) -> Result<Element<'a>, Bad> {
        self.take(length).map(Element::Text)
    }

    /// A signed number of so many bytes, the least first.
    fn number<const N: usize>(&mut self) -> Result<Element<'a>, Bad> {
        Ok(Element::Number(signed(self.array::<N>()?)))
    }
}

fn signed<const N: usize>(bytes: [u8; N]) -> i64 {
    let unused = 64 - 8 * N as u32;
    let number = bytes.iter().rev().fold(0, |number: i64, byte| number << 8 | i64::from(*byte));
    number << unused >> unused
}

/// Which of the two encodings of a list of elements it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Listpack,
    Ziplist,
}

/// The elements of a listpack or a ziplist.
#[derive(Clone)]
pub(super) struct Elements<'a> {
    form: Form,
    bytes: Bytes<'a>,
}

const END: u8 = 0xff;

impl<'a> Elements<'a> {
    pub fn new(form: Form, packed: &'a [u8]) -> Result<Self, Bad> {
        let mut bytes = Bytes(packed);
        let said = u32::from_le_bytes(bytes.array()?);
        if usize::try_from(said) != Ok(packed.len()) {
            return Err("a packed value of another length than it says");
        }
        bytes.take(match form {
            Form::Listpack => 2,
            Form::Ziplist => 6,
        })?;
        Ok(Elements { form, bytes })
    }

    /// The next one; none at the end.
    pub fn next(&mut self) -> Result<Option<Element<'a>>, Bad> {
        match self.bytes.0 {
            [END] => Ok(None),
            [] | [END, ..] => Err("a packed value that ends elsewhere than it says"),
            _ => match self.form {
                Form::Listpack => self.of_listpack().map(Some),
                Form::Ziplist => self.of_ziplist().map(Some),
            },
        }
    }

    /// The next one, which must be there.
    pub fn one(&mut self) -> Result<Element<'a>, Bad> {
        self.next()?.ok_or("a packed value that lacks an element")
    }

    /// The next one, which must be a number.
    pub fn number(&mut self) -> Result<i64, Bad> {
        match self.one()? {
            Element::Number(number) => Ok(number),
            Element::Text(_) => Err("a text where a number must be"),
        }
    }

    fn of_listpack(&mut self) -> Result<Element<'a>, Bad> {
        let bytes = &mut self.bytes;
        let left = bytes.0.len();
        let first = bytes.byte()?;
        let low = usize::from(first);
        let element = match first {
            0x00..=0x7f => Element::Number(i64::from(first)),
            0x80..=0xbf => bytes.text(low & 0x3f)?,
            0xc0..=0xdf => {
                let thirteen = i64::from(first & 0x1f) << 8 | i64::from(bytes.byte()?);
                Element::Number(thirteen << 51 >> 51)
            }
            0xe0..=0xef => {
                let length = (low & 0xf) << 8 | usize::from(bytes.byte()?);
                bytes.text(length)?
            }
            0xf0 => {
                let length = u32::from_le_bytes(bytes.array()?);
                bytes.text(usize::try_from(length).unwrap_or(usize::MAX))?
            }
            0xf1 => bytes.number::<2>()?,
            0xf2 => bytes.number::<3>()?,
            0xf3 => bytes.number::<4>()?,
            0xf4 => bytes.number::<8>()?,
            _ => return Err("no encoding of a listpack that there is"),
        };
        // Its length stands behind it once more, for who reads backwards.
        bytes.take(match left - bytes.0.len() {
            0..=127 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        })?;
        Ok(element)
    }

    fn of_ziplist(&mut self) -> Result<Element<'a>, Bad> {
        let bytes = &mut self.bytes;
        if bytes.byte()? == 0xfe {
            bytes.take(4)?;
        }
        let first = bytes.byte()?;
        let low = usize::from(first & 0x3f);
        match first {
            0x00..=0x3f => bytes.text(low),
            0x40..=0x7f => {
                let length = low << 8 | usize::from(bytes.byte()?);
                bytes.text(length)
            }
            0x80..=0xbf => {
                let length = u32::from_be_bytes(bytes.array()?);
                bytes.text(usize::try_from(length).unwrap_or(usize::MAX))
            }
            0xc0 => bytes.number::<2>(),
            0xd0 => bytes.number::<4>(),
            0xe0 => bytes.number::<8>(),
            0xf0 => bytes.number::<3>(),
            0xfe => bytes.number::<1>(),
            0xf1..=0xfd => Ok(Element::Number(i64::from(first & 0xf) - 1)),
            _ => Err("no encoding of a ziplist that there is"),
        }
    }
}

/// The numbers of an intset.
pub(super) fn intset(packed: &[u8]) -> Result<impl Iterator<Item = i64>, Bad> {
    let mut bytes = Bytes(packed);
    let width = u32::from_le_bytes(bytes.array()?) as usize;
    let count = u32::from_le_bytes(bytes.array()?) as usize;
    if !matches!(width, 2 | 4 | 8) || count.checked_mul(width) != Some(bytes.0.len()) {
        return Err("a set of numbers of another length than it says");
    }
    Ok(bytes.0.chunks_exact(width).map(|number| match *number {
        [a, b] => signed([a, b]),
        [a, b, c, d] => signed([a, b, c, d]),
        _ => number.try_into().map_or(0, i64::from_le_bytes),
    }))
}

/// Hands the fields and values of a zipmap to `pair`.
pub(super) fn zipmap<'a>(packed: &'a [u8], mut pair: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), Bad> {
    let mut bytes = Bytes(packed);
    bytes.byte()?;
    while let Some(length) = zipmap_length(&mut bytes)? {
        let field = bytes.take(length)?;
        let length = zipmap_length(&mut bytes)?.ok_or("a zipmap that lacks a value")?;
        let free = bytes.byte()?;
        let value = bytes.take(length)?;
        bytes.take(usize::from(free))?;
        pair(field, value);
    }
    if bytes.0.is_empty() { Ok(()) } else { Err("a zipmap that ends elsewhere than it says") }
}

fn zipmap_length(bytes: &mut Bytes<'_>) -> Result<Option<usize>, Bad> {
    Ok(match bytes.byte()? {
        END => None,
        0xfe => Some(u32::from_le_bytes(bytes.array()?) as usize),
        short => Some(usize::from(short)),
    })
}
