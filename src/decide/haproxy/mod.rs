//! What a HAProxy says of itself, what of it leads to the two servers, and which commands bring it to where a handover
//! wants it. Its answers in, commands out.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

pub use self::seen::{Entry, Frontend, Seen};

mod seen;

/// What of one HAProxy leads to the two servers of a handover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Front {
    /// Its socket.
    pub socket: String,
    /// The frontends that clients come through, with how many connections each may have.
    pub frontends: BTreeMap<String, u64>,
    /// Whether clients can be made to wait there. If not, they are refused as long.
    pub queues: bool,
    /// The backends that lead to the demoted server.
    pub backends: Vec<Backend>,
}

/// One backend that leads to the demoted server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// How it is made to lead to the promoted one.
    pub lead: Lead,
}

/// How a backend is made to lead to the promoted server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lead {
    /// Each of the two has an entry: the one is put into maintenance, the other is taken out of it.
    Swap {
        /// The entry of the demoted one.
        demoted: String,
        /// The entry of the promoted one.
        promoted: String,
        /// Whether clients could be sent to the promoted one before.
        up: bool,
    },
    /// There is one entry, and its address is changed.
    Move {
        /// The entry.
        entry: String,
        /// The address of the demoted one.
        demoted: (IpAddr, u16),
        /// The address of the promoted one.
        promoted: (IpAddr, u16),
    },
}

/// One of the two servers, as it is looked for.
pub struct Sought<'a> {
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// `port`, 0 for none.
    pub plain: u16,
    /// `tls-port`, 0 for none.
    pub tls: u16,
    /// Its entries as `backend/server`, where the caller named them.
    pub named: &'a [String],
}

/// Something that stands against it.
#[derive(Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether it only has to be known.
    pub warning: bool,
    /// What was found.
    pub found: String,
    /// What to do.
    pub remedy: &'static str,
}

/// Where a handover wants a HAProxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Nobody new is let in, and nobody is sent to either server.
    Held,
    /// Clients are sent to the promoted one.
    Led,
    /// Clients are sent to the demoted one, as before.
    Home,
}

impl Sought<'_> {
    fn is(&self, entry: &Entry) -> bool {
        if !self.named.is_empty() {
            return self.named.contains(&entry.title());
        }
        let port = entry.port != 0 && [self.plain, self.tls].contains(&entry.port);
        port && entry.ip.is_some_and(|ip| self.ips.contains(&ip))
    }
}

