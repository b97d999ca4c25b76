//! A relay on the source's host takes the source's address over and forwards to the target: [`crate::relay`].
//!
//! | moment | forwards | back |
//! |---|---|---|
//! | `prepare` | it is started | |
//! | `hold` | it answers | it listens no longer |
//! | `meet` | it listens; who comes waits in the system's queue | |
//! | `arrive` | it lets clients in | it ends |
//! | `make_way` | it listens no longer | |
//! | `come_back` | it ends | it listens again |

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::Moving;
use crate::{
    decide::findings::{Finding, Level},
    endpoint::Endpoint,
    error::{Code, Error, Result},
    host::systemd,
    journal::{Handover, Ports},
    pair::{Pair, see},
    relay::{
        Order, Status, Way,
        door::{address, bind, is_missing},
        remote::{LONGEST_PATH, Remote, most_here},
    },
};

/// What is wished of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wish {
    /// The unix socket at which the relay takes orders; by default `relay-PORT.sock` beside the journal.
    pub socket: Option<PathBuf>,
    /// It ends by itself when nobody was connected for so many seconds; by default only when it is told to.
    pub idle: Option<u64>,
    /// The unit of systemd that runs it; by default it runs by itself, and does not come back when its host does.
    pub unit: Option<String>,
}

/// How it is found, and what it is to forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The host that clients know the source by.
    pub host: String,
    /// Its socket.
    pub socket: PathBuf,
    /// The unit that runs it.
    pub unit: Option<String>,
    /// When it ends by itself.
    pub idle: Option<u64>,
    /// Where it listens, and where that leads.
    pub ways: Vec<Way>,
}

impl Plan {
    /// The relay.
    pub fn remote(&self) -> Remote<'_> {
        Remote { socket: &self.socket, unit: self.unit.as_deref() }
    }

    /// Whether it listens.
    pub async fn listens(&self) -> bool {
        matches!(self.remote().tell(&Order::Status).await, Ok(Some(status)) if !status.ways.is_empty())
    }

    fn listen(&self, open: bool) -> Order {
        Order::Listen { ways: self.ways.clone(), open, idle: self.idle }
    }

    /// What it forwards, in words.
    fn forwarding(&self) -> String {
        let ways = self.ways.iter().map(|way| format!("{} port {} to {}", way.bind.join(" "), way.port, way.to));
        format!("{}: forward {}", self.name(), ways.collect::<Vec<_>>().join(", "))
    }

    fn name(&self) -> String {
        format!("relay {}", self.socket.display())
    }

    /// Where clients come to it, by the address that the source had: none once it has ended.
    pub fn entrance(&self, promoted: &Endpoint) -> Option<Endpoint> {
        let port = if promoted.tls.is_some() { self.ways.last() } else { self.ways.first() }?.port;
        let entrance = Endpoint { host: self.host.clone(), port, unix_socket: None, ..promoted.clone() };
        Some(entrance).filter(|_| !self.remote().is_ended())
    }
}

impl Moving<'_> {
    /// Before the pause: the relay runs.
    pub(super) async fn prepare_relay(&self, plan: &Plan) -> Result<Vec<String>> {
        match !self.handover.back && plan.remote().start().await? {
            true => Ok(vec![format!("{}: start", plan.name())]),
            false => Ok(Vec::new()),
        }
    }

    /// Forwards it only has to be there, and to have forgotten what a relay at this socket forwarded before.
    pub(super) async fn hold_relay(&self, plan: &Plan) -> Result<Vec<String>> {
        let closed = plan.remote().tell(&Order::Close).await?;
        match (self.handover.back, closed) {
            (false, None) => Err(Error::new(Code::RedirectFailed, "has ended").at(plan.name())),
            (true, Some(status)) if status.changed => Ok(vec![format!("{}: listen no longer", plan.name())]),
            _ => Ok(Vec::new()),
        }
    }

    pub(super) async fn meet_at_relay(&self, plan: &Plan) -> Result<()> {
        match self.handover.back {
            true => Ok(()),
            false => plan.remote().tell(&plan.listen(false)).await.map(drop),
        }
    }

    /// One that was killed is started again. One that has ended since, because nobody came any more or by the operator's
    /// wish, has done its work.
    pub(super) async fn still_arrive_at_relay(&self, plan: &Plan) -> Result<Vec<String>> {
        let relay = plan.remote();
        let forwards = relay.tell(&Order::Status).await?.is_some_and(|status| status.open && status.ways == plan.ways);
        if self.handover.back || forwards || relay.is_ended() {
            return Ok(Vec::new());
        }
        match self.promoted.is_some_and(|server| server.run.dry) {
            true => Ok(vec![plan.forwarding()]),
            false => open(plan).await,
        }
    }

    pub(super) async fn arrive_at_relay(&self, plan: &Plan) -> Result<Vec<String>> {
        if self.handover.back { end(plan).await } else { open(plan).await }
    }

    pub(super) async fn relay_makes_way(&self, plan: &Plan) -> Result<()> {
        match self.handover.back {
            true => Ok(()),
            false => plan.remote().tell(&Order::Close).await.map(drop),
        }
    }

    pub(super) async fn come_back_to_relay(&self, plan: &Plan) -> Result<Vec<String>> {
        match self.handover.back {
            true => open(plan).await,
            false => end(plan).await,
        }
    }
}

