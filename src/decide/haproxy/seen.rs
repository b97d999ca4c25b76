//! What a HAProxy answers.

use std::{collections::BTreeMap, net::IpAddr};

/// The first version that survives it when a frontend gets its `maxconn` back while connections wait for that: the ones before
/// hang, and their watchdog kills them (HAProxy's issue 2726). Some branches were mended before, but not all of their versions.
const QUEUES_FROM: (u32, u32, u32) = (3, 0, 6);

/// One HAProxy as it is now.
#[derive(Debug, Default)]
pub struct Seen {
    /// Its version; empty where it was not asked for.
    pub version: String,
    /// The level of the socket: `admin`, `operator` or `user`; empty where it was not asked for.
    pub level: String,
    /// The servers of its backends.
    pub entries: Vec<Entry>,
    /// Its frontends.
    pub frontends: BTreeMap<String, Frontend>,
    /// What else it said: how a command went.
    pub said: Vec<String>,
}

/// One frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frontend {
    pub(super) maxconn: u64,
    /// Whether it listens.
    pub(super) open: bool,
}

/// One server of a backend.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) backend: String,
    pub(super) name: String,
    /// None for a unix socket.
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
    /// Whether its address is given by name in the file.
    pub(super) by_name: bool,
    pub(super) up: bool,
    pub(super) maint: bool,
    pub(super) checked: bool,
}

impl Seen {
    /// Reads what it answers to `show cli level`, `show version`, `show servers state` and `show stat`, in any order.
    pub fn parse(text: &str) -> Self {
        let mut seen = Seen::default();
        let mut head: Vec<&str> = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(names) = line.strip_prefix("# ") {
                head = names.split([' ', ',']).collect();
            } else if line.is_empty() {
                head.clear();
            } else if !head.is_empty() {
                let row: BTreeMap<_, _> = head.iter().copied().zip(line.split([' ', ','])).collect();
                seen.row(&row);
            } else if ["admin", "operator", "user"].contains(&line) {
                seen.level = line.to_owned();
            } else if line.starts_with(|c: char| c.is_ascii_digit()) && line.contains('.') {
                seen.version = line.to_owned();
            } else if line != "1" {
                // A table of servers is preceded by the version of its form.
                seen.said.push(line.to_owned());
            }
        }
        seen
    }

    fn row(&mut self, row: &BTreeMap<&str, &str>) {
        let text = |name: &str| row.get(name).copied().unwrap_or_default();
        let number = |name: &str| text(name).parse::<u64>().unwrap_or_default();
        if text("svname") == "FRONTEND" {
            let frontend = Frontend { maxconn: number("slim"), open: text("status") == "OPEN" };
            self.frontends.insert(text("pxname").to_owned(), frontend);
        } else if row.contains_key("srv_name") {
            // Forced, inherited, or without an address from DNS.
            let maint = number("srv_admin_state") & 0x23 != 0;
            self.entries.push(Entry {
                backend: text("be_name").to_owned(),
                name: text("srv_name").to_owned(),
                ip: text("srv_addr").parse().ok(),
                port: text("srv_port").parse().unwrap_or_default(),
                by_name: !["", "-"].contains(&text("srv_fqdn")),
                up: number("srv_op_state") == 2 && !maint,
                maint,
                checked: number("srv_check_state") & 0x4 != 0,
            });
        }
    }

    /// The names of frontends, backends and `backend/server`.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let of_entry = |entry: &Entry| [entry.backend.clone(), entry.title()];
        self.frontends.keys().cloned().chain(self.entries.iter().flat_map(of_entry))
    }

    /// Whether it can let clients wait.
    pub(super) fn queues(&self) -> bool {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        (next(), next(), next()) >= QUEUES_FROM
    }

    pub(super) fn entry(&self, backend: &str, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.backend == backend && entry.name == name)
    }
}

impl Entry {
    pub(super) fn title(&self) -> String {
        format!("{}/{}", self.backend, self.name)
    }
}
