//! Carries out what the handover machine says, on connections that are open beforehand, one round trip a command.

mod ask;
mod notary;

use std::time::{Duration, Instant};

use serde::Serialize;

use ask::{position, transaction};
use notary::Notary;

use crate::{
    decide::handover::{Changed, End, Limits, Machine, Next, Outcome, Position, Seen, Why},
    error::{Code, Error, Result, State},
    fence::Fence,
    hook::{Hooks, Moment, Performed, Scene, share_of_pause},
    journal::{Handover, Journal},
    redirect::{Moving, Redirect, ports},
    run::{Event, Run},
    server::{Command, Server},
};

/// How long one command of the cut may take before its reply counts as lost.
const REPLY: Duration = Duration::from_secs(1);

/// A pause between two looks at a server that has not answered.
const BREATH: Duration = Duration::from_millis(5);

/// A phase of the handover and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct Phase {
    /// `moment` (waiting for a good one), `pause`, `drain`, `hold`, `fence`, `demote`, `shut_down`, `promote`, `arrive`, `undo`,
    /// `release` or `confirm`.
    pub name: &'static str,
    /// How long it took.
    pub microseconds: u64,
}

/// How one attempt went.
pub struct Attempt {
    /// How it ended.
    pub end: End,
    /// Its phases in order.
    pub phases: Vec<Phase>,
    /// Whether clients were led to the one that serves: if not, it serves all the same, and a rerun leads them.
    pub led: Result<()>,
    /// What the hook under the pause has said against going on.
    pub refused: Option<Error>,
}

/// The two servers of a handover with what is to become of them.
pub struct Cut<'a> {
    /// The server that serves before.
    pub demoted: &'a Server,
    /// The server that serves afterwards.
    pub promoted: &'a Server,
    /// Their ports.
    pub handover: &'a Handover,
    /// The address at which the demoted one is to follow the promoted one.
    pub followed: (&'a str, u16),
    /// How clients are moved, with the logins that the handover's plan does not have.
    pub redirect: &'a Redirect,
    /// What else is to be done at its moments.
    pub hooks: &'a Hooks,
    /// What hooks are told.
    pub scene: &'a Scene,
    /// Where it is noted at what offset the one has ended.
    pub journal: &'a Journal,
    /// How long things may take.
    pub limits: Limits,
}

