//! How clients are made to arrive at the promoted server, one file a way. Each has the same moments in the protocol:
//!
//! | moment | when | if it fails |
//! |---|---|---|
//! | [`Redirect::look`] | before anything is changed | the findings say so |
//! | [`Moving::prepare`] | before the pause: what moves the clients is made ready | nothing was changed |
//! | [`Moving::hold`] | in the pause, when the promoted one has everything: from now on nobody new reaches the demoted one | the pause ends, and all is as before |
//! | [`ports::leave`], [`ports::arrive`] | within the two transactions | as the transaction |
//! | [`Moving::meet`] | beside the promotion: who comes may wait from now on | as the next |
//! | [`Moving::arrive`] | the promoted one is master: who waits is let in | the guard and a rerun do it |
//! | [`Moving::part`] | they are led there, and nobody is to find the demoted one by mistake | a rerun does it |
//! | [`Moving::make_way`] | the demoted one is about to take its ports again | as the transaction |
//! | [`Moving::come_back`] | the demoted one serves again | the guard and a rerun do it |
//!
//! Each can be done again at any time: it looks first, and does what is left to do. What a way must know for that is in
//! the journal before the pause, as its [`Plan`].

pub mod discovery;
pub mod haproxy;
pub mod ports;
pub mod relay;
pub mod sentinel;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    decide::{findings::Finding, haproxy::Wanted},
    endpoint::Endpoint,
    error::{Code, Error, Result, State},
    journal::Handover,
    pair::Pair,
    server::{Server, Side},
};
use haproxy::Fronts;
use sentinel::{Sentinels, Watch};

/// How clients are moved, as it is wished. May hold passwords, so it has no `Debug` and is in no journal.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Redirect {
    /// The target takes the source's port over (both on one host).
    #[default]
    Takeover,
    /// HAProxies are told to send clients to the target.
    Haproxy(haproxy::Wish),
    /// Clients ask Sentinel for the master, which is told.
    Sentinel(Sentinels),
    /// A relay on the source's host takes its address over and forwards to the target.
    Relay(relay::Wish),
    /// Clients are moved by other means.
    None,
}

/// What a way has found out and needs to know later, to be done, done again and undone. It has no secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Ports are all there is.
    #[default]
    Ports,
    /// HAProxies that clients come through.
    Haproxy(Box<Fronts>),
    /// Sentinels.
    Sentinel(Watch),
    /// A relay has the source's ports.
    Relay(relay::Plan),
}

impl Redirect {
    /// Reads what a caller gave, as JSON: a word, or a mapping of a word to its options.
    pub fn parse(json: &str) -> Result<Self> {
        // A word alone stands for the way without options.
        let alone = || serde_json::from_str(&format!("{{{json}: {{}}}}"));
        let wished = serde_json::from_str(json).or_else(|e| if json.starts_with('"') { alone() } else { Err(e) });
        let redirect = wished.map_err(|e| match e.to_string() {
            said if said.contains("expected unit") => {
                Error::input("redirect", "this way has no options: give its name alone")
            }
            // It would repeat the value, which may be a password.
            said if said.starts_with("invalid") => Error::input("redirect", "an option is of the wrong type"),
            // Where it stands in what was made of it tells nobody anything.
            said => Error::input("redirect", said.split(" at line ").next().unwrap_or(&said)),
        })?;
        match &redirect {
            Redirect::Takeover | Redirect::Relay(_) | Redirect::None => {}
            Redirect::Haproxy(wish) => wish.check()?,
            Redirect::Sentinel(sentinels) => sentinels.check()?,
        }
        Ok(redirect)
    }

    /// Whether the target takes the source's port over.
    pub fn takes_over(&self) -> bool {
        *self == Redirect::Takeover
    }

    /// Whether the source leaves its port, so that a free one is needed for it.
    pub fn leaves_port(&self) -> bool {
        matches!(self, Redirect::Takeover | Redirect::Sentinel(_) | Redirect::Relay(_))
    }

    /// Looks at what is to move the clients away from the source, and lists what stands against it. Changes nothing.
    pub async fn look(&self, pair: &Pair) -> Result<(Plan, Vec<Finding>)> {
        match self {
            Redirect::Takeover | Redirect::None => Ok((Plan::Ports, Vec::new())),
            Redirect::Haproxy(wish) => {
                wish.look(pair).await.map(|(fronts, findings)| (Plan::Haproxy(Box::new(fronts)), findings))
            }
            Redirect::Sentinel(sentinels) => {
                let (watch, findings) = sentinels.look(pair, Side::Source).await?;
                Ok((Plan::Sentinel(watch), findings))
            }
            Redirect::Relay(wish) => {
                let (plan, findings) = relay::look(wish, pair).await?;
                Ok((Plan::Relay(plan), findings))
            }
        }
    }

