use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    pause: Duration::from_millis(1000),
    drain: Duration::from_millis(500),
    patience: Duration::from_millis(1000),
};

fn at(offset: u64) -> Seen {
    Seen::Position(Outcome::Done(Position { offset, keyspace: Keyspace::new() }))
}

fn role(master: bool, offset: u64) -> Seen {
    Seen::Role(Outcome::Done(Changed { master, offset, port_refused: None }))
}

/// Tells the machine what was seen, a millisecond apart.
fn play(machine: &mut Machine, seen: impl IntoIterator<Item = Seen>) -> Next {
    for (n, seen) in seen.into_iter().enumerate() {
        let now = Duration::from_millis(n as u64);
        machine.saw(seen, now, now);
    }
    machine.next().clone()
}

#[test]
fn the_plain_way() {
    let mut machine = Machine::new(LIMITS, Way::Reversible);
    assert_eq!(play(&mut machine, [at(10), at(9)]), Next::Poll);
    assert_eq!(play(&mut machine, [at(10)]), Next::Demote);
    assert_eq!(play(&mut machine, [role(false, 10)]), Next::Promote);
    assert_eq!(play(&mut machine, [role(true, 10)]), Next::Stop(End::Switched));
}

#[test]
fn clients_are_held_before_the_demotion_or_all_is_as_before() {
    let held = |outcome| Seen::Held(outcome);
    let ready = || {
        let mut machine = Machine::new(LIMITS, Way::Reversible).holding(true);
        assert_eq!(play(&mut machine, [at(10), at(10)]), Next::Hold);
        machine
    };
    assert_eq!(play(&mut ready(), [held(Outcome::Done(()))]), Next::Demote);
    let mut refused = ready();
    assert_eq!(play(&mut refused, [held(Outcome::Refused("no".into()))]), Next::Release);
    let end = End::Unchanged(Why::NotHeld("no".into()));
    assert_eq!(play(&mut refused, [Seen::Released(true)]), Next::Stop(end));
    let mut late = ready();
    late.saw(held(Outcome::Done(())), Duration::ZERO, LIMITS.pause);
    assert_eq!(late.next(), &Next::Release);
    let mut fenced = Machine::new(LIMITS, Way::Fenced).holding(true);
    assert_eq!(play(&mut fenced, [at(10), at(10), held(Outcome::Done(()))]), Next::Fence);
}

#[test]
fn a_write_after_a_pause_that_ran_out_is_waited_for() {
    let mut machine = Machine::new(LIMITS, Way::Reversible);
    assert_eq!(play(&mut machine, [at(10), at(10), role(false, 25)]), Next::Poll);
    assert_eq!(play(&mut machine, [at(24)]), Next::Poll);
    assert_eq!(play(&mut machine, [at(25)]), Next::Promote);
}

#[test]
fn a_target_that_never_gets_it_is_not_promoted() {
    let mut machine = Machine::new(LIMITS, Way::Reversible);
    play(&mut machine, [at(10), at(10), role(false, 25)]);
    machine.saw(at(24), Duration::ZERO, Duration::from_secs(5));
    assert_eq!(machine.next(), &Next::Undo);
    assert_eq!(play(&mut machine, [role(true, 25)]), Next::Stop(End::Undone(Why::Behind(1))));
}

#[test]
fn different_counts_at_the_same_offset_end_the_pause() {
    let mut machine = Machine::new(LIMITS, Way::Reversible);
    let counts = Keyspace::from([(0, crate::server::info::Counts { keys: 1, expires: 0 })]);
    let paused = Seen::Position(Outcome::Done(Position { offset: 5, keyspace: counts }));
    assert_eq!(play(&mut machine, [paused, at(5)]), Next::Release);
    assert_eq!(play(&mut machine, [Seen::Released(true)]), Next::Stop(End::Unchanged(Why::CountsDiffer)));
}

#[test]
fn a_source_that_dies_with_writes_of_its_own_is_reported() {
    let mut machine = Machine::new(LIMITS, Way::Reversible);
    assert_eq!(play(&mut machine, [at(10), at(7), Seen::Position(Outcome::Lost)]), Next::Release);
    assert_eq!(play(&mut machine, [Seen::Released(false)]), Next::Stop(End::SourceGone { missing: 3 }));
}

#[test]
fn a_source_whose_first_connection_is_lost_is_not_gone() {
    let mut machine = Machine::new(LIMITS, Way::Reversible);
    assert_eq!(play(&mut machine, [at(10), at(10), Seen::Role(Outcome::Lost)]), Next::AskSource);
    assert_eq!(play(&mut machine, [role(true, 10)]), Next::Release);
    let unchanged = Next::Stop(End::Unchanged(Why::SourceSilent));
    assert_eq!(play(&mut machine, [Seen::Released(false)]), unchanged);
}