impl Cut<'_> {
    /// Runs the machine to its end. The wish to stop waits meanwhile: every way out is bounded by the limits.
    pub async fn run(&self, run: &Run, mut machine: Machine) -> Attempt {
        let _shield = run.shield();
        let mut notary = Notary::new(self.journal);
        let fence = Fence::new(self.demoted, self.handover.home);
        let mut clients = Clients::of(self);
        // Where the target stood when the pause began.
        let mut reached = None;
        if *machine.next() == Next::Pause
            && let Some(silent) = self.rehearse().await
        {
            return Attempt { end: End::Unchanged(silent), phases: Vec::new(), led: Ok(()), refused: None };
        }
        let start = Instant::now();
        let mut phases: Vec<Phase> = Vec::new();
        let mut phase_began = start;
        let end = loop {
            let next = machine.next().clone();
            let name = match &next {
                Next::Stop(end) => break end.clone(),
                next => phase_name(next),
            };
            let began = start.elapsed();
            if next == Next::Pause {
                clients.hook_until = Instant::now() + share_of_pause(self.limits.pause);
            }
            let seen = match (&next, &notary.failed) {
                (Next::ShutDown, Some(failed)) => Seen::ShutDown(Outcome::Refused(format!("to go on: {failed}"))),
                _ => self.carry_out(&next, &fence, &mut clients, &mut reached).await,
            };
            machine.saw(seen, began, start.elapsed());
            notary.note(&machine, self.handover.fenced.then(|| fence.until()));
            if matches!(machine.next(), Next::Stop(_)) || phase_name(machine.next()) != name {
                let microseconds = micros(phase_began);
                phases.push(Phase { name, microseconds });
                phase_began = Instant::now();
                if *machine.next() == Next::Stop(End::Switched) && clients.moving.handover.plan.arrives() {
                    clients.arrive().await;
                    phases.push(Phase { name: "arrive", microseconds: micros(phase_began) });
                }
            } else if next != Next::Poll {
                tokio::time::sleep(BREATH).await;
            }
        };
        if let Some(failed) = notary.failed {
            run.warn(format!("the journal could not be written in the handover: {failed}"));
        }
        // Told only now: listeners must not cost the clients time.
        for action in self.commands_sent(&phases).into_iter().chain(clients.done) {
            run.action(action);
        }
        if let Some(performed) = &clients.performed {
            performed.tell(run);
        }
        for phase in &phases {
            run.emit(&Event::Phase { name: phase.name, microseconds: phase.microseconds });
        }
        let refused = clients.performed.and_then(|performed| performed.error());
        Attempt { end, phases, led: clients.led, refused }
    }

    /// The clients of this handover.
    pub fn moving(&self) -> Moving<'_> {
        Moving {
            handover: self.handover,
            redirect: self.redirect,
            demoted: Some(self.demoted),
            promoted: Some(self.promoted),
        }
    }

    /// The round trips of the cut, with nothing in them: what is done for the first time takes longer, here and in the
    /// servers. One that does not answer is found out before writes wait.
    async fn rehearse(&self) -> Option<Why> {
        match tokio::join!(transaction(self.demoted, &[]), transaction(self.promoted, &[])) {
            (Outcome::Lost, _) => Some(Why::SourceSilent),
            (_, Outcome::Lost) => Some(Why::TargetSilent),
            _ => None,
        }
    }

    async fn carry_out(
        &self,
        next: &Next,
        fence: &Fence<'_>,
        clients: &mut Clients<'_>,
        reached: &mut Option<Outcome<Position>>,
    ) -> Seen {
        match next {
            Next::Pause if self.handover.fenced => Seen::Position(fence.pause(self.limits.pause)),
            // The target is asked at the same time: mostly it has everything by then. What it says counts although it may be
            // said before the pause: where it has reached the offset of the paused source, nothing came in between, and
            // its counts are those at that offset.
            Next::Pause => {
                let pause = [self.pause()];
                let (paused, at_once) = tokio::join!(position(self.demoted, &pause), position(self.promoted, &[]));
                *reached = Some(at_once);
                Seen::Position(paused)
            }
            Next::Poll => match reached.take() {
                Some(at_once) => Seen::Position(at_once),
                None => Seen::Position(position(self.promoted, &[]).await),
            },
            Next::Release => {
                // It can't be ended early before 6.2, and runs out soon.
                let answers = self.handover.fenced || self.release().await;
                clients.come_back().await;
                Seen::Released(answers)
            }
            Next::Hold => Seen::Held(clients.hold().await),
            Next::Fence => Seen::Position(fence.close()),
            Next::ShutDown => Seen::ShutDown(fence.shut_down()),
            Next::Demote => Seen::Role(transaction(self.demoted, &self.demotion()).await),
            Next::Promote => {
                let promotion = self.promotion();
                match tokio::join!(transaction(self.promoted, &promotion), clients.moving.meet()).0 {
                    // Without the old connection the transaction is sent again over a new one.
                    Outcome::Lost => Seen::Role(self.again(self.promoted, &promotion, self.demoted).await),
                    outcome => Seen::Role(outcome),
                }
            }
            Next::Undo => {
                // If it fails, the transaction says that the port is taken.
                let _ = clients.moving.make_way().await;
                let undone = match transaction(self.demoted, &self.undoing()).await {
                    Outcome::Lost => self.again(self.demoted, &self.undoing(), self.promoted).await,
                    outcome => outcome,
                };
                // If it fails, the pause runs out by itself.
                let _ = tokio::time::timeout(REPLY, self.demoted.ask(&unpause())).await;
                if let Outcome::Done(Changed { master: true, .. }) = undone {
                    clients.come_back().await;
                }
                Seen::Role(undone)
            }
            Next::AskSource => Seen::Role(self.ask(self.demoted).await),
            Next::AskTarget => Seen::Role(self.ask(self.promoted).await),
            Next::Stop(_) => Seen::Released(true),
        }
    }

    /// Ends the pause; says whether the server answers.
    async fn release(&self) -> bool {
        if let Ok(Ok(_)) = tokio::time::timeout(REPLY, self.demoted.ask(&unpause())).await {
            return true;
        }
        match self.found_again(self.demoted).await {
            Some(found) => matches!(tokio::time::timeout(REPLY, found.ask(&unpause())).await, Ok(Ok(_))),
            None => false,
        }
    }

    /// Makes a server master over a new connection. The old one may have been cut by another controller that broke our lock
    /// and has gone the other way since: so only with the lock, and while `other` is none.
    async fn again(&self, server: &Server, commands: &[Command], other: &Server) -> Outcome<Changed> {
        let Some(found) = self.found_again(server).await else { return Outcome::Lost };
        if !matches!(tokio::time::timeout(REPLY, found.lock(false)).await, Ok(Ok(_))) {
            return Outcome::Lost;
        }
        let done = match self.ask(other).await {
            Outcome::Done(Changed { master: false, .. }) => transaction(&found, commands).await,
            _ => Outcome::Lost,
        };
        // That this one was refused does not tell what became of the first.
        if let Outcome::Refused(_) = done { Outcome::Lost } else { done }
    }

    /// Looks at a server over a new connection.
    async fn ask(&self, server: &Server) -> Outcome<Changed> {
        match self.found_again(server).await {
            Some(found) => transaction(&found, &[]).await,
            None => Outcome::Lost,
        }
    }

    /// A new connection to whichever of its ports the server listens on now. The old one is cut.
    async fn found_again(&self, server: &Server) -> Option<Server> {
        let tls = server.endpoint.tls.is_some();
        let mut endpoints = vec![server.endpoint.clone()];
        for ports in [self.handover.public, self.handover.aside, self.handover.from] {
            endpoints.push(server.endpoint.with_port(if tls { ports.tls } else { ports.plain }));
        }
        for endpoint in endpoints {
            let connecting = Server::connect(&server.run, server.side, &endpoint);
            let Ok(Ok(found)) = tokio::time::timeout(REPLY, connecting).await else { continue };
            if found.identity.run_id == server.identity.run_id {
                // What was sent over the old connection and not yet read is never to be executed after this look.
                let old = Command::new(["CLIENT", "KILL", "ID", &server.connection_id.to_string()]);
                let _ = tokio::time::timeout(REPLY, found.ask(&old)).await;
                return Some(found);
            }
        }
        None
    }

    fn pause(&self) -> Command {
        Command::new(["CLIENT", "PAUSE", &self.limits.pause.as_millis().to_string(), "WRITE"])
    }

    /// Everything about the demotion is one transaction: between its parts a client that comes back too early would
    /// land on a replica and see READONLY. Clients are cut last, when the port is closed: who comes back at once is
    /// refused by the system, not accepted and cut a second time.
    fn demotion(&self) -> Vec<Command> {
        let (host, port) = self.followed;
        let mut commands = ports::leave(self.handover);
        commands.extend([
            Command::replicaof(host, port),
            Command::new(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]),
            Command::new(["CLIENT", "KILL", "TYPE", "pubsub"]),
        ]);
        commands
    }

    /// The port comes first: who tries to come back waits in the listener's queue from then on, and is let in when the
    /// transaction is done, instead of being refused and trying again.
    fn promotion(&self) -> Vec<Command> {
        let mut commands = ports::arrive(self.handover);
        commands.push(Command::replicaof_no_one());
        commands
    }

    fn undoing(&self) -> Vec<Command> {
        let mut commands = vec![Command::replicaof_no_one()];
        commands.extend(ports::come_back(self.handover));
        commands
    }

    fn commands_sent(&self, phases: &[Phase]) -> Vec<String> {
        let line = |server: &Server, commands: &[Command]| {
            let commands: Vec<_> = commands.iter().map(ToString::to_string).collect();
            let text = commands.join("; ");
            if commands.len() > 1 { format!("{server}: MULTI; {text}; EXEC") } else { format!("{server}: {text}") }
        };
        let sent = phases.iter().filter_map(|phase| match phase.name {
            "pause" if self.handover.fenced => Some(line(self.demoted, &Fence::pause_commands(self.limits.pause))),
            "pause" => Some(line(self.demoted, &[self.pause()])),
            "shut_down" => Some(line(self.demoted, &Fence::shutdown_commands())),
            "release" if self.handover.fenced => None,
            "release" => Some(line(self.demoted, &[unpause()])),
            "demote" => Some(line(self.demoted, &self.demotion())),
            "promote" => Some(line(self.promoted, &self.promotion())),
            "undo" => Some(line(self.demoted, &self.undoing())),
            _ => None,
        });
        sent.collect()
    }

    /// What an end that is not the one wished means for the operator.
    pub fn error(&self, end: &End) -> Error {
        let (state, why) = match end {
            End::Unchanged(why) | End::Undone(why) => (State::Undone, why),
            End::HalfDone(why) => (State::Interrupted, why),
            End::SourceGone { missing } => {
                let found = format!("has died, and {missing} bytes of its replication stream are not in the other one");
                return Error::new(Code::ConnectionLost, found)
                    .at(self.demoted)
                    .remedy("start it again with its data, and run this again; nothing was promoted")
                    .state(State::Interrupted);
            }
            End::Switched => return Error::new(Code::NotConfirmed, "the handover ended").state(State::Interrupted),
        };
        let (code, server, found, remedy) = match why {
            Why::Wished => {
                (Code::NotConfirmed, self.demoted, "could not be made master again".to_owned(), "see its log")
            }
            Why::Behind(0) => (
                Code::LagTooHigh,
                self.promoted,
                "answered too late in the pause".to_owned(),
                "try at a quieter time, or with a larger pause_budget",
            ),
            Why::Behind(bytes) => (
                Code::LagTooHigh,
                self.promoted,
                format!("was still {bytes} bytes behind when writes had waited long enough"),
                "try at a quieter time, or with a larger pause_budget",
            ),
            Why::CountsDiffer => (
                Code::CountsDiffer,
                self.promoted,
                "has another number of keys than the source at the same offset".to_owned(),
                "find out who wrote to it; a new replicate from an empty target puts it right",
            ),
            Why::SourceSilent => {
                (Code::ConnectionLost, self.demoted, "does not answer".to_owned(), "see whether it lives")
            }
            Why::TargetSilent => {
                (Code::ConnectionLost, self.promoted, "does not answer".to_owned(), "see whether it lives")
            }
            Why::SourceRefused(said) => (Code::CommandFailed, self.demoted, format!("refused {said}"), "see its log"),
            Why::TargetRefused(said) => (Code::CommandFailed, self.promoted, format!("refused {said}"), "see its log"),
            Why::AsideTaken(said) => {
                (Code::AsidePortTaken, self.demoted, format!("can't move aside: {said}"), "give another aside_port")
            }
            Why::PublicTaken(said) => (
                Code::TakeoverImpossible,
                self.promoted,
                format!("is the master, but can't listen at the public port: {said}"),
                "free the port and run again",
            ),
            Why::NotHeld(said) => (
                Code::RedirectFailed,
                self.demoted,
                format!("still has its clients: they could not be held: {said}"),
                "put that right and run again",
            ),
        };
        Error::new(code, found).at(server).remedy(remedy).state(state)
    }

    /// The commands of a whole cut, as a dry run shows them.
    pub fn planned(&self) -> Vec<String> {
        let names: &[&str] = match self.handover.fenced {
            true => &["pause", "shut_down", "promote"],
            false => &["pause", "demote", "promote"],
        };
        let phases: Vec<_> = names.iter().map(|name| Phase { name, microseconds: 0 }).collect();
        let mut planned = self.commands_sent(&phases);
        planned.extend(self.hooks.planned(&[Moment::Paused]));
        planned.extend(self.moving().planned());
        if !self.handover.fenced {
            planned.push(format!("{}: {}", self.demoted, unpause()));
        }
        planned
    }
}