    /// The sentinels, for what is to be done by them.
    pub fn sentinels(&self) -> Result<&Sentinels> {
        match self {
            Redirect::Sentinel(sentinels) => Ok(sentinels),
            _ => Err(Error::new(Code::RedirectFailed, "the clients of this handover are moved by Sentinel")
                .remedy("give the same redirect as then: its login is written down nowhere")
                .state(State::Interrupted)),
        }
    }

    /// What clients see of the switchover, for the plan of `preflight`.
    pub fn sentence(&self, source: &Server, target: &Server, aside: u16) -> String {
        let pause = "switchover: writes on the source wait for some milliseconds, every client is disconnected once";
        match self {
            Redirect::Takeover => format!(
                "{pause}, the source moves to port {aside} and {target} takes its address {} over",
                source.endpoint
            ),
            Redirect::Haproxy(_) => format!("{pause}, and waits in HAProxy until {target} serves"),
            Redirect::Sentinel(sentinels) => format!("{pause}, and {}", sentinels.sentence(target)),
            Redirect::Relay(_) => format!(
                "{pause}, the source moves to port {aside}, and a relay takes its address {} over and forwards to {target}",
                source.endpoint
            ),
            Redirect::None => format!("{pause} and has to come to the target by your own means"),
        }
    }
}

impl Plan {
    /// Looks again, for the way back: at what moves the clients away from the target.
    pub async fn look_again(&self, pair: &Pair, redirect: &Redirect) -> Result<(Plan, Vec<Finding>)> {
        match self {
            Plan::Ports | Plan::Relay(_) => Ok((self.clone(), Vec::new())),
            Plan::Haproxy(before) => {
                let wish = if let Redirect::Haproxy(wish) = redirect { Some(wish) } else { None };
                let (fronts, findings) = before.look_again(pair, wish).await?;
                Ok((Plan::Haproxy(Box::new(fronts)), findings))
            }
            Plan::Sentinel(_) => {
                let sentinels = redirect.sentinels().map_err(|error| error.state(State::Unchanged))?;
                let (watch, findings) = sentinels.look(pair, Side::Target).await?;
                Ok((Plan::Sentinel(watch), findings))
            }
        }
    }

    /// Whether there is anything to do under the pause.
    pub fn holds(&self) -> bool {
        *self != Plan::Ports
    }

    /// Whether there is anything to do beyond the promotion.
    pub fn arrives(&self) -> bool {
        *self != Plan::Ports
    }

    /// The longest pause it bears, if there is a limit.
    pub fn longest_pause(&self) -> Option<Duration> {
        match self {
            Plan::Sentinel(watch) => Some(watch.longest_pause()),
            _ => None,
        }
    }

    /// Whether Sentinel may promote a server by itself, so that it matters whom it would choose.
    pub fn has_rival(&self) -> bool {
        matches!(self, Plan::Sentinel(_))
    }

    /// What the operator has to do after the handover so that it lasts.
    pub fn lasting(&self) -> Vec<String> {
        match self {
            Plan::Haproxy(fronts) => fronts.lasting(),
            _ => Vec::new(),
        }
    }

    /// Whether what leads the clients has to go on working when all is done: then a rerun sees to that.
    pub fn lasts(&self) -> bool {
        matches!(self, Plan::Relay(_))
    }

    /// Whether the demoted server leaves its port though the promoted one does not take it: on the way back it takes it
    /// again.
    pub fn keeps_port_free(&self) -> bool {
        matches!(self, Plan::Relay(_))
    }

    /// Whether something that is none of the two servers listens where the source did.
    pub async fn stands_in(&self, handover: &Handover) -> bool {
        match self {
            Plan::Relay(plan) => !handover.back && plan.listens().await,
            _ => false,
        }
    }

    /// Where clients come to the promoted server, if that is not where it listens itself.
    pub fn entrance(&self, handover: &Handover, promoted: &Endpoint) -> Option<Endpoint> {
        match self {
            Plan::Relay(plan) if !handover.back => plan.entrance(promoted),
            _ => None,
        }
    }
}

/// The clients of one handover. What a moment returns is what it did, as a result's `actions`: told later, since
/// listeners must not cost the clients time.
pub struct Moving<'a> {
    /// The handover, with the plan.
    pub handover: &'a Handover,
    /// What was wished: the logins that the plan does not have.
    pub redirect: &'a Redirect,
    /// The server that serves before; none if it is gone.
    pub demoted: Option<&'a Server>,
    /// The server that serves afterwards; none if it is gone.
    pub promoted: Option<&'a Server>,
}

