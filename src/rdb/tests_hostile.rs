//! Bytes that are not what they should be: an error that says where, and nothing else.

use proptest::prelude::*;

use super::{
    tests::{FILES, file, string},
    *,
};

fn error(bytes: &[u8]) -> Unreadable {
    let read = read(bytes, Seed::random(), |_, _| {});
    read.map(drop).unwrap_err()
}

#[test]
fn every_file_that_is_cut_short_says_where() {
    for (name, bytes) in FILES {
        for end in 0..bytes.len() {
            let error = error(&bytes[..end]);
            assert!(matches!(error.problem, Problem::Short), "{name} cut at {end}: {error}");
            assert!(error.offset <= end as u64, "{name} cut at {end}: {error}");
        }
    }
}

#[test]
fn a_byte_that_was_changed_is_noticed() {
    for (name, bytes) in FILES {
        for place in 0..bytes.len() - 8 {
            let mut changed = bytes.to_vec();
            changed[place] ^= 1;
            let error = error(&changed);
            assert!(error.offset <= bytes.len() as u64, "{name} changed at {place}: {error}");
        }
    }
}

#[test]
fn a_length_is_only_a_claim() {
    let endless = u64::MAX.to_be_bytes();
    let claims: [(&str, Vec<u8>); 6] = [
        ("a string", [&[0, 1, b'k', 0x81][..], &endless].concat()),
        ("a list", [&[1, 1, b'k', 0x81][..], &endless].concat()),
        ("something packed", [&[16, 1, b'k', 0x81][..], &(MOST_PACKED as u64).to_be_bytes()].concat()),
        ("compressed text", [&[0, 1, b'k', 0xc3, 0x81][..], &endless, &[0x81], &endless].concat()),
        ("a name", [&[0, 0x81][..], &endless].concat()),
        ("a stream's groups", [&[15, 1, b'k', 0, 0, 0, 0, 0x81][..], &endless].concat()),
    ];
    for (what, claim) in claims {
        let error = error(&[b"REDIS0011", &claim[..]].concat());
        assert!(matches!(error.problem, Problem::Short), "{what}: {error}");
    }
}

#[test]
fn compressed_text_that_lies_is_refused() {
    let lies: [&[u8]; 4] = [
        b"\xc3\x03\x14\x20\x00\x00", // refers to before its beginning
        b"\xc3\x02\x05\x00a",        // says five, has one
        b"\xc3\x05\x01\x03abcd",     // says one, has four
        b"\xc3\x01\x04\x03abcd",     // its packed length ends within a piece
    ];
    for lie in lies {
        let error = error(&file("REDIS0011", &[b"\0\x01k", lie]));
        assert!(matches!(error.problem, Problem::Corrupt(_)), "{lie:?}: {error}");
    }
}

#[test]
fn packed_values_that_lie_are_refused() {
    let lies: [(u8, &[u8]); 7] = [
        (16, b"\x07\0\0\0\x01\0\xff\xff"),           // another length than it says
        (16, b"\x0a\0\0\0\x01\0\x8a\x01\x02\xff"),   // an element beyond the end
        (16, b"\x09\0\0\0\x01\0\x01\x01\xff"),       // a field without a value
        (20, b"\x08\0\0\0\x01\0\x01\x01"),           // no end
        (13, b"\x0d\0\0\0\0\0\0\0\x01\0\0\xbf\xff"), // an element beyond the end
        (11, b"\x03\0\0\0\x01\0\0\0\x01\x02\x03"),   // numbers of three bytes
        (9, b"\x01\x05a\xff"),                       // a field beyond the end
    ];
    for (kind, lie) in lies {
        let error = error(&file("REDIS0011", &[&[kind], b"\x01k", &string(lie)]));
        assert!(matches!(error.problem, Problem::Corrupt(_)), "{lie:?}: {error}");
    }
}

#[test]
fn what_is_not_known_is_never_passed_over() {
    for kind in [6, 8, 22, 23, 28, 33, 100, 242, 246] {
        let error = error(&file("REDIS0014", &[&[kind], b"\x01k", b"\x01v"]));
        assert!(matches!(error.problem, Problem::Unknown(_)), "{kind}: {error}");
    }
}

#[test]
fn other_bytes_are_no_rdb() {
    for bytes in [&b"HTTP/1.1 200 OK\r\n"[..], b"REDISabcd", b"VALKEY-1x"] {
        assert!(matches!(error(bytes).problem, Problem::Corrupt(_)));
    }
}

proptest! {
    /// Whatever is done to a real file: no panic, no endless loop, and an offset within it.
    #[test]
    fn a_mangled_file_is_read_or_refused(
        which in 0..FILES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut bytes = FILES[which].1.to_vec();
        for (place, byte, how) in changes {
            let place = place.index(bytes.len());
            match how {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => drop(bytes.remove(place)),
            }
        }
        let length = bytes.len() as u64;
        match read(bytes.as_slice(), Seed::random(), |_, _| {}) {
            Ok(tail) => prop_assert!(tail.offset() <= length),
            Err(error) => prop_assert!(error.offset <= length),
        }
    }

    /// Bytes without any sense after a beginning that has some.
    #[test]
    fn noise_is_refused(kind in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [b"REDIS0012", &[kind][..], &noise].concat();
        let _ = read(bytes.as_slice(), Seed::random(), |_, _| {});
    }
}
