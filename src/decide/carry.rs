//! What of a live configuration a new instance starts with: the values of the running source, what the new program knows,
//! and the operator's wishes in; the text of a configuration file out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    server::{acl::Users, config::is_secret},
};

/// Parameters and their values.
pub type Values = BTreeMap<String, String>;

/// What the operator wishes: a directive with its value, or with several that make a line each.
pub type Wishes = BTreeMap<String, Vec<String>>;

/// A parameter of the source that its successor starts without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct Dropped {
    /// Its name.
    pub parameter: String,
    /// The source's value; that of a secret is masked.
    pub value: String,
    /// Why it is not carried.
    pub why: String,
}

/// Set by the launch itself, so that the two share no file and no address.
const OWN: [&str; 15] = [
    "port",
    "tls-port",
    "unixsocket",
    "dir",
    "dbfilename",
    "appendfilename",
    "appenddirname",
    "pidfile",
    "logfile",
    "cluster-config-file",
    "cluster-port",
    "aclfile",
    "daemonize",
    "supervised",
    "include",
];

/// Say whom a server follows.
const ROLE: [&str; 2] = ["replicaof", "slaveof"];

/// Directives that `CONFIG GET` does not show. Their lines are taken as they are.
const DIRECTIVES: [&str; 3] = ["loadmodule", "rename-command", "user"];

/// Parameters that are read as several words.
const SEVERAL: [&str; 4] = ["bind", "rdma-bind", "oom-score-adj-values", "latency-tracking-info-percentiles"];

/// What one line of these holds, in words: `CONFIG GET` shows all lines as one.
const GROUPS: [(&str, usize); 2] = [("save", 2), ("client-output-buffer-limit", 4)];

/// Parameters that have an older name, by what the name has in it.
const RENAMED: [(&str, &str); 4] =
    [("slave", "replica"), ("ziplist", "listpack"), ("lua-time-limit", "busy-reply-threshold"), ("primary", "master")];

/// The mark by which a configuration file is known as ours.
const MARK: &str = "# redis-baton launch ";

/// What there is to carry.
pub struct Carry<'a> {
    /// The source's values.
    pub source: &'a Values,
    /// What the new program knows, with its defaults.
    pub known: &'a Values,
    /// The operator's wishes.
    pub wishes: &'a Wishes,
    /// What keeps the new instance apart from the source.
    pub own: &'a [(&'static str, String)],
    /// The source's users, where they are to be in the file.
    pub users: &'a Users,
    /// The source's modules: path and arguments.
    pub modules: &'a [String],
    /// What the new instance was launched with, from [`digest`].
    pub digest: &'a str,
}

/// What the new instance starts with. It holds passwords.
pub struct Carried {
    /// The configuration file.
    pub text: String,
    /// The parameters whose value is the source's and not the new program's default.
    pub names: Vec<String>,
    /// What the source has and the new instance has not.
    pub dropped: Vec<Dropped>,
}

/// Refuses wishes that would undo what keeps the two apart, or that no later step works with.
pub fn check(wishes: &Wishes) -> Result<()> {
    for (name, values) in wishes {
        let refused = |problem: &str| Err(Error::input("parameters", format!("{name}: {problem}")));
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || "#\"'".contains(c)) {
            return refused("is no name of a parameter");
        }
        if values.iter().any(|value| value.contains(['\n', '\r', '\0'])) {
            return refused("a value is one line");
        }
        if OWN.contains(&name.as_str()) {
            return refused("is set by launch itself, so that the two servers share nothing");
        }
        if ROLE.contains(&name.as_str()) {
            return refused("is for the step replicate");
        }
        if name == "cluster-enabled" && values.iter().any(|value| value.eq_ignore_ascii_case("yes")) {
            return refused("nodes of a cluster can't be replaced in this way");
        }
        if values.len() != 1 && !DIRECTIVES.contains(&name.as_str()) && !GROUPS.iter().any(|(group, _)| group == name) {
            return refused("takes one value");
        }
    }
    Ok(())
}

