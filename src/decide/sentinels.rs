//! What the sentinels of a master say, whether it can be handed over now, and what is told to them. No I/O.
//!
//! Sentinels tell each other who is the master by `hello` messages: the configuration with the highest epoch counts, and
//! each one follows it at once. That is how one that has done a failover leads the others, on every version since 2.8.
//! A message is in the name of a sentinel that the receiver knows, since it would add one that it does not know.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::findings::{Finding, Level};
use crate::error::Code;

/// A sentinel takes an instance for down when it has not answered for `down-after-milliseconds`. Its PING waits behind the
/// message that it publishes every two seconds, which waits in a pause: so a pause must be that much shorter.
pub const HELLO_EVERY: Duration = Duration::from_secs(2);

/// The priority of the replica that is chosen before all others.
pub const FIRST: u32 = 1;

/// A pause shorter than that is not worth a try.
const LEAST_PAUSE: Duration = Duration::from_millis(200);

/// Where something listens, as sentinels call it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// An address, or a name where sentinels are told to use names.
    pub host: String,
    /// TCP port; 0 for one that sentinels never connect to.
    pub port: u16,
}

impl Address {
    /// Reads `host:port`; IPv6 addresses are in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| Address { host: host.to_owned(), port })
    }

    /// From the fields `ip` and `port` that a sentinel lists.
    pub fn of(fields: &BTreeMap<String, String>) -> Option<Self> {
        Some(Address { host: fields.get("ip")?.clone(), port: fields.get("port")?.parse().ok()? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A sentinel or a replica that a sentinel lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Where it is.
    pub address: Address,
    /// Its run id; of a sentinel that is the one it calls itself.
    pub run_id: String,
    /// Whether the sentinel takes it for down.
    pub down: bool,
    /// Of a replica: whom it would choose in a failover.
    pub priority: Option<u32>,
}

impl Known {
    /// From what a sentinel lists.
    pub fn of(fields: &BTreeMap<String, String>) -> Option<Self> {
        let run_id = fields.get("runid").cloned().unwrap_or_default();
        let priority = fields.get("slave-priority").and_then(|number| number.parse().ok());
        Some(Known { address: Address::of(fields)?, run_id, down: has(fields, "s_down"), priority })
    }
}

/// What one sentinel says of a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Where it is.
    pub master: Address,
    /// The epoch of that configuration.
    pub epoch: u64,
    /// Whether it takes the master for down.
    pub down: bool,
    /// Whether it is doing a failover.
    pub fails_over: bool,
    /// For how long the master must not answer to be down.
    pub down_after: Duration,
    /// The other sentinels.
    pub peers: Vec<Known>,
    /// The replicas.
    pub replicas: Vec<Known>,
    /// What it says against a failover that would be needed: no quorum.
    pub quorum: Option<String>,
}

impl View {
    /// From `SENTINEL MASTER`.
    pub fn of(fields: &BTreeMap<String, String>) -> Option<Self> {
        let number = |name: &str| fields.get(name)?.parse::<u64>().ok();
        Some(View {
            master: Address::of(fields)?,
            epoch: number("config-epoch")?,
            down: has(fields, "s_down") || has(fields, "o_down"),
            fails_over: has(fields, "failover_in_progress"),
            down_after: Duration::from_millis(number("down-after-milliseconds")?),
            peers: Vec::new(),
            replicas: Vec::new(),
            quorum: None,
        })
    }

    /// Whether it knows that the replica there is the first to be chosen in a failover.
    pub fn prefers(&self, address: &Address) -> bool {
        self.replicas.iter().any(|replica| replica.address == *address && replica.priority == Some(FIRST))
    }

    /// Whether it knows a sentinel that does not exist: the sender of [`hello`] where there is only one.
    pub fn has_stand_in(&self) -> bool {
        self.peers.iter().any(|peer| peer.address == stand_in())
    }
}

fn has(fields: &BTreeMap<String, String>, flag: &str) -> bool {
    fields.get("flags").is_some_and(|flags| flags.split(',').any(|word| word == flag))
}

/// A sentinel at port 0 counts as one whose address is not known: it is never connected to.
fn stand_in() -> Address {
    Address { host: "127.0.0.1".to_owned(), port: 0 }
}

/// The epoch that is above all.
pub fn next_epoch<'a>(views: impl IntoIterator<Item = &'a View>) -> u64 {
    views.into_iter().map(|view| view.epoch).max().unwrap_or_default() + 1
}