/// Finds what leads to the two, and what stands against leading clients from the one to the other. `before` is what was
/// found for the handover before this one.
pub fn survey(
    socket: &str,
    seen: &Seen,
    [demoted, promoted]: [&Sought<'_>; 2],
    [frontends, backends]: [&[String]; 2],
    before: Option<&Front>,
) -> (Front, Vec<Trouble>) {
    let queues = seen.queues();
    let mut front = Front { socket: socket.to_owned(), frontends: BTreeMap::new(), queues, backends: Vec::new() };
    let mut troubles = Vec::new();
    let mut trouble = |found: String, remedy| troubles.push(Trouble { warning: false, found, remedy });
    if seen.level != "admin" {
        trouble("its socket may not change anything".into(), "give the socket `level admin`");
    }
    let wanted = |backend: &String| backends.is_empty() || backends.contains(backend);
    let mut renamed = Vec::new();
    for entry in seen.entries.iter().filter(|entry| wanted(&entry.backend) && demoted.is(entry)) {
        if !entry.up {
            let what = format!("its server {} is down or in maintenance", entry.title());
            trouble(what, "see that clients reach the server through it first");
        }
        let other = seen.entries.iter().find(|e| e.backend == entry.backend && e.name != entry.name && promoted.is(e));
        let lead = match other {
            Some(other) => Lead::Swap { demoted: entry.name.clone(), promoted: other.name.clone(), up: other.up },
            None => {
                let before = before.and_then(|front| front.backends.iter().find(|b| b.name == entry.backend));
                let Some(lead) = moved(entry, promoted, before) else {
                    let what = format!("its server {} can't be given the address of the other one", entry.title());
                    trouble(what, "give the backend an entry of its own for that, with `disabled`");
                    continue;
                };
                renamed.extend(entry.by_name.then(|| entry.title()));
                lead
            }
        };
        let listens = seen.frontends.contains_key(&entry.backend);
        let through = frontends.iter().chain(listens.then_some(&entry.backend));
        let through: Vec<_> = through.filter_map(|name| seen.frontends.get_key_value(name)).collect();
        if through.is_empty() {
            let what = format!("which frontends lead to its backend {} can't be told", entry.backend);
            trouble(what, "name them in `frontends`");
        }
        for (name, Frontend { maxconn, open }) in through {
            if !open || *maxconn == 0 {
                trouble(format!("its frontend {name} lets nobody in"), "enable it, and give it its maxconn");
            }
            front.frontends.insert(name.clone(), *maxconn);
        }
        front.backends.push(Backend { name: entry.backend.clone(), lead });
    }
    if front.backends.is_empty() {
        trouble(
            "none of its servers is the one that clients are to be led away from".into(),
            "name it as backend/server",
        );
    }
    if !queues {
        troubles.push(Trouble {
            warning: true,
            found: format!("{} hangs when clients that were made to wait are let in (its issue 2726)", seen.version),
            remedy: "clients are refused for some milliseconds instead; HAProxy 3.0.6 lets them wait",
        });
    }
    troubles.extend(renamed.into_iter().map(|name| Trouble {
        warning: true,
        found: format!("its server {name} has a name for an address"),
        remedy: "see that it does not resolve the name again (`resolvers`): that would lead clients back",
    }));
    (front, troubles)
}

/// How the only entry is moved; none if one of the addresses is none that can be set.
fn moved(entry: &Entry, promoted: &Sought<'_>, before: Option<&Backend>) -> Option<Lead> {
    let here = (entry.ip?, entry.port);
    let name = entry.name.clone();
    // The way back: to the address that it had.
    if let Some(Backend { lead: Lead::Move { entry, demoted, promoted }, .. }) = before
        && *entry == name
    {
        let there = if here == *promoted { demoted } else { promoted };
        return Some(Lead::Move { entry: name, demoted: here, promoted: *there });
    }
    let same_family = promoted.ips.iter().find(|ip| ip.is_ipv4() == here.0.is_ipv4());
    let ip = same_family.or(promoted.ips.first())?;
    let port = if promoted.plain == 0 { promoted.tls } else { promoted.plain };
    (port != 0).then_some(Lead::Move { entry: name, demoted: here, promoted: (*ip, port) })
}

/// The commands that bring it nearer to where it is wanted; none if it is there. Some take effect later than they are
/// answered: what depends on those comes when they have.
pub fn steps(front: &Front, seen: &Seen, wanted: Wanted) -> Vec<String> {
    let mut steps = Vec::new();
    let frontends = front.frontends.iter().filter_map(|(name, maxconn)| {
        let seen = seen.frontends.get(name);
        let lets_in = seen.is_none_or(|frontend| frontend.open && frontend.maxconn > 0);
        match (front.queues, wanted == Wanted::Held) {
            (_, held) if lets_in != held => None,
            (true, true) => Some(format!("set maxconn frontend {name} 0")),
            (true, false) => Some(format!("set maxconn frontend {name} {maxconn}")),
            (false, true) => Some(format!("disable frontend {name}")),
            (false, false) => Some(format!("enable frontend {name}")),
        }
    });
    let frontends: Vec<_> = frontends.collect();
    if wanted == Wanted::Held {
        steps.extend(frontends.iter().cloned());
    }
    let mut settled = true;
    for Backend { name, lead } in &front.backends {
        match lead {
            Lead::Swap { demoted, promoted, up } => {
                let [demoted, promoted] = [demoted, promoted].map(|entry| Name(name, entry));
                match wanted {
                    Wanted::Held => steps.extend(demoted.close(seen).into_iter().chain(promoted.shut(seen))),
                    Wanted::Led => {
                        let closed = demoted.close(seen);
                        // A connection that was on its way all the while would end at a replica.
                        let cut = closed.is_some() || !frontends.is_empty();
                        steps.extend(closed);
                        steps.extend(cut.then(|| format!("shutdown sessions server {demoted}")));
                        steps.extend(promoted.open(seen));
                    }
                    Wanted::Home => {
                        steps.extend(if *up { promoted.open(seen) } else { promoted.shut(seen).into_iter().collect() });
                        steps.extend(demoted.open(seen));
                    }
                }
            }
            Lead::Move { entry, demoted, promoted } => {
                let entry = Name(name, entry);
                let address = if wanted == Wanted::Home { demoted } else { promoted };
                let there = seen.entry(name, entry.1).is_some_and(|e| e.ip.map(|ip| (ip, e.port)) == Some(*address));
                if wanted == Wanted::Held || !there {
                    steps.extend(entry.close(seen));
                }
                if !there {
                    settled = false;
                    steps.push(format!("set server {entry} addr {} port {}", address.0, address.1));
                    // Who came while it led to the wrong one; under the pause the demotion cuts them.
                    steps.extend((wanted != Wanted::Held).then(|| format!("shutdown sessions server {entry}")));
                } else if wanted != Wanted::Held {
                    steps.extend(entry.open(seen));
                }
            }
        }
    }
    if wanted != Wanted::Held && settled {
        steps.extend(frontends);
    }
    steps
}

/// Backend and entry.
#[derive(Clone, Copy)]
struct Name<'a>(&'a str, &'a str);

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0, self.1)
    }
}

