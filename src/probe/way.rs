//! By which addresses a probe comes to the server that serves, as clients do.

use std::time::Duration;

use crate::{
    call::Call,
    decide::sentinels::Address,
    endpoint::{Endpoint, Tls},
    journal::{Handover, Journal},
    pair::see,
    redirect::{Plan, Redirect},
    server::{
        Command,
        guest::{Guest, Missed},
        text,
    },
    side::Side,
};

use super::{CLIENT_NAME, Wish};

/// How long a sentinel may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// One way.
#[derive(Debug)]
pub enum Way {
    /// An address.
    At(Endpoint),
    /// Whatever address sentinels have for this master, with the login there.
    Named { sentinels: Vec<Endpoint>, name: String, master: Endpoint },
}

/// By what clients come to the server that serves.
enum Led {
    /// The source's address, which leads to whoever serves.
    There,
    /// What sentinels answer.
    BySentinel,
    /// Nothing of ours: an address for each of the two.
    Themselves,
}

/// The ways that a client may take, the likeliest first, and what the operator should know of that. One that finds nobody, or
/// nobody who takes writes, takes the next.
pub async fn ways(call: &Call, wish: &Wish, redirect: &Redirect, to: Side) -> (Vec<Way>, Option<String>) {
    let (source, target) = (&call.source, &call.target);
    if let Wish::At(endpoint) = wish {
        return (vec![way(dressed(endpoint, source))], None);
    }
    // Back they go the way they came, which the call need not say.
    let came = Journal::of(call.journal_dir.as_deref(), source, target).and_then(|journal| journal.handover());
    let came = came.ok().flatten().filter(|_| to == Side::Source);
    let haproxy = match &came {
        Some(record) => matches!(record.plan, Plan::Haproxy(_)),
        None => matches!(redirect, Redirect::Haproxy(_)),
    };
    let warning =
        "the probe does not know at what address HAProxy is, and goes to the servers themselves: give that as probe";
    let ways = match (led(redirect, came.as_ref()), redirect) {
        (Led::BySentinel, Redirect::Sentinel(sentinels)) => {
            let (sentinels, name) = (sentinels.endpoints(), sentinels.name().to_owned());
            vec![Way::Named { sentinels, name, master: source.clone() }]
        }
        (Led::There | Led::BySentinel, _) => {
            let public = public_beside_socket(call).await.map(way);
            [way(source.clone())].into_iter().chain(public).collect()
        }
        (Led::Themselves, _) => themselves(source, target, to),
    };
    (ways, haproxy.then(|| warning.to_owned()))
}

fn led(redirect: &Redirect, came: Option<&Handover>) -> Led {
    match (came.map(|record| (&record.plan, record.arrives())), redirect) {
        (Some((Plan::Ports, true) | (Plan::Relay(_), _)), _) => Led::There,
        (Some((Plan::Sentinel(_), _)), _) => Led::BySentinel,
        (Some((Plan::Ports | Plan::Haproxy(_), _)), _) => Led::Themselves,
        (None, Redirect::Takeover | Redirect::Relay(_)) => Led::There,
        (None, Redirect::Sentinel(_)) => Led::BySentinel,
        (None, Redirect::Haproxy(_) | Redirect::None) => Led::Themselves,
    }
}

/// The one that serves first.
fn themselves(source: &Endpoint, target: &Endpoint, to: Side) -> Vec<Way> {
    // Once the users are carried, the target has the source's login.
    let at_target = target.with_login_of(source);
    let own = (at_target != *target).then(|| way(target.clone()));
    let mut ways: Vec<Way> = [way(source.clone()), way(at_target)].into_iter().chain(own).collect();
    if to == Side::Source {
        ways.rotate_left(1);
    }
    ways
}

fn way(endpoint: Endpoint) -> Way {
    match &endpoint.master_name {
        Some(name) => {
            let sentinel = Endpoint { master_name: None, ..endpoint.clone() };
            // Most sentinels want no login, and refuse one then.
            let open = Endpoint { user: None, password: None, ..sentinel.clone() };
            Way::Named { sentinels: vec![open, sentinel], name: name.clone(), master: endpoint }
        }
        None => Way::At(endpoint),
    }
}

/// An address that says nothing of a login, or of what certificates to trust, is for the source's.
fn dressed(endpoint: &Endpoint, source: &Endpoint) -> Endpoint {
    let mut endpoint = endpoint.clone();
    if endpoint.password.is_none() {
        endpoint = endpoint.with_login_of(source);
    }
    if endpoint.tls == Some(Tls::default()) && source.tls.is_some() {
        endpoint.tls.clone_from(&source.tls);
    }
    endpoint
}

/// Who is given by its unix socket has a port too, which is what the target takes over.
async fn public_beside_socket(call: &Call) -> Option<Endpoint> {
    call.source.unix_socket.as_ref()?;
    let pair = call.find().await.ok()?;
    let port = match &pair.handover {
        Some(record) if record.arrives() => record.public.plain,
        _ => see(pair.source().ok()?).await.ok()?.ports.plain,
    };
    (port != 0).then(|| call.source.with_port(port))
}

impl Way {
    /// Where it leads now.
    pub async fn leads_to(&self) -> Result<Endpoint, Missed> {
        let (sentinels, name, master) = match self {
            Way::At(endpoint) => return Ok(endpoint.clone()),
            Way::Named { sentinels, name, master } => (sentinels, name, master),
        };
        let mut last = Missed { word: "failed".into(), text: format!("no sentinel knows {name}") };
        for sentinel in sentinels {
            match ask(sentinel, name).await {
                Ok(Some(at)) => {
                    return Ok(Endpoint {
                        host: at.host,
                        port: at.port,
                        master_name: None,
                        unix_socket: None,
                        ..master.clone()
                    });
                }
                Ok(None) => {}
                Err(missed) => last = missed,
            }
        }
        Err(last)
    }
}

async fn ask(sentinel: &Endpoint, name: &str) -> Result<Option<Address>, Missed> {
    let mut guest = Guest::open(sentinel, CLIENT_NAME, ANSWER).await?;
    let command = Command::new(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]);
    let reply = guest.ask(&[command]).await?.pop();
    let words: Vec<String> = reply
        .transpose()?
        .map(crate::server::elements)
        .unwrap_or_default()
        .iter()
        .filter_map(|word| text(word).ok())
        .collect();
    let [host, port] = words.as_slice() else { return Ok(None) };
    Ok(port.parse().ok().map(|port| Address { host: host.clone(), port }))
}