/// Lets clients in, by a relay that is started again if it has died.
async fn open(plan: &Plan) -> Result<Vec<String>> {
    let relay = plan.remote();
    let told = match relay.tell(&plan.listen(true)).await? {
        Some(status) => Some(status),
        None => {
            relay.start().await?;
            relay.tell(&plan.listen(true)).await?
        }
    };
    match told {
        Some(status) if status.changed => Ok(vec![plan.forwarding()]),
        Some(_) => Ok(Vec::new()),
        None => Err(Error::new(Code::RedirectFailed, "has ended at once").at(plan.name())),
    }
}

async fn end(plan: &Plan) -> Result<Vec<String>> {
    Ok(plan.remote().tell(&Order::End).await?.map(|_| vec![format!("{}: end", plan.name())]).unwrap_or_default())
}

/// What a whole handover would do.
pub fn planned(plan: &Plan, handover: &Handover) -> Vec<String> {
    match handover.back {
        true => vec![format!("{}: listen no longer", plan.name()), format!("{}: end", plan.name())],
        false => vec![format!("{}: start", plan.name()), plan.forwarding()],
    }
}

/// What is known of a host before a relay is started on it.
struct Facts {
    source: String,
    target: String,
    ports: Ports,
    at_target: Ports,
    /// The port that the source was given by; none where that is a unix socket.
    given: Option<u16>,
    /// What came of binding each of the source's addresses while the source listens.
    tried: Vec<(String, Tried)>,
    /// Whether only clients of the source's own host may come without a password.
    protected: bool,
    /// Whether the target takes what the relay sends for clients of its own host.
    target_is_local: bool,
    /// Whether the target answers where the relay would connect.
    target_answers: bool,
    clients: usize,
    most: usize,
    path: usize,
    unit: Option<(String, systemd::Unit)>,
    present: Option<Status>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// As is right: the source listens there.
    Taken,
    Free,
    Missing,
    Denied,
}

/// Looks whether a relay here can take the source's place.
pub async fn look(wish: &Wish, pair: &Pair) -> Result<(Plan, Vec<Finding>)> {
    let (source, target) = (pair.source()?, pair.target()?);
    let (at_source, at_target) = (see(source).await?, see(target).await?);
    let config = source.config(&["bind", "protected-mode", "requirepass"]).await?;
    let value = |name: &str| config.get(name).map(String::as_str).unwrap_or_default();
    let ports = at_source.ports;
    let named = if ports.plain != 0 { ports.plain } else { ports.tls };
    let socket = match &wish.socket {
        Some(socket) => socket.clone(),
        None => pair.journal.path().with_file_name(format!("relay-{named}.sock")),
    };
    let to = address_of(&target.endpoint, at_target.ports).await?;
    let addresses = words(value("bind"));
    let leads = [(ports.plain, at_target.ports.plain), (ports.tls, at_target.ports.tls)];
    let ways: Vec<Way> = leads
        .into_iter()
        .filter(|(from, _)| *from != 0)
        .map(|(port, there)| Way { bind: addresses.clone(), port, to: SocketAddr::new(to.ip(), there) })
        .collect();
    let plan = Plan { host: source.endpoint.host.clone(), socket, unit: wish.unit.clone(), idle: wish.idle, ways };
    let mut answers = true;
    for way in plan.ways.iter().filter(|way| way.to.port() != 0) {
        answers &= crate::relay::remote::answers(way.to).await;
    }
    let unit = match &wish.unit {
        Some(unit) => Some((unit.clone(), systemd::look(unit).await?)),
        None => None,
    };
    let path = plan.socket.as_os_str().len();
    let present = if path > LONGEST_PATH { None } else { plan.remote().tell(&Order::Status).await? };
    let all = addresses.iter().filter_map(|word| Some((word.clone(), address(word)?.0)));
    let facts = Facts {
        source: source.to_string(),
        target: target.to_string(),
        ports,
        at_target: at_target.ports,
        given: source.endpoint.unix_socket.is_none().then_some(source.endpoint.port),
        tried: all.map(|(word, ip)| (word, tried(bind(ip, named)))).collect(),
        protected: value("protected-mode") == "yes" && value("requirepass").is_empty(),
        target_is_local: to.ip().is_loopback(),
        target_answers: answers,
        clients: at_source.info.number("connected_clients").unwrap_or_default() as usize,
        most: if wish.unit.is_some() { usize::MAX } else { most_here() },
        path,
        unit,
        present,
    };
    Ok((plan, judge(&facts)))
}

