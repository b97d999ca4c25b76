//! By which addresses a probe comes to the server that serves, as clients do.

use std::{sync::Arc, time::Duration};

use crate::{
    decide::sentinels::Address,
    endpoint::{Endpoint, Tls},
    pair::see,
    redirect::Redirect,
    run::Run,
    server::{
        Command,
        guest::{Guest, Missed},
        text,
    },
    side::Side,
    step::Call,
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

/// The ways that a client may take, the likeliest first. One that finds nobody, or nobody who takes writes, takes the next.
pub async fn ways(call: &Call, wish: &Wish, redirect: &Redirect, to: Side) -> Vec<Way> {
    let (source, target) = (&call.source, &call.target);
    match (wish, redirect) {
        (Wish::At(endpoint), _) => vec![way(dressed(endpoint, source))],
        (Wish::AsClients, Redirect::Sentinel(sentinels)) => {
            let (sentinels, name) = (sentinels.endpoints(), sentinels.name().to_owned());
            vec![Way::Named { sentinels, name, master: source.clone() }]
        }
        (Wish::AsClients, Redirect::Takeover | Redirect::Relay(_)) => {
            let public = public_beside_socket(call).await.map(way);
            [way(source.clone())].into_iter().chain(public).collect()
        }
        (Wish::AsClients, Redirect::Haproxy(_) | Redirect::None) => {
            if let Redirect::Haproxy(_) = redirect {
                call.run.warn(
                    "the probe does not know at what address HAProxy is, and goes to the servers themselves: give that as probe",
                );
            }
            let at_target = target.with_login_of(source);
            let mut ways = vec![way(source.clone()), way(at_target.clone())];
            if at_target != *target {
                ways.push(way(target.clone()));
            }
            if to == Side::Source {
                ways.rotate_left(1);
            }
            ways
        }
    }
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
    let looking = Call {
        run: Arc::new(Run::onlooker(CLIENT_NAME)),
        source: call.source.clone(),
        target: call.target.clone(),
        journal_dir: call.journal_dir.clone(),
        break_lock: false,
    };
    let pair = looking.find().await.ok()?;
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
