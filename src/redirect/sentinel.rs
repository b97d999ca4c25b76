//! Clients ask Sentinel who the master is: so the sentinels are told, the way they tell each other.
//!
//! The demoted server leaves its port, so nobody lands on it in the middle. When the promoted one is master, each sentinel
//! gets a `hello` with that configuration, in an epoch above all it knows, and follows it at once. When all have said so for
//! a while, the demoted one comes back to its port, where they find it as a replica. [`crate::decide::sentinels`] has what is said.

use std::{collections::BTreeMap, future::Future, net::IpAddr, sync::Arc, time::Duration};

use redis::Value;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{Moving, ports};
use crate::{
    decide::{
        findings::{Finding, Level},
        sentinels::{Address, Known, View, against, hello, knows_again, longest_pause, next_epoch},
    },
    endpoint::{Endpoint, Tls},
    error::{Code, Error, Result, State},
    pair::{Pair, see},
    run::{Deadline, Run},
    server::{Command, Said, Server, Side, config::named, elements},
};

/// How long a sentinel may take to answer before anything is changed.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// The same while clients wait.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// How long it is tried to tell them.
const TELL_WITHIN: Duration = Duration::from_secs(5);

/// How long one may take to find the others again: they say hello every two seconds, and it asks for replicas every ten.
const KNOWS_WITHIN: Duration = Duration::from_secs(30);

/// How long they may take to see that a replica's priority has changed.
const PREFERS_WITHIN: Duration = Duration::from_secs(15);

/// A client that was led to the demoted server just before the sentinels were told has connected by then.
const CONNECTS_WITHIN: Duration = Duration::from_millis(500);

/// Between two looks.
const BREATH: Duration = Duration::from_millis(20);

/// The sentinels, as they are given. The password is in no `Debug`, since there is none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sentinels {
    /// `host:port` of at least one; it knows the others.
    sentinels: Vec<String>,
    /// The name they have for the master.
    name: String,
    /// ACL user of the sentinels.
    #[serde(default)]
    user: Option<String>,
    /// Its password, or what `requirepass` is.
    #[serde(default)]
    password: Option<String>,
    /// TLS to the sentinels, if wanted.
    #[serde(default)]
    tls: Option<Tls>,
}

/// What is known of the sentinels, for later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The name of the master.
    name: String,
    /// Those that answer.
    sentinels: Vec<Address>,
    /// The source, as they call it.
    source: Address,
    /// The target, as they call it, or will.
    target: Address,
    /// Milliseconds after which they take the master for down; the least of theirs.
    down_after_ms: u64,
}

/// One sentinel, with what it says of the master.
type Asked = (Address, Result<(Server, View)>);

impl Watch {
    /// The longest pause that none of them takes for a failure.
    pub fn longest_pause(&self) -> Duration {
        longest_pause(Duration::from_millis(self.down_after_ms))
    }

    /// The address they have for a server.
    pub fn address(&self, side: Side) -> &Address {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// What the telling looks like in a plan.
    pub fn planned(&self, to: Side) -> Vec<String> {
        let told = |at: &Address| told(at, &self.name, self.address(to));
        let alone = self.sentinels.iter().filter(|_| self.sentinels.len() == 1);
        let forgets = alone.map(|at| format!("sentinel {at}: SENTINEL RESET {}", self.name));
        self.sentinels.iter().map(told).chain(forgets).collect()
    }
}

fn told(at: &Address, name: &str, master: &Address) -> String {
    format!("sentinel {at}: PUBLISH __sentinel__:hello (the master {name} is at {master})")
}

impl Sentinels {
    /// Refuses what can't work.
    pub fn check(&self) -> Result<()> {
        // To SENTINEL RESET a name is a pattern.
        if self.name.is_empty() || self.name.contains(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)) {
            return Err(Error::input("redirect", "sentinel: name is not made of letters, digits, '.', '-' and '_'"));
        }
        match self.given().is_some_and(|given| !given.is_empty()) {
            true => Ok(()),
            false => Err(Error::input("redirect", "sentinel: sentinels is not a list of host:port")),
        }
    }

    /// What a plan says of the switchover.
    pub fn sentence(&self, target: &Server) -> String {
        format!(
            "the sentinels are told that {target} is the master {}; the source comes back to its port as a replica",
            self.name
        )
    }