/// Tells wishes for one program from others. Who can read it can read the file as well.
pub fn digest(program: &str, wishes: &Wishes) -> String {
    let mut hash = Sha256::new();
    for text in wishes.iter().flat_map(|(name, values)| std::iter::once(name).chain(values)) {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hash.update(program);
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The digest in a configuration file; none if the file is not ours. `CONFIG REWRITE` keeps it.
pub fn mark(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix(MARK)).map(str::trim)
}

/// The configuration of the new instance.
pub fn carry(given: &Carry<'_>) -> Result<Carried> {
    if let Some(unknown) = given.wishes.keys().find(|name| !knows(given, name)) {
        return Err(Error::input("parameters", format!("{unknown}: the new program does not know it")));
    }
    let mut text = format!(
        "# Made from the live configuration of the server that this one is to replace.\n{MARK}{}\n",
        given.digest
    );
    let mut write = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    for (name, value) in given.own.iter().filter(|(name, _)| given.known.contains_key(*name)) {
        lines(name, value).iter().for_each(|line| write(line));
    }
    let (mut names, mut dropped) = (Vec::new(), Vec::new());
    for (name, value) in given.source {
        if OWN.contains(&name.as_str()) || ROLE.contains(&name.as_str()) || wished(given, name) || is_alias(given, name)
        {
            continue;
        }
        if let Some(why) = obstacle(given, name, value) {
            let value = if is_secret(name) { "***".into() } else { value.clone() };
            dropped.push(Dropped { parameter: name.clone(), value, why: why.into() });
        } else if given.known.get(name) != Some(value) {
            names.push(name.clone());
            lines(name, value).iter().for_each(|line| write(line));
        } else if name == "save" {
            // Without the line some versions save by their own schedule, and others never.
            lines(name, value).iter().for_each(|line| write(line));
        }
    }
    for (name, values) in given.wishes {
        for value in values {
            if DIRECTIVES.contains(&name.as_str()) {
                write(&format!("{name} {value}"));
            } else {
                lines(name, value).iter().for_each(|line| write(line));
            }
        }
    }
    if !given.wishes.contains_key("loadmodule") {
        given.modules.iter().for_each(|module| write(&format!("loadmodule {module}")));
    }
    for (name, rules) in given.users {
        let rules: Vec<String> = rules.iter().map(|rule| quoted_rule(rule)).collect();
        write(&format!("user {} {}", quoted(name), rules.join(" ")));
    }
    Ok(Carried { text, names, dropped })
}

/// Users as an ACL file has them, which knows no quotes.
pub fn acl_file(users: &Users) -> String {
    users.iter().map(|(name, rules)| format!("user {name} {}\n", rules.join(" "))).collect()
}

fn knows(given: &Carry<'_>, name: &str) -> bool {
    given.known.contains_key(name) || DIRECTIVES.contains(&name)
}

/// Whether the operator wishes another value, by whatever name.
fn wished(given: &Carry<'_>, name: &str) -> bool {
    let names: BTreeSet<String> = given.wishes.keys().map(|wish| newest(wish)).collect();
    names.contains(&newest(name))
}

/// Whether the same parameter is carried by its newer name.
fn is_alias(given: &Carry<'_>, name: &str) -> bool {
    let newer = newest(name);
    newer != name && given.source.contains_key(&newer) && given.known.contains_key(&newer)
}

fn newest(name: &str) -> String {
    RENAMED.iter().fold(name.to_owned(), |name, (old, new)| name.replace(old, new))
}

fn obstacle(given: &Carry<'_>, name: &str, value: &str) -> Option<&'static str> {
    match name {
        _ if !given.known.contains_key(name) => Some("the new program does not know it"),
        _ if value.contains(char::REPLACEMENT_CHARACTER) => Some("its value is no text"),
        "replica-read-only" if value == "no" => Some("while it follows it may take no writes of its own"),
        "replica-announce-port" if value != "0" => Some("it is the source's own port"),
        // No address meant all of them before 6.2, and means none since.
        "bind" if value.is_empty() => Some("without an address the new program would listen nowhere"),
        _ => None,
    }
}

/// The lines of a parameter in a configuration file.
fn lines(name: &str, value: &str) -> Vec<String> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let line = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("{name} {}", words.join(" "))
    };
    if let Some((_, size)) = GROUPS.iter().find(|(group, _)| *group == name)
        && !words.is_empty()
    {
        return words.chunks(*size).map(line).collect();
    }
    if SEVERAL.contains(&name) && !words.is_empty() {
        return vec![line(&words)];
    }
    vec![line(&[value])]
}

/// A rule of a user. A hash needs no quotes: only a line that begins with `#` is a comment.
fn quoted_rule(rule: &str) -> String {
    rule.strip_prefix('#').map_or_else(|| quoted(rule), |_| rule.to_owned())
}

