//! What is in the bytes: files that servers of each version have written, and encodings that none of them writes any more.

use std::{collections::BTreeMap, io::Read};

use super::*;

/// The same data, saved by each server (`tests/support/rdb_files.py`).
pub(super) const FILES: [(&str, &[u8]); 7] = [
    ("redis-6.0", include_bytes!("../../tests/rdb/redis-6.0.rdb")),
    ("redis-7.0", include_bytes!("../../tests/rdb/redis-7.0.rdb")),
    ("redis-8.0", include_bytes!("../../tests/rdb/redis-8.0.rdb")),
    ("redis-8.6", include_bytes!("../../tests/rdb/redis-8.6.rdb")),
    ("valkey-8.0", include_bytes!("../../tests/rdb/valkey-8.0.rdb")),
    ("valkey-8.1", include_bytes!("../../tests/rdb/valkey-8.1.rdb")),
    ("valkey-9.1", include_bytes!("../../tests/rdb/valkey-9.1.rdb")),
];

/// How many keys they hold, and how many more where fields can expire.
const KEYS: usize = 25;
const WITH_EXPIRING_FIELDS: usize = 2;

fn keys(bytes: impl Read, seed: Seed) -> BTreeMap<u64, Content> {
    let mut keys = BTreeMap::new();
    read(bytes, seed, |key, content| drop(keys.insert(key, content))).unwrap();
    keys
}

#[test]
fn every_server_writes_the_same_data() {
    let seed = Seed::random();
    let first = keys(FILES[0].1, seed);
    assert_eq!(first.len(), KEYS);
    let distinct: std::collections::HashSet<_> = first.values().map(|content| format!("{content:?}")).collect();
    assert_eq!(distinct.len(), KEYS - 1, "`elsewhere` and `string:2` hold the same");
    let mut expiring = Vec::new();
    for (name, bytes) in FILES {
        let mut found = keys(bytes, seed);
        for (key, content) in &first {
            assert_eq!(found.remove(key).as_ref(), Some(content), "{name}");
        }
        if !found.is_empty() {
            assert_eq!(found.len(), WITH_EXPIRING_FIELDS, "{name}");
            expiring.push(found);
        }
    }
    assert_eq!(expiring.len(), 3);
    assert!(expiring.windows(2).all(|pair| pair[0] == pair[1]));
}

/// An RDB without a checksum.
pub(super) fn file(magic: &str, parts: &[&[u8]]) -> Vec<u8> {
    [magic.as_bytes(), &parts.concat(), &[opcode::EOF], &[0; 8]].concat()
}