    /// Where those are that were given.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.given().unwrap_or_default().iter().map(|at| self.endpoint(at)).collect()
    }

    /// The name they have for the master.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn given(&self) -> Option<Vec<Address>> {
        self.sentinels.iter().map(|text| Address::parse(text)).collect()
    }

    fn endpoint(&self, at: &Address) -> Endpoint {
        Endpoint {
            host: at.host.clone(),
            port: at.port,
            user: self.user.clone(),
            password: self.password.clone(),
            tls: self.tls.clone(),
            ..Endpoint::default()
        }
    }

    /// Looks at all sentinels, and what stands against a handover of the server on side `from`.
    pub async fn look(&self, pair: &Pair, from: Side) -> Result<(Watch, Vec<Finding>)> {
        let (demoted, promoted) = (pair.side(from)?, pair.side(from.other())?);
        let (at_demoted, at_promoted) = tokio::try_join!(see(demoted), see(promoted))?;
        let asked = self.find_all(&pair.run).await?;
        let first = asked.iter().find_map(|(_, said)| said.as_ref().ok()).map(|(_, view)| view.master.clone());
        let over_tls = first.as_ref().is_some_and(|master| master.port == at_demoted.ports.tls && master.port != 0);
        let address = |server: &Server, plain: u16, tls: u16| Address {
            host: server.endpoint.host.clone(),
            port: if over_tls { tls } else { plain },
        };
        let master = address(demoted, at_demoted.ports.plain, at_demoted.ports.tls);
        let next = address(promoted, at_promoted.ports.plain, at_promoted.ports.tls);
        let said: Vec<_> = asked
            .iter()
            .map(|(at, said)| (at.clone(), said.as_ref().map(|(_, view)| view.clone()).map_err(|e| e.found.clone())))
            .collect();
        let mut findings = against(&self.name, &master, &said);
        for (_, said) in &asked {
            if let Ok((sentinel, _)) = said {
                findings.extend(denied(sentinel).await?);
            }
        }
        let is_name = |address: &Address| address.host.parse::<IpAddr>().is_err();
        // The replicas, and the sentinels, take the address under which the master lists it.
        let listed = at_demoted.replication.replicas.iter().find(|replica| replica.port == next.port);
        match listed.filter(|_| at_promoted.replication.master.is_some()) {
            Some(replica) if replica.ip != next.host => {
                let what = format!("is {} to its master, and so to the sentinels, not {}", replica.ip, next.host);
                let remedy = "give it by that address, or set replica-announce-ip on it";
                findings.push(blocker(promoted, what, remedy));
            }
            _ if is_name(&next) && !is_name(&master) => {
                let what = format!("is given by the name {}, and the sentinels go by addresses", next.host);
                findings.push(blocker(promoted, what, "give it by its address"));
            }
            _ => {}
        }
        let views: Vec<&View> = said.iter().filter_map(|(_, said)| said.as_ref().ok()).collect();
        let down_after = views.iter().map(|view| view.down_after).min().unwrap_or_default();
        let (source, target) = if from == Side::Source { (master, next) } else { (next, master) };
        let sentinels = said.iter().filter(|(_, said)| said.is_ok()).map(|(at, _)| at.clone()).collect();
        let down_after_ms = down_after.as_millis().try_into().unwrap_or(u64::MAX);
        Ok((Watch { name: self.name.clone(), sentinels, source, target, down_after_ms }, findings))
    }

    /// The first that answers of those that were given, and those that it knows.
    async fn find_all(&self, run: &Arc<Run>) -> Result<Vec<Asked>> {
        let mut last = None;
        for at in self.given().unwrap_or_default() {
            match self.ask(run, &at, LOOK_WITHIN).await {
                Ok((sentinel, view)) => {
                    let others: Vec<_> =
                        view.peers.iter().map(|peer| peer.address.clone()).filter(|a| a.port != 0).collect();
                    let mut asked = self.ask_all(run, &others, LOOK_WITHIN).await;
                    asked.insert(0, (at, Ok((sentinel, view))));
                    return Ok(asked);
                }
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or_else(|| Error::input("redirect", "sentinel: no sentinel is given"));
        Err(error.state(State::Unchanged))
    }

    async fn ask_all(&self, run: &Arc<Run>, all: &[Address], within: Duration) -> Vec<Asked> {
        let mut asking = JoinSet::new();
        for (n, at) in all.iter().cloned().enumerate() {
            let (wish, run) = (self.clone(), Arc::clone(run));
            asking.spawn(async move {
                let said = wish.ask(&run, &at, within).await;
                (n, (at, said))
            });
        }
        let mut asked = asking.join_all().await;
        asked.sort_by_key(|(n, _)| *n);
        asked.into_iter().map(|(_, asked)| asked).collect()
    }

    /// What a sentinel says of the master, over a new connection.
    async fn ask(&self, run: &Arc<Run>, at: &Address, within: Duration) -> Result<(Server, View)> {
        in_time(at, within, async {
            let sentinel = Server::connect_sentinel(run, &self.endpoint(at)).await?;
            let view = view(&sentinel, &self.name).await?;
            Ok((sentinel, view))
        })
        .await
    }

    /// Waits until each sentinel knows that the replica on side `to` is the first to be chosen: it asks every ten seconds.
    pub async fn wait_preferred(&self, run: &Arc<Run>, watch: &Watch, to: Side) -> Result<()> {
        let deadline = Deadline::after(PREFERS_WITHIN);
        loop {
            let asked = self.ask_all(run, &watch.sentinels, LOOK_WITHIN).await;
            let prefers = |(_, said): &Asked| said.as_ref().is_ok_and(|(_, view)| view.prefers(watch.address(to)));
            if asked.iter().all(prefers) {
                return Ok(());
            }
            if deadline.passed() {
                run.warn(format!(
                    "not all sentinels know yet that they are to choose {} if this process and its guard both die",
                    watch.address(to)
                ));
                return Ok(());
            }
            run.sleep(Duration::from_millis(100)).await?;
        }
    }

    /// Whether all still say that the server on side `from` is the master, and none is at a failover.
    pub async fn hold(&self, run: &Arc<Run>, watch: &Watch, from: Side) -> Result<()> {
        let asked = self.ask_all(run, &watch.sentinels, ANSWER_WITHIN).await;
        let said: Vec<_> =
            asked.into_iter().map(|(at, said)| (at, said.map(|(_, view)| view).map_err(|e| e.found))).collect();
        match against(&watch.name, watch.address(from), &said).into_iter().next() {
            Some(Finding { server, found, .. }) => Err(Error::new(Code::RedirectFailed, found).at(server)),
            None => Ok(()),
        }
    }

    /// Tells every sentinel that the server on side `to` is the master, where it does not say so. One that does not answer is
    /// told by the others when it does, but one at least must know.
    pub async fn tell(&self, run: &Arc<Run>, watch: &Watch, to: Side, stranger: &str) -> Result<Vec<String>> {
        let (master, deadline) = (watch.address(to), Deadline::after(TELL_WITHIN));
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        loop {
            let asked = self.ask_all(run, &watch.sentinels, ANSWER_WITHIN).await;
            let epoch = next_epoch(asked.iter().filter_map(|(_, said)| said.as_ref().ok()).map(|(_, view)| view));
            let mut silent = Vec::new();
            let mut telling = JoinSet::new();
            for (at, said) in asked {
                match said {
                    Ok((_, view)) if view.master == *master && !view.has_stand_in() => {}
                    Ok((sentinel, view)) => {
                        let commands = orders(&view, &watch.name, master, epoch, stranger);
                        let line = |command: &Command| match command.name() {
                            "PUBLISH" => self::told(&at, &watch.name, master),
                            _ => format!("sentinel {at}: {command}"),
                        };
                        told.entry(at.to_string()).or_insert_with(|| commands.iter().map(line).collect());
                        telling.spawn(async move { in_time(&at, ANSWER_WITHIN, obey(&sentinel, &commands)).await });
                    }
                    Err(error) => {
                        // Whether it has taken what it was told is not known.
                        told.remove(&at.to_string());
                        silent.push(error);
                    }
                }
            }
            // That they have taken it is seen at the next look.
            let (changed, refused) = (!telling.is_empty(), telling.join_all().await.into_iter().find_map(Result::err));
            if !changed && silent.len() < watch.sentinels.len() {
                for error in silent {
                    run.warn(format!("{error}: it learns who is the master from the others"));
                }
                return Ok(told.into_values().flatten().collect());
            }
            if deadline.passed() {
                let why = refused.or(silent.pop()).map_or("they do not take it".to_owned(), |error| error.to_string());
                let found =
                    format!("the sentinels could not be told that the master {} is at {master}: {why}", watch.name);
                return Err(Error::new(Code::RedirectFailed, found).remedy("see that they run, and run again"));
            }
            if !changed || refused.is_some() {
                tokio::time::sleep(BREATH).await;
            }
        }
    }

    /// Lets every sentinel forget the source, which is gone, one after the other: meanwhile it knows nobody to fail over to.
    /// Returns whether there was anything to forget.
    pub async fn forget(&self, run: &Arc<Run>, watch: &Watch) -> Result<bool> {
        let gone = watch.address(Side::Source);
        let mut any = false;
        for at in &watch.sentinels {
            let (sentinel, before) = match self.ask(run, at, LOOK_WITHIN).await {
                Ok(asked) => asked,
                Err(error) => {
                    run.warn(format!("{error}: it may still list {gone}; SENTINEL RESET {} ends that", watch.name));
                    continue;
                }
            };
            if !before.replicas.iter().any(|replica| replica.address == *gone) {
                continue;
            }
            any = true;
            sentinel.change(&Command::new(["SENTINEL", "RESET", &watch.name])).await?;
            let deadline = Deadline::after(KNOWS_WITHIN);
            while !run.dry && !knows_again(&before, &view(&sentinel, &watch.name).await?, gone) {
                if deadline.passed() {
                    run.warn(format!(
                        "{sentinel}: does not know all others again yet; the next one is reset all the same"
                    ));
                    break;
                }
                run.sleep(BREATH).await?;
            }
        }
        Ok(any)
    }
}

/// Clients that ask the sentinels, at the moments of a handover.
impl Moving<'_> {
    pub(super) async fn hold_by_sentinel(&self, watch: &Watch) -> Result<Vec<String>> {
        if let Some(server) = self.demoted {
            self.redirect.sentinels()?.hold(&server.run, watch, self.handover.demoted()).await?;
        }
        Ok(Vec::new())
    }

    pub(super) async fn arrive_by_sentinel(&self, watch: &Watch) -> Result<Vec<String>> {
        self.tell(watch, self.promoted, self.handover.demoted().other()).await
    }

    pub(super) async fn come_back_by_sentinel(&self, watch: &Watch) -> Result<Vec<String>> {
        self.tell(watch, self.demoted, self.handover.demoted()).await
    }

    pub(super) fn planned_by_sentinel(&self, watch: &Watch) -> Vec<String> {
        let mut planned = watch.planned(self.handover.demoted().other());
        if let Some(demoted) = self.demoted.filter(|_| !self.handover.fenced) {
            planned.extend(ports::come_back(self.handover).iter().map(|command| format!("{demoted}: {command}")));
        }
        planned
    }

    async fn tell(&self, watch: &Watch, master: Option<&Server>, to: Side) -> Result<Vec<String>> {
        // One that is gone is no master, so there is nothing to tell.
        let Some(server) = master else { return Ok(Vec::new()) };
        self.redirect.sentinels()?.tell(&server.run, watch, to, &server.identity.run_id).await
    }

    /// The demoted server listens at its own port again, as a replica, when nobody is on the way to it any more: who asked a
    /// sentinel in the last moment and connects late would find a replica there, and takes a refused connection for a reason
    /// to ask again.
    pub(super) async fn part_from_sentinel(&self, watch: &Watch) -> Result<Vec<String>> {
        let Some(demoted) = self.demoted.filter(|_| !self.handover.fenced) else { return Ok(Vec::new()) };
        if see(demoted).await?.ports == self.handover.home {
            return Ok(Vec::new());
        }
        demoted.run.sleep(CONNECTS_WITHIN.min(watch.longest_pause())).await?;
        let mut done = Vec::new();
        for command in ports::come_back(self.handover) {
            match demoted.ask(&command).await? {
                Ok(_) => done.push(format!("{demoted}: {command}")),
                Err(said) => return Err(demoted.refused(&command, &said)),
            }
        }
        Ok(done)
    }
}