fn tried<T>(outcome: std::io::Result<T>) -> Tried {
    match outcome {
        Ok(_) => Tried::Free,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Tried::Taken,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Tried::Denied,
        Err(error) if is_missing(&error) => Tried::Missing,
        Err(_) => Tried::Denied,
    }
}

/// The addresses in a server's `bind`; all there are where it says nothing.
fn words(bind: &str) -> Vec<String> {
    match bind.split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect::<Vec<_>>() {
        words if words.iter().all(String::is_empty) => vec!["*".to_owned(), "-::*".to_owned()],
        words => words,
    }
}

/// The address of a server, looked up once: a relay does not depend on a name service.
async fn address_of(endpoint: &Endpoint, ports: Ports) -> Result<SocketAddr> {
    let port = if ports.plain != 0 { ports.plain } else { ports.tls };
    let first = endpoint.addresses().await.into_iter().next();
    first.map(|address| SocketAddr::new(address, port)).ok_or_else(|| {
        Error::new(Code::HostUnknown, format!("{} does not resolve", endpoint.host))
            .at(format_args!("target {endpoint}"))
    })
}

/// What stands against a relay.
fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |level: Level, server: &str, what: String, remedy: &str| {
        let code = if level == Level::Blocker { Code::RedirectFailed.as_str() } else { "relay" };
        found.push(Finding {
            code: code.to_owned(),
            level: level.as_str().to_owned(),
            server: server.to_owned(),
            found: what,
            remedy: remedy.to_owned(),
        });
    };
    let Facts { source, target, ports, .. } = facts;
    let port = if ports.plain != 0 { ports.plain } else { ports.tls };
    let of = |tried: Tried| facts.tried.iter().filter(move |(_, came)| *came == tried).map(|(word, _)| word.as_str());
    let missing = of(Tried::Missing).filter(|word| !word.starts_with('-')).collect::<Vec<_>>();
    if port == 0 {
        let what = "listens on no TCP port, so there is nothing that a relay could take over".to_owned();
        add(Level::Blocker, source, what, "say redirect=none");
    } else if of(Tried::Taken).next().is_none() || !missing.is_empty() {
        let what = "does not listen on the host that this runs on, so a relay here can't take its address over";
        add(Level::Blocker, source, what.to_owned(), "run this on the source's host");
    } else if facts.given.is_some_and(|given| given != ports.plain && given != ports.tls) {
        let what = "is not given by a port of its own: something forwards to it already".to_owned();
        add(Level::Blocker, source, what, "give the address at which it listens itself");
    }
    if of(Tried::Denied).next().is_some() {
        let what = format!("this user may not listen at port {port}");
        add(Level::Blocker, source, what, "run this as root, or as a user that may");
    }
    for (name, from, to) in [("port", ports.plain, facts.at_target.plain), ("TLS port", ports.tls, facts.at_target.tls)]
    {
        if from != 0 && to == 0 {
            let what = format!("has no {name}, which the source's clients use");
            add(Level::Blocker, target, what, "give it one");
        }
    }
    if !facts.target_answers {
        let what = "can't be connected to from this host by the address given".to_owned();
        add(Level::Blocker, target, what, "give the address at which the relay can reach it");
    }
    let open = facts.tried.iter().any(|(word, _)| address(word).is_some_and(|(ip, _)| !ip.is_loopback()));
    if facts.protected && open && facts.target_is_local {
        let what = "takes no clients of other hosts, since it has no password (protected-mode). Behind a relay all would look like \
            clients of its own host, and be let in";
        add(Level::Blocker, source, what.to_owned(), "set a password, or bind the source to loopback addresses");
    }
    if facts.path > LONGEST_PATH {
        let what = format!("the path of the relay's socket has {} bytes, and {LONGEST_PATH} are possible", facts.path);
        add(Level::Blocker, source, what, "give a shorter one as socket");
    }
    if facts.clients > facts.most {
        let what = format!(
            "has {} clients, and a relay started here can hold {} (limit of open files)",
            facts.clients, facts.most
        );
        add(Level::Warning, source, what, "raise the limit (ulimit -n), or the others wait");
    }
    match &facts.unit {
        Some((unit, state)) if !state.loaded => {
            add(Level::Blocker, source, format!("systemd knows no unit {unit}"), "install it first");
        }
        Some((unit, state)) if !state.enabled => {
            let what = format!("the unit {unit} is not enabled: the relay would not come back after a reboot");
            add(Level::Warning, source, what, "enable it");
        }
        _ => {}
    }
    if facts.present.as_ref().is_some_and(|status| !status.ways.is_empty()) {
        let what = "a relay at this socket forwards already".to_owned();
        add(Level::Blocker, source, what, "end it if nobody needs it any more, or give another socket");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            source: "source".into(),
            target: "target".into(),
            ports: Ports { plain: 6379, tls: 0 },
            at_target: Ports { plain: 6379, tls: 0 },
            given: Some(6379),
            tried: vec![("10.0.0.1".into(), Tried::Taken), ("-::1".into(), Tried::Missing)],
            protected: false,
            target_is_local: false,
            target_answers: true,
            clients: 10,
            most: 500,
            path: 40,
            unit: None,
            present: None,
        }
    }

    fn blockers(facts: &Facts) -> Vec<String> {
        judge(facts).into_iter().filter(|f| f.level == "blocker").map(|f| f.found).collect()
    }

    #[test]
    fn nothing_stands_against_a_source_on_this_host() {
        assert_eq!(judge(&facts()), Vec::new());
    }

    #[test]
    fn a_source_elsewhere_is_refused() {
        for tried in [Tried::Free, Tried::Missing] {
            let facts = Facts { tried: vec![("10.0.0.1".into(), tried)], ..facts() };
            assert!(blockers(&facts)[0].contains("does not listen on the host that this runs on"));
        }
    }

    #[test]
    fn a_source_that_is_given_by_a_relays_port_is_refused() {
        assert!(blockers(&Facts { given: Some(7000), ..facts() })[0].contains("something forwards to it already"));
        assert!(blockers(&Facts { given: None, ..facts() }).is_empty());
    }

    #[test]
    fn a_port_that_the_target_lacks_is_refused() {
        let facts = Facts { ports: Ports { plain: 6379, tls: 6390 }, ..facts() };
        assert_eq!(blockers(&facts), ["has no TLS port, which the source's clients use"]);
    }

    #[test]
    fn protected_mode_is_not_got_round() {
        let open = Facts { protected: true, target_is_local: true, ..facts() };
        assert!(blockers(&open)[0].contains("protected-mode"));
        let closed = Facts { tried: vec![("127.0.0.1".into(), Tried::Taken)], ..open };
        assert!(blockers(&closed).is_empty());
        assert!(blockers(&Facts { protected: true, ..facts() }).is_empty(), "the target protects itself");
    }

    #[test]
    fn more_clients_than_it_can_hold_are_told() {
        let found = judge(&Facts { clients: 600, ..facts() });
        assert!(found[0].level == "warning" && found[0].found.contains("600 clients"));
    }

    #[test]
    fn a_relay_at_work_is_left_alone() {
        let way = Way { bind: vec!["*".into()], port: 1, to: ([127, 0, 0, 1], 2).into() };
        let present = Some(Status { ways: vec![way], ..Status::default() });
        assert!(blockers(&Facts { present, ..facts() })[0].contains("forwards already"));
        assert!(blockers(&Facts { present: Some(Status::default()), ..facts() }).is_empty());
    }

    #[test]
    fn no_bind_means_everywhere() {
        assert_eq!(words(""), ["*", "-::*"]);
        assert_eq!(words("127.0.0.1 -::1"), ["127.0.0.1", "-::1"]);
    }
}