/// A string as it is written in most places.
pub(super) fn string(bytes: &[u8]) -> Vec<u8> {
    [&[0x80], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// The content of one key of that type, whose value is these bytes.
fn content(seed: Seed, kind: u8, value: &[u8]) -> Content {
    content_of("REDIS0011", seed, kind, value)
}

fn content_of(magic: &str, seed: Seed, kind: u8, value: &[u8]) -> Content {
    let mut keys = keys(file(magic, &[&[kind], &string(b"k"), value]).as_slice(), seed);
    keys.pop_first().unwrap().1
}

fn strings(count: u8, all: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![count];
    all.iter().for_each(|one| bytes.extend(string(one)));
    bytes
}

fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let body = entries.concat();
    let length = u32::try_from(body.len() + 11).unwrap().to_le_bytes();
    [&length[..], &[0; 6], &body, &[0xff]].concat()
}

#[test]
fn old_encodings_hold_the_same_as_new_ones() {
    let seed = Seed::random();
    let list = content(seed, 1, &strings(3, &[b"ab", b"-2", b"12"]));
    // The length of the one before, the encoding, the content.
    let entries: [&[u8]; 3] = [b"\x00\x02ab", b"\x04\xfe\xfe", b"\x03\xfd"];
    let packed = ziplist(&entries);
    assert_eq!(content(seed, 10, &string(&packed)), list);
    assert_eq!(content(seed, 14, &[&[1][..], &string(&packed)].concat()), list);
    let halves = [&[2][..], &string(&ziplist(&entries[..1])), &string(&ziplist(&entries[1..]))].concat();
    assert_eq!(content(seed, 14, &halves), list);
    assert_ne!(content(seed, 2, &strings(3, &[b"ab", b"-2", b"12"])), list, "a set is no list");
    assert_ne!(content(seed, 1, &strings(3, &[b"-2", b"ab", b"12"])), list, "the order of a list counts");

    let hash = content(seed, 4, &strings(2, &[b"a", b"1", b"b", b"xyz"]));
    assert_eq!(content(seed, 4, &strings(2, &[b"b", b"xyz", b"a", b"1"])), hash, "that of a hash does not");
    assert_ne!(content(seed, 4, &strings(2, &[b"a", b"xyz", b"b", b"1"])), hash);
    assert_eq!(content(seed, 9, &string(b"\x02\x01a\x01\x001\x01b\x03\x02xyz..\xff")), hash);
    assert_eq!(content(seed, 13, &string(&ziplist(&[b"\x00\x01a", b"\x03\xf2", b"\x02\x01b", b"\x03\x03xyz"]))), hash);

    let set = content(seed, 2, &strings(2, &[b"1", b"-300"]));
    assert_eq!(content(seed, 11, &string(b"\x02\0\0\0\x02\0\0\0\xd4\xfe\x01\0")), set);

    let scores = [f64::INFINITY, 0.1, -0.0];
    let members: Vec<u8> = (b"abc".iter().zip(scores))
        .flat_map(|(member, score)| [&string(&[*member])[..], &score.to_le_bytes()].concat())
        .collect();
    let binary = content(seed, 5, &[&[3][..], &members].concat());
    let text = [&[3][..], &string(b"a"), &[254], &string(b"b"), b"\x030.1", &string(b"c"), b"\x010"].concat();
    assert_eq!(content(seed, 3, &text), binary, "0 has no sign");
    let packed = ziplist(&[b"\0\x01a", b"\x03\x03inf", b"\x05\x01b", b"\x03\x030.1", b"\x05\x01c", b"\x03\xf1"]);
    assert_eq!(content(seed, 12, &string(&packed)), binary);
}

#[test]
fn when_it_expires_counts() {
    let seed = Seed::random();
    let with = |expiry: &[u8]| keys(file("REDIS0011", &[expiry, &[0], b"\x01k", b"\x01v"]).as_slice(), seed);
    let seconds = with(b"\xfd\x02\0\0\0");
    assert_eq!(with(b"\xfc\xd0\x07\0\0\0\0\0\0"), seconds);
    assert_ne!(with(b"\xfc\xd1\x07\0\0\0\0\0\0"), seconds);
    assert_ne!(with(b""), seconds);
    let second_key = [&b"\xfd\x02\0\0\0"[..], &[0], b"\x01k", b"\x01v", &[0], b"\x01l", b"\x01v"];
    let both = keys(file("REDIS0011", &second_key).as_slice(), seed);
    assert_eq!(both.values().filter(|content| **content == with(b"").pop_first().unwrap().1).count(), 1);
}

#[test]
fn the_database_belongs_to_the_name() {
    let seed = Seed::random();
    let found = keys(file("REDIS0011", &[b"\0\x01k\x01v", b"\xfe\x03", b"\0\x01k\x01v"]).as_slice(), seed);
    let name = seed.text(b"k");
    assert!(found.keys().eq(BTreeMap::from([(seed.key(0, name), ()), (seed.key(3, name), ())]).keys()));
}

#[test]
fn what_is_not_a_key_is_passed_over() {
    let seed = Seed::random();
    let beside: [&[u8]; 10] = [
        b"\xfa\x01a\xc0\x05",                                            // a note
        b"\xfb\x05\x01",                                                 // how many keys there are
        b"\xf9\x07",                                                     // how often it is used
        b"\xf8\x41\x00",                                                 // since when it is not
        b"\xf5\x03lib",                                                  // a library of functions
        b"\xf4\x01\x02\x03",                                             // a slot
        b"\xf3\x01____\x05\x01x\x00",                                    // what modules have attached: a string
        b"\xf7\x01\x02\x01\x01\x40\x80\x03____\x04________\x05\x02zz\0", // what a module has written
        b"\xfe\x00",
        b"\0\x01k\x01v",
    ];
    assert_eq!(keys(file("REDIS0013", &beside).as_slice(), seed).len(), 1);
    let import = b"\xf3\x03job\x02\x01\x02\x03\x04\0\x01k\x01v";
    assert_eq!(keys(file("VALKEY080", &[import]).as_slice(), seed).len(), 1);
}

#[test]
fn a_module_s_value_is_passed_over_and_named() {
    let name = b"MBbloom--".iter().fold(0, |id: u64, letter| {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        id << 6 | letters.iter().position(|known| known == letter).unwrap() as u64
    });
    let value = [&[0x81][..], &(name << 10 | 4).to_be_bytes(), b"\x02\x07\x05\x02zz\0"].concat();
    assert_eq!(content(Seed::random(), 7, &value), Content::Module("MBbloom--".into()));
}

#[test]
fn large_strings_are_digested_in_pieces_and_compressed_ones_too() {
    let seed = Seed::random();
    let raw = vec![b'a'; 1_000_003];
    // One letter, then references to the one before: 3787 of 264 letters, one of 234.
    let mut packed = vec![0, b'a'];
    (0..3787).for_each(|_| packed.extend([0xe0, 0xff, 0]));
    packed.extend([0xe0, 234 - 9, 0]);
    let compressed = [
        &[0xc3, 0x80][..],
        &u32::try_from(packed.len()).unwrap().to_be_bytes(),
        &[0x80],
        &1_000_003_u32.to_be_bytes(),
        &packed,
    ];
    let whole = content(seed, 0, &string(&raw));
    assert_eq!(content(seed, 0, &compressed.concat()), whole);
    assert_eq!(whole, Content::Digest(seed.mix([digest::Type::String as u64, u64::MAX, seed.text(&raw)])));
}

#[test]
fn what_is_packed_into_too_much_is_said_to_be() {
    let length = MOST_PACKED as u64 + 1;
    let head = [&b"REDIS0011\x10\x01k\x81"[..], &length.to_be_bytes()].concat();
    let bytes = head.chain(std::io::repeat(7).take(length)).chain(&b"\0\x01l\x01v\xff\0\0\0\0\0\0\0\0"[..]);
    let seed = Seed::random();
    let mut found = keys(bytes, seed);
    assert_eq!(found.remove(&seed.key(0, seed.text(b"k"))), Some(Content::TooLarge));
    assert_eq!(found.len(), 1);
}

#[test]
fn valkey_s_expiring_fields_are_those_of_redis() {
    let seed = Seed::random();
    let due = 4_102_444_800_000_u64;
    let of_valkey =
        [&[2][..], &string(b"a"), &string(b"1"), &due.to_le_bytes(), &string(b"b"), &string(b"2"), &[0xff; 8]];
    let of_redis = [&due.to_le_bytes()[..], &[2, 1], &string(b"a"), &string(b"1"), &[0], &string(b"b"), &string(b"2")];
    let hash = content_of("VALKEY080", seed, 22, &of_valkey.concat());
    assert_eq!(content_of("REDIS0012", seed, 24, &of_redis.concat()), hash);
    assert_ne!(content(seed, 4, &strings(2, &[b"a", b"1", b"b", b"2"])), hash);
}

#[test]
fn what_a_stream_s_newest_encodings_add_is_passed_over() {
    let seed = Seed::random();
    // No entries, the last id 5-1, and four counters; a group that has read up to 5-1 with one entry pending, and no consumer.
    let pending = [&[1][..], &5_u64.to_be_bytes(), &1_u64.to_be_bytes(), &[0; 8], &[1]].concat();
    let head = |pending: &[u8]| [&b"\0\0\x05\x01\0\0\0\0\0\x01\x01g\x05\x01\x01"[..], pending, &[0]].concat();
    let third = content(seed, 21, &head(&pending));
    let producers = b"\x40\x64\x40\x64\x01\x01p\x01\x01i\x05\x01\x01\0";
    assert_eq!(content(seed, 26, &[&head(&pending)[..], producers].concat()), third);
    let unowned = [&[1][..], &5_u64.to_be_bytes(), &1_u64.to_be_bytes()].concat();
    assert_eq!(content(seed, 27, &[&head(&pending)[..], &unowned, producers].concat()), third);
    assert_ne!(content(seed, 21, &head(&[0])), third);
}