/// The message by which a sentinel that has this view learns that the master is at `master`. A sentinel without peers gets it in the name of
/// one that does not exist, with the run id `stranger`; it has to be told to forget that afterwards.
pub fn hello(view: &View, name: &str, master: &Address, epoch: u64, stranger: &str) -> String {
    let (from, run_id) = match view.peers.iter().find(|peer| !peer.run_id.is_empty()) {
        Some(peer) => (peer.address.clone(), peer.run_id.as_str()),
        None => (stand_in(), stranger),
    };
    let (Address { host, port }, Address { host: at, port: on }) = (from, master);
    format!("{host},{port},{run_id},{epoch},{name},{at},{on},{epoch}")
}

/// The longest pause that no sentinel takes for a failure.
pub fn longest_pause(down_after: Duration) -> Duration {
    down_after.saturating_sub(HELLO_EVERY)
}

/// What stands against a handover of the master at `master`, of what sentinels said or why they did not.
pub fn against(name: &str, master: &Address, asked: &[(Address, Result<View, String>)]) -> Vec<Finding> {
    let add = |level: Level, at: &Address, found: String, remedy: &str| Finding {
        code: Code::RedirectFailed.as_str().to_owned(),
        level: level.as_str().to_owned(),
        server: format!("sentinel {at}"),
        found,
        remedy: remedy.to_owned(),
    };
    let views: Vec<&View> = asked.iter().filter_map(|(_, said)| said.as_ref().ok()).collect();
    // They all say so: it is not only the way from here that is broken.
    let down = |at: &Address| {
        let listed: Vec<_> = views.iter().flat_map(|view| &view.peers).filter(|peer| peer.address == *at).collect();
        !listed.is_empty() && listed.iter().all(|peer| peer.down)
    };
    let one = |(at, said): &(Address, Result<View, String>)| match said {
        Err(why) if down(at) => {
            let found = format!("is down ({why}): when it comes back it learns the new master from the others");
            vec![add(Level::Warning, at, found, "start it again, or see that nobody asks it")]
        }
        Err(why) => {
            let remedy = "see that it can be asked from here, or take it away with SENTINEL RESET on the others";
            vec![add(Level::Blocker, at, format!("can't be asked, and others hold it to be up: {why}"), remedy)]
        }
        Ok(view) => {
            let mut found = Vec::new();
            let mut block = |what: String, remedy: &str| found.push(add(Level::Blocker, at, what, remedy));
            if view.master != *master {
                block(
                    format!("says that the master {name} is at {}, not at {master}", view.master),
                    "give the source by the address that the sentinels have for it; if they differ, wait until they agree",
                );
            }
            if view.fails_over {
                block(format!("is doing a failover of {name}"), "wait until it has ended");
            }
            if view.down {
                block(format!("takes the master {name} for down"), "see why: SENTINEL MASTER and its log");
            }
            if let Some(why) = &view.quorum {
                block(format!("can't do a failover of {name} if one is needed: {why}"), "start the others again");
            }
            if longest_pause(view.down_after) < LEAST_PAUSE {
                block(
                    format!(
                        "takes a master for down after {} ms, so it would do so in a pause",
                        view.down_after.as_millis()
                    ),
                    "set down-after-milliseconds to 3000 or more with SENTINEL SET, on each sentinel",
                );
            }
            found
        }
    };
    asked.iter().flat_map(one).collect()
}

