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
        let servers = servers.iter().map(|(name, (ip, port), up)| (*name, ((*ip).to_owned(), *port), *up)).collect();
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
fn a_dry_run_shows_the_commands() {
    let [held, led] = front(&Proxy::one()).planned();
    assert_eq!(
        held,
        "set maxconn frontend be 0; set server be/redis state maint; set server be/redis addr 10.0.0.2 port 6380"
    );
    assert_eq!(led, "set server be/redis state ready; set maxconn frontend be 500");
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