impl Name<'_> {
    /// Into maintenance.
    fn close(self, seen: &Seen) -> Option<String> {
        let entry = seen.entry(self.0, self.1)?;
        (!entry.maint).then(|| format!("set server {self} state maint"))
    }

    /// Into maintenance, if clients may be sent to it now: a check that wants a master keeps a replica out as well.
    fn shut(self, seen: &Seen) -> Option<String> {
        let entry = seen.entry(self.0, self.1)?;
        entry.up.then(|| format!("set server {self} state maint"))
    }

    /// Out of it, and up before its next check.
    fn open(self, seen: &Seen) -> Vec<String> {
        let Some(entry) = seen.entry(self.0, self.1) else { return vec![format!("set server {self} state ready")] };
        let mut steps = Vec::new();
        if entry.maint {
            steps.push(format!("set server {self} state ready"));
        }
        if entry.checked && !entry.up {
            steps.push(format!("set server {self} health up"));
        }
        steps
    }
}

impl Front {
    /// The commands of a whole handover.
    pub fn planned(&self) -> [String; 2] {
        let [now, held] = [self.imagined(false), self.imagined(true)];
        [steps(self, &now, Wanted::Held).join("; "), steps(self, &held, Wanted::Led).join("; ")]
    }

    /// As it was when it was looked at, or as it is when it is held.
    fn imagined(&self, held: bool) -> Seen {
        let frontend = |(name, maxconn): (&String, &u64)| {
            let maxconn = if held && self.queues { 0 } else { *maxconn };
            (name.clone(), Frontend { maxconn, open: self.queues || !held })
        };
        let entry = |backend: &str, name: &str, up: bool, address: Option<&(IpAddr, u16)>| Entry {
            backend: backend.to_owned(),
            name: name.to_owned(),
            ip: address.map(|address| address.0),
            port: address.map_or(0, |address| address.1),
            by_name: false,
            up,
            maint: !up,
            checked: false,
        };
        let entries = self.backends.iter().flat_map(|Backend { name, lead }| match lead {
            Lead::Swap { demoted, promoted, up } => {
                vec![entry(name, demoted, !held, None), entry(name, promoted, *up && !held, None)]
            }
            Lead::Move { entry: only, demoted, promoted } => {
                vec![entry(name, only, !held, Some(if held { promoted } else { demoted }))]
            }
        });
        Seen { entries: entries.collect(), frontends: self.frontends.iter().map(frontend).collect(), ..Seen::default() }
    }

    /// What its file must say from now on, since what was set is lost when that is read again.
    pub fn file(&self) -> String {
        let lines = self.backends.iter().map(|Backend { name, lead }| match lead {
            Lead::Swap { demoted, promoted, .. } => {
                format!("server {demoted} with `disabled` and server {promoted} without in {name}")
            }
            Lead::Move { entry, promoted: (ip, port), .. } => {
                let ip = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
                format!("server {entry} {ip}:{port} in {name}")
            }
        });
        lines.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests;