impl Moving<'_> {
    /// What moves the clients is made ready.
    pub async fn prepare(&self) -> Result<Vec<String>> {
        match &self.handover.plan {
            Plan::Relay(plan) => self.prepare_relay(plan).await,
            _ => Ok(Vec::new()),
        }
    }

    /// From now on nobody new reaches the demoted server.
    pub async fn hold(&self) -> Result<Vec<String>> {
        match &self.handover.plan {
            Plan::Ports => Ok(Vec::new()),
            Plan::Haproxy(fronts) => fronts.bring(Wanted::Held).await,
            Plan::Sentinel(watch) => self.hold_by_sentinel(watch).await,
            Plan::Relay(plan) => self.hold_relay(plan).await,
        }
    }

    /// A handover that stopped between its transactions goes on: what was made ready for it may have died since.
    pub async fn again(&self) -> Result<Vec<String>> {
        match &self.handover.plan {
            Plan::Relay(plan) if self.handover.back => self.hold_relay(plan).await,
            Plan::Relay(plan) => self.prepare_relay(plan).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Who comes may wait where the promoted server is to be reached. What fails is done, or found, by [`Moving::arrive`].
    pub async fn meet(&self) {
        if let Plan::Relay(plan) = &self.handover.plan {
            drop(self.meet_at_relay(plan).await);
        }
    }

    /// Clients arrive at the promoted server, which is the master.
    pub async fn arrive(&self) -> Result<Vec<String>> {
        match &self.handover.plan {
            Plan::Ports => Ok(Vec::new()),
            Plan::Haproxy(fronts) => fronts.bring(Wanted::Led).await,
            Plan::Sentinel(watch) => self.arrive_by_sentinel(watch).await,
            Plan::Relay(plan) => self.arrive_at_relay(plan).await,
        }
    }

    /// Clients have arrived: the demoted server is where it is found as a replica, before it follows the promoted one.
    pub async fn part(&self) -> Result<Vec<String>> {
        match &self.handover.plan {
            Plan::Sentinel(watch) => self.part_from_sentinel(watch).await,
            _ => Ok(Vec::new()),
        }
    }

    /// They arrived once, and still do: see [`Plan::lasts`].
    pub async fn still_arrive(&self) -> Result<Vec<String>> {
        match &self.handover.plan {
            Plan::Relay(plan) => self.still_arrive_at_relay(plan).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Nobody else has the ports that the demoted server is about to take again.
    pub async fn make_way(&self) -> Result<()> {
        match &self.handover.plan {
            Plan::Relay(plan) => self.relay_makes_way(plan).await,
            _ => Ok(()),
        }
    }

    /// Clients arrive at the demoted server, which is the master again.
    pub async fn come_back(&self) -> Result<Vec<String>> {
        match &self.handover.plan {
            Plan::Ports => Ok(Vec::new()),
            Plan::Haproxy(fronts) => fronts.bring(Wanted::Home).await,
            Plan::Sentinel(watch) => self.come_back_by_sentinel(watch).await,
            Plan::Relay(plan) => self.come_back_to_relay(plan).await,
        }
    }

    /// What a whole handover would do, as a dry run shows it.
    pub fn planned(&self) -> Vec<String> {
        match &self.handover.plan {
            Plan::Ports => Vec::new(),
            Plan::Haproxy(fronts) => fronts.planned(),
            Plan::Sentinel(watch) => self.planned_by_sentinel(watch),
            Plan::Relay(plan) => relay::planned(plan, self.handover),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_stands_for_a_way_without_options() {
        let relay = Redirect::parse("\"relay\"").unwrap();
        assert!(
            relay == Redirect::parse("{\"relay\": {}}").unwrap() && relay == Redirect::Relay(relay::Wish::default())
        );
        let missing = Redirect::parse("\"haproxy\"").err().map(|error| error.found);
        assert_eq!(missing.as_deref(), Some("redirect: missing field `sockets`"));
        let superfluous = Redirect::parse("{\"none\": {}}").err().map(|error| error.found);
        assert_eq!(superfluous.as_deref(), Some("redirect: this way has no options: give its name alone"));
        for wrong in ["\"relais\"", "{\"takeover\": {}}", "{\"relay\": {\"port\": 1}}", "3"] {
            assert!(Redirect::parse(wrong).is_err_and(|error| error.code == crate::Code::InvalidInput), "{wrong}");
        }
    }
}