/// What a sentinel that has this view is told. One that is alone is told by a stand-in, which it then forgets with its replicas;
/// these it finds again by asking the master.
fn orders(view: &View, name: &str, master: &Address, epoch: u64, stranger: &str) -> Vec<Command> {
    let mut orders = Vec::new();
    if view.master != *master {
        let message = hello(view, name, master, epoch, stranger);
        orders.push(Command::new(["PUBLISH", "__sentinel__:hello", &message]));
    }
    if view.peers.is_empty() || view.has_stand_in() {
        orders.push(Command::new(["SENTINEL", "RESET", name]));
    }
    orders
}

async fn obey(sentinel: &Server, commands: &[Command]) -> Result<()> {
    let replies = sentinel.pipeline(commands).await?;
    commands.iter().zip(replies).try_for_each(|(command, reply)| match reply {
        Ok(_) => Ok(()),
        Err(said) => Err(sentinel.refused(command, &said)),
    })
}

fn blocker(server: &Server, found: String, remedy: &str) -> Finding {
    Finding {
        code: Code::RedirectFailed.as_str().to_owned(),
        level: Level::Blocker.as_str().to_owned(),
        server: server.to_string(),
        found,
        remedy: remedy.to_owned(),
    }
}

/// What a sentinel does not let us do. It is asked for what changes nothing: a message that says nothing is passed over, and
/// no master has such a name.
async fn denied(sentinel: &Server) -> Result<Option<Finding>> {
    let probes = [
        Command::new(["PUBLISH", "__sentinel__:hello", "redis-baton"]),
        Command::new(["SENTINEL", "RESET", "redis-baton/probe"]),
    ];
    let replies = sentinel.pipeline(&probes).await?;
    let denied = probes.iter().zip(replies).find_map(|(probe, reply)| Some((probe, reply.err()?)));
    Ok(denied.map(|(probe, said)| {
        let what = format!("refuses {probe} to user {}: {}", sentinel.user(), said.text);
        blocker(sentinel, what, "grant the user +sentinel, +publish and the channel &__sentinel__:hello")
    }))
}

