//! A small stream in one reply: that to `XINFO STREAM key FULL`, from 6.0 on.

use crate::{
    rdb::Seed,
    server::raw::{bulk, elements, length, number, word},
};

/// A digest of what is compared of a stream: its entries and last id, its groups with what is pending of whom, and their
/// consumers, without those that have nothing pending where a server need not know them. What depends on when it is asked,
/// or on which of the two, is left out. None if the reply does not have all of it.
pub fn digest(reply: &[u8], all_consumers: bool, seed: Seed) -> Option<u64> {
    let (mut last_id, mut entries, mut groups, mut count) = (None, None, None, None);
    for (name, value) in fields(reply) {
        match name {
            b"length" => count = number(value),
            b"last-generated-id" => last_id = Some(seed.text(word(value))),
            b"entries" if count == i64::try_from(length(value)).ok() => entries = Some(seed.text(value)),
            b"groups" => groups = Some(sum(value, |of| group(of, all_consumers, seed))?),
            _ => {}
        }
    }
    Some(seed.mix([last_id?, entries?, groups?]))
}

fn group(reply: &[u8], all_consumers: bool, seed: Seed) -> Option<u64> {
    let (mut name, mut last_id, mut pending, mut consumers, mut count) = (None, None, None, None, None);
    for (field, value) in fields(reply) {
        match field {
            b"name" => name = Some(seed.text(word(value))),
            b"last-delivered-id" => last_id = Some(seed.text(word(value))),
            b"pel-count" => count = number(value),
            b"pending" if count == i64::try_from(length(value)).ok() => {
                pending = Some(sum(value, |entry| {
                    let mut words = elements(entry).map(word);
                    Some(seed.mix([seed.text(words.next()?), seed.text(words.next()?)]))
                })?);
            }
            b"consumers" => consumers = Some(sum(value, |one| consumer(one, all_consumers, seed))?),
            _ => {}
        }
    }
    Some(seed.mix([name?, last_id?, pending?, consumers?]))
}

/// A consumer; 0 if it does not count.
fn consumer(reply: &[u8], all_consumers: bool, seed: Seed) -> Option<u64> {
    let (mut name, mut pending) = (None, None);
    for (field, value) in fields(reply) {
        match field {
            b"name" => name = Some(seed.text(word(value))),
            b"pel-count" => pending = number(value),
            _ => {}
        }
    }
    let counts = all_consumers || pending? > 0;
    name.map(|name| if counts { name } else { 0 })
}

/// Of all elements; their order does not count.
fn sum(reply: &[u8], of: impl Fn(&[u8]) -> Option<u64>) -> Option<u64> {
    elements(reply).try_fold(0_u64, |sum, element| Some(sum.wrapping_add(of(element)?)))
}

/// Names with their values.
fn fields(reply: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut elements = elements(reply);
    std::iter::from_fn(move || Some((bulk(elements.next()?)?, elements.next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As servers answer, without what they say of lengths of words.
    const REPLY: &str = "*10 length :1 last-generated-id 5-1 entries *1 *2 5-1 *2 field value groups *1 \
        *14 name readers last-delivered-id 5-1 entries-read :1 lag :0 pel-count :1 pending *1 *4 5-1 one :1700 :1 consumers *2 \
        *8 name one seen-time :1700 pel-count :1 pending *1 *3 5-1 :1700 :1 \
        *8 name two seen-time :1700 pel-count :0 pending *0 radix-tree-keys :1";

    fn reply(text: &str) -> Vec<u8> {
        let line = |word: &str| match word.as_bytes()[0] {
            b'*' | b':' => format!("{word}\r\n"),
            _ => format!("${}\r\n{word}\r\n", word.len()),
        };
        text.split_whitespace().map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn what_differs_is_seen_and_what_need_not_be_alike_is_not() {
        let seed = Seed::random();
        let of = |text: &str| digest(&reply(text), true, seed);
        let whole = of(REPLY).unwrap();
        for (from, to) in [
            ("value", "other"),
            ("last-generated-id 5-1", "last-generated-id 5-2"),
            ("last-delivered-id 5-1", "last-delivered-id 5-0"),
            ("name readers", "name writers"),
            ("pending *1 *4 5-1 one", "pending *1 *4 5-1 two"),
            ("name two", "name three"),
        ] {
            let other = REPLY.replacen(from, to, 1);
            assert_ne!(other, REPLY);
            assert_ne!(of(&other), Some(whole), "{from}");
        }
        for (from, to) in [(":1700", ":1800"), ("lag :0", "lag :2"), ("radix-tree-keys :1", "radix-tree-keys :9")] {
            assert_eq!(of(&REPLY.replace(from, to)), Some(whole), "{from}");
        }
    }

    #[test]
    fn a_reply_that_lacks_something_is_none() {
        let of = |text: &str| digest(&reply(text), true, Seed::random());
        assert!(of(REPLY).is_some());
        for (from, to) in [
            ("length :1", "length :2"),
            ("pel-count :1 pending *1 *4", "pel-count :2 pending *1 *4"),
            // A name that is not known is as good as none.
            ("length", "size"),
            ("last-generated-id", "id"),
            ("entries", "first-entry"),
            ("groups", "group-count"),
            ("name readers", "called readers"),
            ("last-delivered-id", "id"),
            ("pel-count :1 pending *1 *4", "pending-count :1 pending *1 *4"),
            ("pending *1 *4", "first *1 *4"),
            ("consumers", "consumer-count"),
            ("name two", "called two"),
        ] {
            let other = REPLY.replacen(from, to, 1);
            assert_ne!(other, REPLY);
            assert_eq!(of(&other), None, "{from}");
        }
        assert_eq!(of("*0"), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_no_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)) {
            let mut reply = reply(REPLY);
            changes.iter().for_each(|(at, byte)| *at.get_mut(&mut reply) = *byte);
            digest(&reply, true, Seed::random());
        }
    }

    #[test]
    fn who_has_nothing_pending_need_not_be_known() {
        let seed = Seed::random();
        let one = |text: &str, all| digest(&reply(text), all, seed);
        let without = REPLY.replacen("consumers *2", "consumers *1", 1).replacen(
            "*8 name two seen-time :1700 pel-count :0 pending *0 ",
            "",
            1,
        );
        assert_ne!(one(REPLY, true), one(&without, true));
        assert_eq!(one(REPLY, false), one(&without, false));
    }
}