#[test]
fn a_source_before_6_2_is_shut_down_before_the_promotion() {
    let mut machine = Machine::new(LIMITS, Way::Fenced);
    assert_eq!(play(&mut machine, [at(10), at(10)]), Next::Fence);
    assert_eq!(play(&mut machine, [at(12)]), Next::Poll);
    assert_eq!(play(&mut machine, [at(12)]), Next::ShutDown);
    assert_eq!(play(&mut machine, [Seen::ShutDown(Outcome::Done(()))]), Next::Promote);
    let refused = Seen::Role(Outcome::Refused("no".into()));
    assert_eq!(play(&mut machine, [refused]), Next::Stop(End::HalfDone(Why::TargetRefused("no".into()))));
}

#[test]
fn a_source_whose_pause_is_over_serves_on() {
    let mut machine = Machine::new(LIMITS, Way::Fenced);
    play(&mut machine, [at(10), at(10), at(10)]);
    let over = "the pause was over".to_owned();
    assert_eq!(play(&mut machine, [Seen::ShutDown(Outcome::Refused(over.clone()))]), Next::Release);
    let end = End::Unchanged(Why::SourceRefused(over));
    assert_eq!(play(&mut machine, [Seen::Released(true)]), Next::Stop(end));
}

#[test]
fn a_lost_promotion_is_never_undone() {
    let mut machine = Machine::new(LIMITS, Way::Reversible);
    play(&mut machine, [at(1), at(1), role(false, 1)]);
    machine.saw(Seen::Role(Outcome::Lost), Duration::ZERO, Duration::from_millis(5));
    assert_eq!(machine.next(), &Next::AskTarget);
    machine.saw(Seen::Role(Outcome::Lost), Duration::ZERO, Duration::from_secs(60));
    assert_eq!(machine.next(), &Next::Stop(End::HalfDone(Why::TargetSilent)));
}

fn any_seen() -> impl Strategy<Value = Seen> {
    let outcome = prop_oneof![Just(0), Just(1), Just(2)];
    (0..4u64, any::<bool>(), any::<bool>(), outcome, 0..5u8).prop_map(|(offset, master, port, outcome, kind)| {
        let changed = Changed { master, offset, port_refused: port.then(|| "taken".to_owned()) };
        let position = Position { offset, keyspace: Keyspace::new() };
        match (kind, outcome) {
            (0, 0) => Seen::Position(Outcome::Done(position)),
            (0, 1) => Seen::Position(Outcome::Refused("no".into())),
            (0, _) => Seen::Position(Outcome::Lost),
            (1, 0) => Seen::Role(Outcome::Done(changed)),
            (1, 1) => Seen::Role(Outcome::Refused("no".into())),
            (1, _) => Seen::Role(Outcome::Lost),
            (2, 0) => Seen::ShutDown(Outcome::Done(())),
            (2, 1) => Seen::ShutDown(Outcome::Refused("no".into())),
            (2, _) => Seen::ShutDown(Outcome::Lost),
            (4, 0) => Seen::Held(Outcome::Done(())),
            (4, 1) => Seen::Held(Outcome::Refused("no".into())),
            (4, _) => Seen::Held(Outcome::Lost),
            _ => Seen::Released(port),
        }
    })
}

fn any_way() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::Reversible), Just(Way::Fenced)]
}

proptest! {
    /// Whatever is seen in whatever order: the target is promoted only after a demotion or a shutdown was seen, a
    /// source is shut down only after the fence, each only when the target has reached it; and a source that was shut
    /// down is not made master again.
    #[test]
    fn promotion_only_after_demotion(way in any_way(), holds: bool, story in prop::collection::vec((any_seen(), 0..700u64), 0..40)) {
        let mut machine = Machine::new(LIMITS, way).holding(holds);
        let mut now = Duration::ZERO;
        for (seen, wait) in story {
            let began = now;
            now += Duration::from_millis(wait);
            machine.saw(seen, began, now);
            if matches!(machine.next(), Next::Promote | Next::ShutDown) {
                prop_assert!(machine.reached >= machine.source.offset);
                prop_assert!(machine.demoted || *machine.next() == Next::ShutDown && machine.fenced);
            }
            prop_assert!(!(way == Way::Fenced && *machine.next() == Next::Undo));
        }
    }
}