/// A word as configuration files have it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:*@%+=,^~&{}[]()!?<>|".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut text = String::from('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn carried(source: &[(&str, &str)], known: &[(&str, &str)], wishes: &[(&str, &str)]) -> Carried {
        let wishes = wishes.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        carry(&Carry {
            source: &values(source),
            known: &values(known),
            wishes: &wishes,
            own: &[("port", "7001".into()), ("appenddirname", "appendonlydir".into())],
            users: &Users::new(),
            modules: &["/m.so one".into()],
            digest: "d",
        })
        .unwrap()
    }

    fn has(carried: &Carried, line: &str) -> bool {
        carried.text.lines().any(|one| one == line)
    }

    #[test]
    fn what_differs_from_the_new_default_is_carried_and_what_is_unknown_dropped() {
        let source = [("hz", "50"), ("timeout", "0"), ("gopher-enabled", "no"), ("port", "6379"), ("replicaof", "h 1")];
        let known = [("hz", "10"), ("timeout", "0"), ("port", "0"), ("replicaof", "")];
        let found = carried(&source, &known, &[]);
        assert_eq!(found.names, ["hz"]);
        assert!(has(&found, "hz 50") && has(&found, "port 7001") && has(&found, "loadmodule /m.so one"));
        for absent in ["timeout", "6379", "replicaof", "appenddirname"] {
            assert!(!found.text.contains(absent), "{absent}");
        }
        let dropped: Vec<_> = found.dropped.iter().map(|one| one.parameter.as_str()).collect();
        assert_eq!(dropped, ["gopher-enabled"]);
    }

    #[test]
    fn a_wish_goes_before_the_sources_value_by_whatever_name() {
        let source = [("databases", "16"), ("slave-priority", "7"), ("replica-priority", "7")];
        let known = [("databases", "16"), ("slave-priority", "100"), ("replica-priority", "100")];
        let found = carried(&source, &known, &[("databases", "64"), ("slave-priority", "9")]);
        assert!(has(&found, "databases 64") && has(&found, "slave-priority 9"));
        assert!(found.names.is_empty() && !has(&found, "replica-priority 7"));
    }

    #[test]
    fn a_parameter_with_two_names_is_written_once() {
        let source = [("slave-priority", "7"), ("replica-priority", "7")];
        let known = [("slave-priority", "100"), ("replica-priority", "100")];
        assert_eq!(carried(&source, &known, &[]).names, ["replica-priority"]);
        // One that knows the older name alone gets that.
        assert_eq!(carried(&source, &known[..1], &[]).names, ["slave-priority"]);
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        let source = [
            ("save", "3600 1 300 100"),
            ("bind", "127.0.0.1 -::1"),
            ("requirepass", "a \"b\\"),
            ("masterauth", ""),
            ("proc-title-template", "{title} x"),
            ("client-output-buffer-limit", "normal 0 0 0 replica 1 2 3"),
        ];
        let known = source.map(|(name, _)| (name, "?"));
        let found = carried(&source, &known, &[]);
        for line in [
            "save 3600 1",
            "save 300 100",
            "bind 127.0.0.1 -::1",
            r#"requirepass "a \"b\\""#,
            "masterauth \"\"",
            "proc-title-template \"{title} x\"",
            "client-output-buffer-limit normal 0 0 0",
            "client-output-buffer-limit replica 1 2 3",
        ] {
            assert!(has(&found, line), "{line} in {}", found.text);
        }
    }

    #[test]
    fn never_saving_is_carried_though_it_is_what_the_probe_said() {
        assert!(has(&carried(&[("save", "")], &[("save", "")], &[]), "save \"\""));
    }

    #[test]
    fn what_would_make_it_unfit_is_dropped_and_a_secret_masked() {
        let source = [("replica-read-only", "no"), ("tls-key-file-pass", "hunter2"), ("bind", "")];
        let known = [("replica-read-only", "yes"), ("bind", "*")];
        let found = carried(&source, &known, &[]);
        assert_eq!(found.dropped.len(), 3);
        assert!(!format!("{:?}", found.dropped).contains("hunter2"));
    }

    #[test]
    fn wishes_that_would_join_the_two_or_lead_nowhere_are_refused() {
        let cluster = ("cluster-enabled", "Yes");
        for (name, value) in
            [("port", "1"), ("dir", "/"), ("replicaof", "h 1"), ("hz", "1\nport 5"), ("a b", "1"), cluster]
        {
            let wishes = [(name.to_owned(), vec![value.to_owned()])].into();
            assert!(check(&wishes).is_err(), "{name}");
        }
        assert!(check(&[("save".to_owned(), vec!["1 1".to_owned(), "2 2".to_owned()])].into()).is_ok());
    }

    #[test]
    fn a_file_of_ours_is_known_by_its_mark_and_other_wishes_by_another_one() {
        let wish = |value: &str| Wishes::from([("hz".to_owned(), vec![value.to_owned()])]);
        assert_ne!(digest("/p", &wish("1")), digest("/p", &wish("2")));
        assert_ne!(digest("/p", &wish("1")), digest("/q", &wish("1")));
        let found = carried(&[], &[], &[]);
        assert_eq!(mark(&found.text), Some("d"));
        assert_eq!(mark("port 6379\n"), None);
    }
}
