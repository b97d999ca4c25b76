//! Parameters as a server understands them: which texts mean the same, which names are one, and what goes first.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// How the text of a parameter is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As it stands.
    Literal,
    /// One of a fixed set of words, in any case.
    Word,
    /// Several of them, in any order.
    WordSet,
    /// Words or numbers in order.
    List,
    /// A folder.
    Folder,
    /// Digits of a file mode.
    Mode,
    /// Letters that stand for classes of keyspace events.
    Events,
    /// Three limits for each class of clients; those of a class that is left out stay.
    Limits,
    /// Pairs of seconds and changes.
    SavePoints,
    /// Told by what the server shows: a number, with or without a unit, or `yes` or `no`; anything else is literal.
    Shown,
}

const LITERALS: [&str; 23] = [
    "aclfile",
    "appenddirname",
    "appendfilename",
    "availability-zone",
    "bind-source-addr",
    "dbfilename",
    "hash-seed",
    "ignore-warnings",
    "locale-collate",
    "logfile",
    "masterauth",
    "masteruser",
    "pidfile",
    "primaryauth",
    "primaryuser",
    "proc-title-template",
    "requirepass",
    "syslog-ident",
    "tls-ca-cert-dir",
    "tls-ciphers",
    "tls-ciphersuites",
    "tls-protocols",
    "unixsocket",
];
/// Names of what is literal as well, by a part of them.
const LITERAL_PARTS: [&str; 9] = [
    "-file",
    "cpulist",
    "announce-ip",
    "announce-hostname",
    "announce-human-nodename",
    "announce-client-ipv4",
    "announce-client-ipv6",
    "socketgroup",
    "-pass",
];
const WORDS: [&str; 20] = [
    "acl-pubsub-default",
    "appendfsync",
    "cluster-config-save-behavior",
    "cluster-preferred-endpoint-type",
    "enable-debug-command",
    "enable-module-command",
    "enable-protected-configs",
    "log-format",
    "log-timestamp-format",
    "loglevel",
    "maxmemory-policy",
    "oom-score-adj",
    "propagation-error-behavior",
    "rdb-version-check",
    "repl-diskless-load",
    "sanitize-dump-payload",
    "supervised",
    "syslog-facility",
    "tls-auth-clients",
    "tls-auth-clients-user",
];

impl Kind {
    fn of(parameter: &str) -> Self {
        match parameter {
            "dir" => Kind::Folder,
            "unixsocketperm" => Kind::Mode,
            "notify-keyspace-events" => Kind::Events,
            "client-output-buffer-limit" => Kind::Limits,
            "save" => Kind::SavePoints,
            "shutdown-on-sigint" | "shutdown-on-sigterm" => Kind::WordSet,
            "bind" | "rdma-bind" | "replicaof" | "slaveof" => Kind::List,
            "oom-score-adj-values" | "latency-tracking-info-percentiles" => Kind::List,
            _ if LITERALS.contains(&parameter) => Kind::Literal,
            _ if LITERAL_PARTS.iter().any(|part| parameter.contains(part)) => Kind::Literal,
            _ if WORDS.contains(&parameter) => Kind::Word,
            _ => Kind::Shown,
        }
    }
}

/// What a text means, so that two texts can be compared.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Text(String),
    Number(i128),
    List(Vec<String>),
    Set(BTreeSet<String>),
    Limits(BTreeMap<String, [i128; 3]>),
}

