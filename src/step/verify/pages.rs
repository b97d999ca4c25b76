//! Pages of SCAN that are being compared, in their order.

use std::collections::BTreeMap;

use super::scanned::Scanned;

/// Keys by what came of them.
#[derive(Default)]
pub struct Page {
    /// How many were to be compared, and how many of them expire on the replica.
    pub given: u64,
    pub expiring: u64,
    /// How many are equal.
    pub equal: u64,
    /// Those to be looked at again.
    pub candidates: Vec<Vec<u8>>,
    /// The same of keys that both have, so that they were counted before.
    pub again: Vec<Vec<u8>>,
}

impl Page {
    pub fn add(&mut self, more: Page) {
        self.given += more.given;
        self.expiring += more.expiring;
        self.equal += more.equal;
        self.candidates.extend(more.candidates);
        self.again.extend(more.again);
    }
}

/// Where SCAN stands in the database at hand.
#[derive(Default)]
pub struct Pages {
    /// The cursor of the next page; none at the end.
    pub next: Option<String>,
    begun: u64,
    /// Those that are being compared.
    under_way: BTreeMap<u64, UnderWay>,
    /// What came of those and of pages after them.
    done: BTreeMap<u64, Page>,
}

/// A page that is being compared.
struct UnderWay {
    cursor: String,
    /// How many of its parts are.
    parts: usize,
}

/// Names of a page.
pub struct Part {
    pub page: u64,
    pub database: u32,
    pub scanned: Scanned,
}

impl Pages {
    /// From a cursor on.
    pub fn from(cursor: String) -> Self {
        Pages { next: Some(cursor), ..Pages::default() }
    }

    /// A page in so many parts has come, and the cursor of the one behind it. Returns its number.
    pub fn begin(&mut self, cursor: String, next: Option<String>, parts: usize) -> u64 {
        self.next = next;
        self.begun += 1;
        self.under_way.insert(self.begun, UnderWay { cursor, parts });
        self.begun
    }

    /// A part was compared. Returns what came of pages before all that are being compared still.
    pub fn end(&mut self, part: &Part, found: Page) -> impl Iterator<Item = Page> + use<> {
        self.done.entry(part.page).or_default().add(found);
        if let Some(page) = self.under_way.get_mut(&part.page) {
            page.parts -= 1;
            if page.parts == 0 {
                self.under_way.remove(&part.page);
            }
        }
        let oldest = self.under_way.keys().next().copied().unwrap_or(u64::MAX);
        let later = self.done.split_off(&oldest);
        std::mem::replace(&mut self.done, later).into_values()
    }

    /// From where on pages are not complete; none if all are.
    pub fn cursor(&self) -> Option<&String> {
        self.under_way.values().next().map(|page| &page.cursor).or(self.next.as_ref())
    }
}