pub(super) async fn in_time<T>(at: &Address, within: Duration, what: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(within, what).await.unwrap_or_else(|_| {
        let found = format!("did not answer within {} ms", within.as_millis());
        Err(Error::new(Code::NoAnswer, found).at(format_args!("sentinel {at}")))
    })
}

async fn view(sentinel: &Server, name: &str) -> Result<View> {
    let words = ["MASTER", "SENTINELS", "REPLICAS", "CKQUORUM"];
    let commands = words.map(|word| Command::new(["SENTINEL", word, name]));
    let replies: [Result<Value, Said>; 4] = sentinel
        .pipeline(&commands)
        .await?
        .try_into()
        .map_err(|_| Error::new(Code::ConnectionLost, "sent too few replies").at(sentinel))?;
    let [master, peers, replicas, quorum] = replies;
    let master = master.map_err(|said| match said.text.contains("No such master") {
        true => Error::new(Code::RedirectFailed, format!("knows no master {name}"))
            .at(sentinel)
            .remedy("SENTINEL MASTERS lists those it knows"),
        false => sentinel.refused(&commands[0], &said),
    })?;
    let list = |reply: Result<Value, Said>, command: &Command| -> Result<Vec<Known>> {
        let listed = elements(reply.map_err(|said| sentinel.refused(command, &said))?);
        let fields: Vec<_> = listed.into_iter().map(named).collect::<Result<_>>()?;
        Ok(fields.iter().filter_map(Known::of).collect())
    };
    let seen: BTreeMap<String, String> = named(master)?;
    let seen = View::of(&seen)
        .ok_or_else(|| Error::new(Code::RedirectFailed, "does not say what a sentinel says").at(sentinel))?;
    Ok(View {
        peers: list(peers, &commands[1])?,
        replicas: list(replicas, &commands[2])?,
        quorum: quorum.err().map(|said| said.text),
        ..seen
    })
}
