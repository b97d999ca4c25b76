//! Some keys of the replica, read on the one that serves too, and compared as the bytes that came.
//!
//! The replica is read first, [ahead](super::ahead). The one that serves is asked the same of what the replica has given in
//! full, and when keys expire only where they do on the replica. No command gives more than so much, on either: a replica that is
//! wrong may hold one field where the other holds a million. What is not plainly equal is a candidate, which the
//! [typed reads](super::typed) look at again: this only has to be fast.

use tokio::{sync::Mutex as Turn, task::yield_now};

use super::{
    ahead::{Key, MANY_BYTES, Told},
    one_reply::{GONE, Rules, ask, expires, refuse},
    pages::Page,
};
use crate::{
    error::Result,
    server::raw::{Commands, Raw, Replies},
};

/// Compares some keys at a time.
pub struct Reader<'a> {
    rules: &'a Rules,
    /// The one connection to the server that serves: readers take turns, as others wait for it, too.
    master: &'a Turn<Raw>,
    wanted: Commands,
    there: Replies,
}

impl<'a> Reader<'a> {
    pub fn new(rules: &'a Rules, master: &'a Turn<Raw>) -> Self {
        Reader { rules, master, wanted: Commands::default(), there: Replies::default() }
    }

    /// Those of these names of the master that the replica lacks, or that expire on the master alone. All others were compared.
    pub async fn missing(&mut self, told: &Told) -> Result<Page> {
        let expiry = self.rules.expiry();
        told.expiries().for_each(|(name, _)| self.wanted.add(&[expiry, name]));
        self.ask().await?;
        let mut page = Page::default();
        for (n, (name, here)) in told.expiries().enumerate() {
            let there = expires(self.there.of(n));
            if here == GONE && there != GONE {
                page.candidates.push(name.to_vec());
            } else if here == -1 && there >= 0 {
                page.again.push(name.to_vec());
            }
        }
        Ok(page)
    }

    /// Compares these keys.
    pub async fn compare(&mut self, told: &Told) -> Result<Page> {
        let keys = told.keys(self.rules);
        let expiring = keys.iter().filter(|key| key.expires >= 0).count() as u64;
        let mut page = Page { given: keys.len() as u64, expiring, ..Page::default() };
        let mut rest = &*keys;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(worth(rest, MANY_BYTES));
            now.iter().for_each(|key| want(&mut self.wanted, key, self.rules.expiry()));
            self.ask().await?;
            judge(self.rules, now, &self.there, &mut page);
            rest = later;
        }
        Ok(page)
    }

    /// Asks the master for what is wanted.
    async fn ask(&mut self) -> Result<()> {
        {
            let mut master = self.master.lock().await;
            master.replies_to(&mut self.wanted, &mut self.there).await?;
            refuse(&master, &self.there)?;
        }
        // The next reader asks the master before this one looks at what it said.
        yield_now().await;
        Ok(())
    }
}

/// Adds the commands for what the replica has told of a key in full.
fn want(wanted: &mut Commands, key: &Key<'_>, expiry: &[u8]) {
    if key.holds.is_some() {
        if key.expires >= 0 {
            wanted.add(&[expiry, key.name]);
        }
        ask(wanted, key.name, key.kind);
    }
}

fn judge(rules: &Rules, keys: &[Key<'_>], there: &Replies, page: &mut Page) {
    let mut replies = (0..).map(|n| there.of(n));
    let mut reply = || replies.next().unwrap_or_default();
    for key in keys {
        let equal = key.holds.is_some_and(|holds| {
            let expires = key.expires < 0 || rules.same_expiry(key.expires, expires(reply()));
            let content = rules.same(key.kind, holds, reply());
            expires && content
        });
        match equal {
            true => page.equal += 1,
            false => page.candidates.push(key.name.to_vec()),
        }
    }
}

/// How many of these keys, at least one, hold no more bytes than that together.
fn worth(keys: &[Key<'_>], bytes: usize) -> usize {
    let sizes = keys.iter().map(|key| key.holds.map_or(0, <[u8]>::len));
    let sums = sizes.scan(0, |sum, size| {
        *sum += size;
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= bytes).count().max(1)
}