fn meaning(kind: Kind, parameter: &str, text: &str, module_events: bool) -> Meaning {
    let literal = || Meaning::Text(text.to_owned());
    let words = || text.split_whitespace();
    match kind {
        Kind::Literal | Kind::Folder => literal(),
        Kind::Word => match text.to_lowercase().as_str() {
            "relative" if parameter == "oom-score-adj" => Meaning::Text("yes".into()),
            word => Meaning::Text(word.to_owned()),
        },
        Kind::WordSet => Meaning::Set(words().map(str::to_lowercase).collect()),
        Kind::List => Meaning::List(words().map(plain_number).collect()),
        Kind::Mode => i128::from_str_radix(text, 8).map_or_else(|_| literal(), Meaning::Number),
        Kind::Events => Meaning::Set(events(text, module_events)),
        Kind::Limits => limits(text).map_or_else(literal, Meaning::Limits),
        Kind::SavePoints => save_points(text).map_or_else(literal, Meaning::Set),
        Kind::Shown => match number(text) {
            // These two are moved into their range without a word.
            Some(number) if parameter == "hz" => Meaning::Number(number.clamp(1, 500)),
            Some(number) if parameter == "repl-backlog-size" => Meaning::Number(number.max(16384)),
            Some(number) => Meaning::Number(number),
            None if is_flag(text) => Meaning::Text(text.to_lowercase()),
            None => literal(),
        },
    }
}

/// Whether both texts mean the same to the server; of client classes, those that are wished. `module_events`: whether `A`
/// stands for the events of modules too.
pub fn same(parameter: &str, present: &str, wanted: &str, module_events: bool) -> bool {
    if present == wanted {
        return true;
    }
    let kind = Kind::of(parameter);
    if kind == Kind::Folder {
        return !wanted.is_empty() && Path::new(present).join(wanted) == Path::new(present);
    }
    let wanted = to_send(parameter, present, wanted);
    let read = |text: &str| meaning(kind, parameter, text, module_events);
    match (read(present), read(&wanted)) {
        (Meaning::Limits(present), Meaning::Limits(wanted)) => {
            wanted.iter().all(|(class, limits)| present.get(class) == Some(limits))
        }
        (present, wanted) => present == wanted,
    }
}

/// What was asked for, in a form that the server takes: it knows `yes` but not `true`, and one blank but not two.
pub fn to_send(parameter: &str, present: &str, wanted: &str) -> String {
    let flag = |number| match wanted.to_lowercase().as_str() {
        "true" => "yes".to_owned(),
        "false" => "no".to_owned(),
        "1" if number => "yes".to_owned(),
        "0" if number => "no".to_owned(),
        _ => wanted.to_owned(),
    };
    let words = || wanted.split_whitespace().filter(|word| *word != "\"\"").collect::<Vec<_>>().join(" ");
    match Kind::of(parameter) {
        Kind::Word => flag(is_flag(present)),
        Kind::Shown if is_flag(present) => flag(true),
        Kind::List | Kind::Limits | Kind::SavePoints | Kind::WordSet => words(),
        _ => wanted.to_owned(),
    }
}

