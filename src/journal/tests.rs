use super::*;

fn scratch(name: &str) -> Journal {
    let dir = std::env::temp_dir().join(format!("redis-baton-journal-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    Journal::of(Some(&dir), &Endpoint::default(), &Endpoint::default().with_port(7000)).unwrap()
}

fn raised(parameter: &str, original: &str) -> Record {
    let (parameter, original) = (parameter.to_owned(), Some(original.to_owned()));
    Record::Raised { run_id: "r".into(), parameter, original, value: Some("9".into()) }
}

#[test]
fn the_first_original_counts_until_it_is_restored() {
    let journal = scratch("raised");
    journal.append(&raised("a", "1")).unwrap();
    journal.append(&raised("a", "2")).unwrap();
    let known = journal.raised("r").unwrap();
    assert_eq!(known.iter().map(|raised| raised.original.as_deref()).collect::<Vec<_>>(), [Some("1")]);
    journal.append(&Record::Restored { run_id: "r".into(), parameter: "a".into() }).unwrap();
    assert!(journal.raised("r").unwrap().is_empty());
}

#[test]
fn a_line_cut_short_by_a_crash_is_passed_over() {
    let journal = scratch("cut");
    journal.append(&raised("a", "1")).unwrap();
    let mut file = OpenOptions::new().append(true).open(journal.path()).unwrap();
    // In the middle of a character, too.
    file.write_all("{\"record\":\"ü".as_bytes().split_last().unwrap().1).unwrap();
    assert_eq!(journal.records().unwrap().len(), 1);
    journal.append(&raised("b", "2")).unwrap();
    assert_eq!(journal.records().unwrap().len(), 2);
}

#[test]
fn a_switch_is_open_until_it_is_ended_on_the_same_process() {
    let journal = scratch("switch");
    let begun = |complete: &str| Record::Persisting { run_id: "r".into(), complete: complete.into() };
    let ended = |server: &str| Record::Persisted { run_id: server.into() };
    assert_eq!(journal.persisting("r").unwrap(), None);
    for record in [begun("rdb"), begun("both"), ended("another")] {
        journal.append(&record).unwrap();
    }
    assert_eq!(journal.persisting("r").unwrap().as_deref(), Some("both"));
    journal.append(&ended("r")).unwrap();
    assert_eq!(journal.persisting("r").unwrap(), None);
}

fn handover() -> Handover {
    Handover {
        source: "s".into(),
        target: "t".into(),
        back: false,
        source_config: String::new(),
        target_config: String::new(),
        replid: String::new(),
        home: Ports { plain: 1, tls: 0 },
        public: Ports { plain: 1, tls: 0 },
        aside: Ports { plain: 2, tls: 0 },
        from: Ports { plain: 3, tls: 0 },
        fenced: false,
        plan: Plan::default(),
    }
}

#[test]
fn a_handover_taken_back_stands_no_more() {
    let journal = scratch("handover");
    journal.append(&Record::Handover(handover())).unwrap();
    assert_eq!(journal.standing().unwrap(), (Some(handover()), 1));
    journal.note_undone(&handover(), 1).unwrap();
    assert_eq!(journal.standing().unwrap(), (None, 1));
}

#[test]
fn one_that_another_controller_has_begun_since_is_not_taken_back_for_it() {
    let journal = scratch("alike");
    journal.append(&Record::Handover(handover())).unwrap();
    journal.append(&Record::Handover(handover())).unwrap();
    journal.note_undone(&handover(), 1).unwrap();
    assert_eq!(journal.records().unwrap().len(), 2);
    journal.note_undone(&handover(), 2).unwrap();
    assert_eq!(journal.standing().unwrap(), (Some(handover()), 2));
    journal.note_undone(&Handover { back: true, ..handover() }, 2).unwrap();
    assert_eq!(journal.records().unwrap().len(), 3);
}
