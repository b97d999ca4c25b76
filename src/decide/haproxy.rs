//! What a HAProxy says of itself, what of it leads to the two servers, and which commands bring it to where a handover
//! wants it. Its answers in, commands out.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

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
    maxconn: u64,
    /// Whether it listens.
    open: bool,
}

/// One server of a backend.
#[derive(Debug, Clone)]
pub struct Entry {
    backend: String,
    name: String,
    /// None for a unix socket.
    ip: Option<IpAddr>,
    port: u16,
    /// Whether its address is given by name in the file.
    by_name: bool,
    up: bool,
    maint: bool,
    checked: bool,
}

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
    fn queues(&self) -> bool {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        (next(), next(), next()) >= QUEUES_FROM
    }

    fn entry(&self, backend: &str, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.backend == backend && entry.name == name)
    }
}

impl Entry {
    fn title(&self) -> String {
        format!("{}/{}", self.backend, self.name)
    }

    fn is(&self, sought: &Sought<'_>) -> bool {
        if !sought.named.is_empty() {
            return sought.named.contains(&self.title());
        }
        let port = self.port != 0 && [sought.plain, sought.tls].contains(&self.port);
        port && self.ip.is_some_and(|ip| sought.ips.contains(&ip))
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
    for entry in seen.entries.iter().filter(|entry| wanted(&entry.backend) && entry.is(demoted)) {
        if !entry.up {
            let what = format!("its server {} is down or in maintenance", entry.title());
            trouble(what, "see that clients reach the server through it first");
        }
        let other = seen.entries.iter().find(|e| e.backend == entry.backend && e.name != entry.name && e.is(promoted));
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: (&str, u16) = ("10.0.0.1", 6379);
    const NEW: (&str, u16) = ("10.0.0.2", 6380);

    /// A HAProxy that does what it is told.
    #[derive(Debug, Clone)]
    struct Proxy {
        servers: Vec<(&'static str, (String, u16), bool)>,
        maxconn: u64,
        open: bool,
        said: &'static str,
    }

    impl Proxy {
        fn with(servers: &[(&'static str, (&str, u16), bool)]) -> Self {
            let servers =
                servers.iter().map(|(name, (ip, port), up)| (*name, ((*ip).to_owned(), *port), *up)).collect();
            Proxy { servers, maxconn: 500, open: true, said: "admin\n\n3.0.11-1+deb13u4\n\n" }
        }

        fn two() -> Self {
            Proxy::with(&[("old", OLD, true), ("new", NEW, false)])
        }

        fn one() -> Self {
            Proxy::with(&[("redis", OLD, true)])
        }

        fn seen(&self) -> Seen {
            let mut text = format!(
                "{}1\n# be_id be_name srv_name srv_addr srv_op_state srv_admin_state srv_check_state srv_fqdn srv_port\n",
                self.said
            );
            for (name, (ip, port), up) in &self.servers {
                let (op, admin) = if *up { (2, 0) } else { (0, 5) };
                text += &format!("2 be {name} {ip} {op} {admin} 6 - {port}\n");
            }
            let status = if self.open { "OPEN" } else { "PAUSED" };
            text += &format!("\n# pxname,svname,scur,slim,status\nbe,FRONTEND,3,{},{status}\n\n", self.maxconn);
            Seen::parse(&text)
        }

        fn tell(&mut self, command: &str) {
            let words: Vec<_> = command.split(' ').collect();
            let name = words.get(2).and_then(|name| name.strip_prefix("be/"));
            let server = self.servers.iter_mut().find(|server| Some(server.0) == name);
            match (words.as_slice(), server) {
                (["set", "maxconn", "frontend", "be", maxconn], _) => self.maxconn = maxconn.parse().unwrap(),
                (["disable", ..], _) => self.open = false,
                (["enable", ..], _) => self.open = true,
                (["shutdown", ..], _) => {}
                ([_, _, _, "state", state], Some(server)) => server.2 = *state == "ready",
                ([_, _, _, "health", "up"], Some(server)) => assert!(server.2),
                ([_, _, _, "addr", ip, "port", port], Some(server)) => {
                    server.1 = ((*ip).to_owned(), port.parse().unwrap());
                }
                other => panic!("{other:?}"),
            }
        }

        fn bring(&mut self, front: &Front, wanted: Wanted) {
            for _ in 0..3 {
                steps(front, &self.seen(), wanted).iter().for_each(|step| self.tell(step));
            }
            assert_eq!(steps(front, &self.seen(), wanted), Vec::<String>::new());
        }

        /// Where clients that are let in are sent to.
        fn leads_to(&self) -> Vec<(&str, u16)> {
            self.servers.iter().filter(|server| server.2).map(|server| (server.1.0.as_str(), server.1.1)).collect()
        }

        fn lets_in(&self) -> bool {
            self.open && self.maxconn > 0
        }
    }

    fn sought(address: (&str, u16)) -> Sought<'static> {
        Sought { ips: vec![address.0.parse().unwrap()], plain: address.1, tls: 0, named: &[] }
    }

    fn found(proxy: &Proxy) -> (Front, Vec<Trouble>) {
        survey("/s", &proxy.seen(), [&sought(OLD), &sought(NEW)], [&[], &[]], None)
    }

    fn front(proxy: &Proxy) -> Front {
        let (front, troubles) = found(proxy);
        assert!(troubles.iter().all(|trouble| trouble.warning), "{troubles:?}");
        front
    }

    fn blockers(proxy: &Proxy) -> usize {
        found(proxy).1.iter().filter(|trouble| !trouble.warning).count()
    }

    #[test]
    fn it_is_held_and_led_and_nobody_arrives_in_between() {
        for (mut proxy, queues) in [(Proxy::two(), true), (Proxy::one(), true), (Proxy::two(), false)] {
            if !queues {
                proxy.said = "admin\n\n2.6.12-1+deb12u3\n\n";
            }
            let front = front(&proxy);
            assert_eq!(front.queues, queues);
            proxy.bring(&front, Wanted::Held);
            assert_eq!((proxy.lets_in(), proxy.leads_to()), (false, vec![]));
            assert_eq!(proxy.maxconn == 0, queues, "a version that hangs gets no maxconn");
            proxy.bring(&front, Wanted::Led);
            assert_eq!((proxy.lets_in(), proxy.maxconn, proxy.leads_to()), (true, 500, vec![NEW]));
        }
    }

    #[test]
    fn frontends_open_last() {
        for mut proxy in [Proxy::two(), Proxy::one()] {
            let front = front(&proxy);
            proxy.bring(&front, Wanted::Held);
            for wanted in [Wanted::Led, Wanted::Home] {
                let mut proxy = proxy.clone();
                while !proxy.lets_in() {
                    steps(&front, &proxy.seen(), wanted).iter().for_each(|step| proxy.tell(step));
                }
                assert_eq!(proxy.leads_to(), [if wanted == Wanted::Led { NEW } else { OLD }]);
            }
        }
    }

    #[test]
    fn the_way_back_is_to_the_address_that_it_had() {
        let mut proxy = Proxy::one();
        let front = front(&proxy);
        proxy.bring(&front, Wanted::Held);
        proxy.bring(&front, Wanted::Led);
        let elsewhere = sought(("192.168.0.1", 1));
        let (back, troubles) = survey("/s", &proxy.seen(), [&sought(NEW), &elsewhere], [&[], &[]], Some(&front));
        assert_eq!(troubles, []);
        proxy.bring(&back, Wanted::Held);
        proxy.bring(&back, Wanted::Led);
        assert_eq!(proxy.leads_to(), [OLD]);
    }

    #[test]
    fn what_stands_against_it() {
        assert_eq!(blockers(&Proxy::with(&[("old", OLD, false), ("new", NEW, false)])), 1);
        assert_eq!(blockers(&Proxy::with(&[("new", NEW, true)])), 1);
        assert_eq!(blockers(&Proxy { said: "operator\n\n3.0.6\n\n", ..Proxy::two() }), 1);
        assert_eq!(blockers(&Proxy { maxconn: 0, ..Proxy::two() }), 1);
        assert_eq!(blockers(&Proxy { open: false, ..Proxy::two() }), 1);
    }

    #[test]
    fn what_a_command_was_answered_is_kept() {
        let seen = Seen::parse("\nNo such server.\n\n1\n# be_id be_name srv_name\n\n");
        assert_eq!(seen.said, ["No such server."]);
        assert!(seen.entries.is_empty());
    }

    proptest! {
        /// From wherever it is left by a crash, or by a restart that forgets all, it comes to where it is wanted, and home is
        /// where it was.
        #[test]
        fn it_comes_to_where_it_is_wanted(one: bool, stops in prop::collection::vec((0..3usize, 0..9usize, any::<bool>()), 0..6)) {
            let fresh = if one { Proxy::one() } else { Proxy::two() };
            let front = front(&fresh);
            let mut proxy = fresh.clone();
            for (wanted, told, anew) in stops {
                if anew {
                    proxy = fresh.clone();
                }
                let wanted = [Wanted::Held, Wanted::Led, Wanted::Home][wanted];
                steps(&front, &proxy.seen(), wanted).iter().take(told).for_each(|step| proxy.tell(step));
            }
            let mut home = proxy.clone();
            home.bring(&front, Wanted::Home);
            prop_assert_eq!((home.leads_to(), home.maxconn, home.open), (vec![OLD], 500, true));
            proxy.bring(&front, Wanted::Led);
            prop_assert_eq!((proxy.leads_to(), proxy.maxconn, proxy.open), (vec![NEW], 500, true));
        }
    }
}