/// Whether a sentinel that had `before` and was told to forget the replica at `gone` knows all the others again.
pub fn knows_again(before: &View, now: &View, gone: &Address) -> bool {
    let all = |then: &[Known], now: &[Known]| {
        let wanted = then.iter().filter(|one| !one.down && one.address != *gone);
        wanted.into_iter().all(|one| now.iter().any(|again| again.address == one.address))
    };
    all(&before.peers, &now.peers) && all(&before.replicas, &now.replicas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address { host: "10.0.0.1".into(), port }
    }

    fn known(port: u16, down: bool) -> Known {
        Known { address: address(port), run_id: format!("id{port}"), down, priority: None }
    }

    fn view() -> View {
        let fields = [
            ("ip", "10.0.0.1"),
            ("port", "6379"),
            ("flags", "master"),
            ("config-epoch", "7"),
            ("down-after-milliseconds", "30000"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        View { peers: vec![known(2, false), known(3, false)], ..View::of(&fields).unwrap() }
    }

    fn judged(asked: Vec<(u16, Result<View, String>)>) -> Vec<(String, String)> {
        let asked: Vec<_> = asked.into_iter().map(|(port, said)| (address(port), said)).collect();
        against("m", &address(6379), &asked).into_iter().map(|f| (f.level, f.found)).collect()
    }

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["10.0.0.1:26379", "s1.example:1", "[::1]:26379"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "host", ":1", "host:0", "host:x", "a b:1", "host:70000"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_hello_is_in_the_name_of_a_sentinel_that_is_known() {
        assert_eq!(hello(&view(), "m", &address(6380), 8, "x"), "10.0.0.1,2,id2,8,m,10.0.0.1,6380,8");
    }

    #[test]
    fn one_that_is_alone_hears_of_a_stand_in_and_shows_it() {
        let alone = View { peers: Vec::new(), ..view() };
        assert_eq!(hello(&alone, "m", &address(6380), 8, "x"), "127.0.0.1,0,x,8,m,10.0.0.1,6380,8");
        assert!(!alone.has_stand_in());
        let met = Known { address: stand_in(), run_id: "x".into(), down: false, priority: None };
        assert!(View { peers: vec![met], ..view() }.has_stand_in());
    }

    #[test]
    fn the_next_epoch_is_above_every_one() {
        assert_eq!(next_epoch(&[view(), View { epoch: 9, ..view() }, view()]), 10);
    }

    #[test]
    fn nothing_stands_against_sentinels_that_agree() {
        assert_eq!(judged(vec![(1, Ok(view())), (2, Ok(view()))]), []);
    }

    #[test]
    fn each_thing_that_would_go_wrong_is_found() {
        let wrong = [
            (View { master: address(1), ..view() }, "not at 10.0.0.1:6379"),
            (View { fails_over: true, ..view() }, "failover of m"),
            (View { down: true, ..view() }, "for down"),
            (View { quorum: Some("NOQUORUM".into()), ..view() }, "NOQUORUM"),
            (View { down_after: Duration::from_secs(2), ..view() }, "after 2000 ms"),
        ];
        for (view, words) in wrong {
            let found = judged(vec![(1, Ok(view))]);
            assert!(matches!(&found[..], [(level, found)] if level == "blocker" && found.contains(words)), "{found:?}");
        }
    }

    #[test]
    fn one_that_does_not_answer_must_be_down_for_all_others() {
        let silent = |down: [bool; 2]| {
            let views = down.map(|down| View { peers: vec![known(3, down)], ..view() });
            let [first, second] = views;
            judged(vec![(1, Ok(first)), (2, Ok(second)), (3, Err("nothing listens there".into()))])
        };
        assert_eq!(silent([true, true])[0].0, "warning");
        assert_eq!(silent([true, false])[0].0, "blocker");
        assert_eq!(
            judged(vec![(1, Ok(View { peers: Vec::new(), ..view() })), (3, Err(String::new()))])[0].0,
            "blocker"
        );
    }

    #[test]
    fn a_reset_sentinel_is_waited_for_until_it_knows_who_is_left() {
        let before = View { replicas: vec![known(10, true), known(11, false)], ..view() };
        let forgot = View { peers: vec![known(2, false)], replicas: vec![known(11, false)], ..view() };
        assert!(!knows_again(&before, &forgot, &address(10)));
        assert!(knows_again(&before, &View { peers: before.peers.clone(), ..forgot.clone() }, &address(10)));
        let blind = View { peers: before.peers.clone(), replicas: Vec::new(), ..forgot };
        assert!(!knows_again(&before, &blind, &address(10)));
    }
}