/// The clients of one attempt: held or not, and what was done with them.
struct Clients<'a> {
    cut: &'a Cut<'a>,
    moving: Moving<'a>,
    held: bool,
    /// When the hook under the pause has to be done.
    hook_until: Instant,
    /// What came of it, if there is one and it was run.
    performed: Option<Performed>,
    /// What was done, as a result's `actions`.
    done: Vec<String>,
    /// Whether they were led to the one that serves.
    led: Result<()>,
}

impl<'a> Clients<'a> {
    fn of(cut: &'a Cut<'a>) -> Self {
        let moving = cut.moving();
        Clients { cut, moving, held: false, hook_until: Instant::now(), performed: None, done: Vec::new(), led: Ok(()) }
    }

    async fn hold(&mut self) -> Outcome<()> {
        let within = self.hook_until.saturating_duration_since(Instant::now());
        self.performed = self.cut.hooks.perform(Moment::Paused, self.cut.scene, within).await;
        if let Some(performed) = &self.performed {
            self.done.extend(performed.action());
            if let Some(error) = performed.error() {
                return Outcome::Refused(error.found);
            }
        }
        // One that failed may have been done in part.
        self.held = true;
        match self.moving.hold().await {
            Ok(done) => {
                self.done.extend(done);
                Outcome::Done(())
            }
            Err(Error { server, found, .. }) => {
                Outcome::Refused(server.map_or(found.clone(), |server| format!("{server} {found}")))
            }
        }
    }

    async fn arrive(&mut self) {
        let arrived = self.moving.arrive().await;
        self.lead(arrived);
    }

    async fn come_back(&mut self) {
        if std::mem::take(&mut self.held) {
            let back = self.moving.come_back().await;
            self.lead(back);
        }
    }

    fn lead(&mut self, outcome: Result<Vec<String>>) {
        self.led = outcome.map(|done| self.done.extend(done));
    }
}

fn micros(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}

/// `CLIENT UNPAUSE`.
pub fn unpause() -> Command {
    Command::new(["CLIENT", "UNPAUSE"])
}

fn phase_name(next: &Next) -> &'static str {
    match next {
        Next::Pause => "pause",
        Next::Poll => "drain",
        Next::Release => "release",
        Next::Demote | Next::AskSource => "demote",
        Next::Hold => "hold",
        Next::Fence => "fence",
        Next::ShutDown => "shut_down",
        Next::Promote | Next::AskTarget => "promote",
        Next::Undo => "undo",
        Next::Stop(_) => "stop",
    }
}