/// How the server will show it, as far as that can be told before.
pub fn to_show(parameter: &str, present: &str, wanted: &str) -> String {
    let sent = to_send(parameter, present, wanted);
    let kind = Kind::of(parameter);
    match (kind, meaning(kind, parameter, &sent, true)) {
        (Kind::Shown, Meaning::Number(number)) if self::number(present).is_some() => number.to_string(),
        (Kind::Word, Meaning::Text(word)) => word,
        (Kind::Limits, Meaning::Limits(wanted)) => match limits(present) {
            Some(mut all) => {
                let order = ["normal", "slave", "pubsub"];
                all.extend(wanted);
                let shown = order.iter().filter_map(|class| Some((class, all.get(*class)?)));
                shown
                    .map(|(class, [hard, soft, time])| format!("{class} {hard} {soft} {time}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            None => sent,
        },
        _ => sent,
    }
}

fn is_flag(text: &str) -> bool {
    text.eq_ignore_ascii_case("yes") || text.eq_ignore_ascii_case("no")
}

/// A whole number, or one with a unit: `1k` is 1000, `1kb` is 1024.
fn number(text: &str) -> Option<i128> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: i128 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    // No server has more digits than fit into 64 bits.
    Some(i128::from(digits.parse::<i64>().ok()?) * factor)
}

/// `50.0` as the server shows it: `50`. Anything but a number stays what it is.
fn plain_number(word: &str) -> String {
    let number = word.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-').then(|| word.parse::<f64>());
    match number {
        Some(Ok(number)) => number.to_string(),
        _ => word.to_owned(),
    }
}

/// The letters, with `A` spelled out.
fn events(text: &str, module_events: bool) -> BTreeSet<String> {
    let all = if module_events { "g$lshzxetd" } else { "g$lshzxet" };
    let letters = text.chars().flat_map(|letter| match letter {
        'A' => all.chars().collect::<Vec<_>>(),
        letter => vec![letter],
    });
    letters.map(String::from).collect()
}

fn limits(text: &str) -> Option<BTreeMap<String, [i128; 3]>> {
    let words: Vec<_> = text.split_whitespace().collect();
    let mut classes = BTreeMap::new();
    for limits in words.chunks(4) {
        let &[class, hard, soft, time] = limits else { return None };
        let class = match class.to_lowercase().as_str() {
            "replica" => "slave".to_owned(),
            class => class.to_owned(),
        };
        classes.insert(class, [number(hard)?, number(soft)?, number(time)?]);
    }
    Some(classes)
}

fn save_points(text: &str) -> Option<BTreeSet<String>> {
    let words: Vec<_> = text.split_whitespace().filter(|word| *word != "\"\"").collect();
    let numbers: Vec<i64> = words.iter().map(|word| word.parse().ok()).collect::<Option<_>>()?;
    numbers.chunks(2).map(|point| (point.len() == 2).then(|| format!("{} {}", point[0], point[1]))).collect()
}

/// The name that all of a parameter's names have in common: of several the newest.
pub fn newest_name(name: &str) -> String {
    match name {
        "masterauth" => "primaryauth".into(),
        "masteruser" => "primaryuser".into(),
        "lua-time-limit" => "busy-reply-threshold".into(),
        "slowlog-log-slower-than" => "commandlog-execution-slower-than".into(),
        "slowlog-max-len" => "commandlog-slow-execution-max-len".into(),
        _ => name.replace("slave", "replica").replace("ziplist", "listpack").replace("_cpulist", "-cpulist"),
    }
}

/// The names under which a server may know the parameter, the one given first.
pub fn names(name: &str) -> Vec<String> {
    let oldest = match name {
        "primaryauth" => "masterauth".into(),
        "primaryuser" => "masteruser".into(),
        "busy-reply-threshold" => "lua-time-limit".into(),
        "commandlog-execution-slower-than" => "slowlog-log-slower-than".into(),
        "commandlog-slow-execution-max-len" => "slowlog-max-len".into(),
        _ => name.replace("replica", "slave").replace("listpack", "ziplist").replace("-cpulist", "_cpulist"),
    };
    let mut names = vec![name.to_owned()];
    for other in [newest_name(name), oldest] {
        if !names.contains(&other) {
            names.push(other);
        }
    }
    names
}

/// Its place where parameters can only be set one by one. Whatever guards the data goes before what could cost some: a
/// limit is raised before the policy, and lowered after it. What starts something comes after what it works with, and a
/// password last, since it is what could lock others out.
pub fn place(parameter: &str, present: &str, wanted: &str) -> u8 {
    match parameter {
        "maxmemory" => {
            let limit = |text| number(text).filter(|limit| *limit != 0).unwrap_or(i128::MAX);
            if limit(wanted) > limit(present) { 0 } else { 2 }
        }
        "appendonly" | "activedefrag" | "min-replicas-to-write" | "min-slaves-to-write" => 2,
        "tls-replication" | "tls-cluster" => 2,
        "requirepass" => 3,
        _ => 1,
    }
}

/// Whether a server before 7.0 takes the parameter from its file alone. Later ones can be asked without a risk.
pub fn fixed_before_7(parameter: &str, before_6_2: bool) -> bool {
    const FIXED: [&str; 26] = [
        "aclfile",
        "always-show-logo",
        "aof_rewrite_cpulist",
        "appendfilename",
        "bgsave_cpulist",
        "bio_cpulist",
        "cluster-enabled",
        "daemonize",
        "databases",
        "disable-thp",
        "io-threads",
        "io-threads-do-reads",
        "logfile",
        "pidfile",
        "rdbchecksum",
        "server_cpulist",
        "set-proc-title",
        "slaveof",
        "supervised",
        "syslog-enabled",
        "syslog-facility",
        "syslog-ident",
        "tcp-backlog",
        "unixsocket",
        "unixsocketperm",
        "replicaof",
    ];
    FIXED.contains(&parameter) || (before_6_2 && ["bind", "port", "tls-port"].contains(&parameter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn equal(parameter: &str, present: &str, wanted: &str) -> bool {
        same(parameter, present, wanted, true)
    }

    #[test]
    fn other_words_for_the_same() {
        for (parameter, present, wanted) in [
            ("activerehashing", "yes", "true"),
            ("activerehashing", "no", "0"),
            ("activerehashing", "yes", "YES"),
            ("appendfsync", "no", "False"),
            ("oom-score-adj", "yes", "relative"),
            ("maxmemory", "1000", "1k"),
            ("maxmemory", "1024", "1KB"),
            ("maxmemory", "2147483648", "2gb"),
            ("maxmemory-clients", "5%", "5%"),
            ("hz", "500", "1000"),
            ("repl-backlog-size", "16384", "1"),
            ("maxmemory-policy", "allkeys-lru", "AllKeys-LRU"),
            ("notify-keyspace-events", "AKE", "KEA"),
            ("notify-keyspace-events", "AKE", "KEg$lshzxetd"),
            ("save", "3600 1 300 100", "3600 1  300 100"),
            ("save", "3600 1 300 100", "300 100 3600 1"),
            ("save", "", "\"\""),
            ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60", "replica 256mb 64mb 60"),
            ("oom-score-adj-values", "0 200 800", "0  200 800"),
            ("latency-tracking-info-percentiles", "50 99.9", "50.0 99.90"),
            ("shutdown-on-sigterm", "nosave force", "FORCE nosave"),
            ("bind", "127.0.0.1 ::1", "127.0.0.1   ::1"),
            ("unixsocketperm", "700", "0700"),
            ("dir", "/var/lib/redis", "/var//lib/redis/"),
            ("dir", "/var/lib/redis", "./"),
        ] {
            assert!(equal(parameter, present, wanted), "{parameter}: {present} and {wanted}");
        }
    }

    #[test]
    fn words_for_something_else() {
        for (parameter, present, wanted) in [
            ("activerehashing", "yes", "0"),
            ("maxmemory", "1024", "1k"),
            ("maxmemory", "0", "5%"),
            ("requirepass", "yes", "true"),
            ("requirepass", "1024", "1kb"),
            ("masterauth", "Secret", "secret"),
            ("logfile", "/var/log/Redis", "/var/log/redis"),
            ("notify-keyspace-events", "AKE", "KE"),
            ("notify-keyspace-events", "AKE", "AKEn"),
            ("save", "3600 1", ""),
            ("client-output-buffer-limit", "normal 0 0 0 slave 1 1 1", "replica 1 1 2"),
            ("client-output-buffer-limit", "normal 0 0 0", "normal 0 0"),
            ("bind", "127.0.0.1 ::1", "::1 127.0.0.1"),
            ("unixsocketperm", "700", "770"),
            ("dir", "/var/lib/redis", "/var/lib/redis/.."),
            ("dir", "/var/lib/redis", ""),
            ("of-a-later-version", "Some", "some"),
        ] {
            assert!(!equal(parameter, present, wanted), "{parameter}: {present} and {wanted}");
        }
        assert!(!same("notify-keyspace-events", "AKE", "KEg$lshzxetd", false));
    }

    #[test]
    fn limits_are_raised_before_the_policy_and_lowered_after_it() {
        let policy = place("maxmemory-policy", "noeviction", "allkeys-lru");
        assert!(place("maxmemory", "100mb", "1gb") < policy);
        assert!(place("maxmemory", "1gb", "0") < policy);
        assert!(place("maxmemory", "0", "1gb") > policy);
    }

    #[test]
    fn names_of_one_parameter() {
        assert_eq!(names("replica-priority"), ["replica-priority", "slave-priority"]);
        assert_eq!(names("masterauth"), ["masterauth", "primaryauth"]);
        assert_eq!(names("timeout"), ["timeout"]);
        for name in ["slaveof", "hash-max-ziplist-value", "min-slaves-max-lag", "bio_cpulist", "primaryuser"] {
            let names = names(name);
            assert_eq!(names.len(), 2, "{name}");
            assert_eq!(newest_name(&names[0]), newest_name(&names[1]), "{name}");
        }
    }

    #[test]
    fn a_prediction_reads_as_the_server_will_show_it() {
        assert_eq!(to_show("maxmemory", "0", "1kb"), "1024");
        assert_eq!(to_show("loglevel", "notice", "WARNING"), "warning");
        let limits = "normal 0 0 0 slave 256 64 60 pubsub 32 8 60";
        let wanted = to_show("client-output-buffer-limit", limits, "replica 1kb 0 0");
        assert_eq!(wanted, "normal 0 0 0 slave 1024 0 0 pubsub 32 8 60");
    }

    const SEEN: [&str; 12] = [
        "maxmemory",
        "requirepass",
        "save",
        "dir",
        "notify-keyspace-events",
        "client-output-buffer-limit",
        "unixsocketperm",
        "bind",
        "oom-score-adj",
        "shutdown-on-sigint",
        "latency-tracking-info-percentiles",
        "of-a-later-version",
    ];

    proptest! {
        #[test]
        fn what_is_shown_is_the_same_as_itself(parameter in prop::sample::select(SEEN.to_vec()), text in ".{0,20}") {
            prop_assert!(equal(parameter, &text, &text));
        }

        #[test]
        fn no_text_is_too_odd(parameter in prop::sample::select(SEEN.to_vec()), a in ".{0,20}", b in "[-0-9a-z% ]{0,20}") {
            let (there, back) = (equal(parameter, &a, &b), equal(parameter, &b, &a));
            // Only these are about what is wished of what there is.
            if !["client-output-buffer-limit", "dir"].contains(&parameter) && !is_flag(&a) && !is_flag(&b) {
                prop_assert_eq!(there, back);
            }
            to_show(parameter, &a, &b);
        }

        #[test]
        fn a_size_is_the_same_with_and_without_its_unit(n in 0_i64..1 << 33, unit in 0_usize..7) {
            let (unit, factor) = [("", 1), ("b", 1), ("k", 1000), ("kb", 1 << 10), ("M", 1_000_000), ("MB", 1 << 20),
                ("gb", 1_i128 << 30)][unit];
            let bytes = i128::from(n) * factor;
            let shown = bytes.to_string();
            prop_assert_eq!(number(&format!("{n}{unit}")), Some(bytes));
            if bytes <= i128::from(i64::MAX) {
                let (wanted, other) = (format!("{n}{unit}"), format!("{}{unit}", n + 1));
                prop_assert!(equal("maxmemory", &shown, &wanted));
                prop_assert!(!equal("maxmemory", &shown, &other));
            }
        }

        #[test]
        fn what_is_sent_means_what_was_asked(parameter in prop::sample::select(SEEN.to_vec()), a in "(yes|no|[0-9 ]{1,9})", b in "[0-9a-z ]{0,12}") {
            let sent = to_send(parameter, &a, &b);
            prop_assert_eq!(equal(parameter, &a, &sent), equal(parameter, &a, &b));
            prop_assert_eq!(to_send(parameter, &a, &sent), sent);
        }
    }
}
