use super::*;

fn dated(text: &str) -> Dated {
    serde_json::from_str(text).unwrap()
}

fn handover(back: bool) -> Dated {
    handover_of("s", back)
}

fn handover_of(source: &str, back: bool) -> Dated {
    let ports = r#"{"plain":1,"tls":0}"#;
    dated(&format!(
        r#"{{"at":10,"record":"handover","source":"{source}","target":"t","back":{back},"home":{ports},"public":{ports},"aside":{ports},"from":{ports}}}"#
    ))
}

fn record(name: &str) -> Dated {
    dated(&format!(r#"{{"at":11,"record":"{name}"}}"#))
}

fn told(records: &[Dated], lines: &[&str]) -> Account {
    let lines: Vec<Line> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    account("a:1", "b:2", records, &lines)
}

fn begin(step: &str) -> String {
    format!(
        r#"{{"time":1,"call":"c","line":"begin","step":"{step}","version":"0","source":"a:1","target":"b:2","controller":"h","pid":1}}"#
    )
}

#[test]
fn the_journal_has_the_last_word() {
    let outcome = |records: &[Dated]| told(records, &[]).outcome;
    let retired = || dated(r#"{"at":12,"record":"retired","run_id":"s"}"#);
    assert_eq!(outcome(&[]), Outcome::Nothing);
    assert_eq!(outcome(&[handover(false)]), Outcome::Interrupted);
    assert_eq!(outcome(&[handover(false), record("undone")]), Outcome::Undone);
    assert_eq!(outcome(&[handover(false), record("promoted")]), Outcome::Switched);
    assert_eq!(outcome(&[handover(false), record("promoted"), retired()]), Outcome::Retired);
    let back = [handover(false), record("promoted"), handover(true), record("promoted")];
    assert_eq!(outcome(&back), Outcome::RolledBack);
    // A way back that was taken back: the handover before it stands.
    let undone = [handover(false), record("promoted"), handover(true), record("undone")];
    assert_eq!(outcome(&undone), Outcome::Switched);
}

#[test]
fn a_call_without_an_end_is_interrupted_unless_it_only_looks() {
    assert_eq!(told(&[], &[&begin("replicate")]).outcome, Outcome::Interrupted);
    let done = r#"{"time":2,"call":"c","line":"end","outcome":"done","result":{"changed":true}}"#;
    let looks = begin("verify").replace(r#""c""#, r#""d""#);
    assert_eq!(told(&[], &[&begin("replicate"), done, &looks]).outcome, Outcome::Following);
}

#[test]
fn a_setting_stands_until_it_is_restored_or_its_server_is_gone() {
    let raised = dated(r#"{"at":1,"record":"raised","run_id":"s","parameter":"p","original":"1"}"#);
    let again = dated(r#"{"at":2,"record":"raised","run_id":"s","parameter":"p","original":"2"}"#);
    let restored = dated(r#"{"at":3,"record":"restored","run_id":"s","parameter":"p"}"#);
    let stands = |records: &[Dated]| settings(records).iter().filter(|setting| setting.stands()).count();
    let [one] = &*settings(&[raised.clone(), again.clone(), handover(false)]) else { panic!() };
    assert_eq!((one.original.as_deref(), &*one.server, one.stands()), (Some("1"), "source", true));
    assert_eq!(stands(&[raised.clone(), restored.clone()]), 0);
    assert_eq!(stands(&[raised.clone(), restored, again]), 1);
    assert_eq!(stands(&[raised.clone(), dated(r#"{"at":4,"record":"retired","run_id":"s"}"#)]), 0);
    // Restarted, it is raised again by another run id, and is the same server.
    let anew = dated(r#"{"at":5,"record":"raised","run_id":"r","parameter":"p","original":"1"}"#);
    assert_eq!(stands(&[raised, handover(false), handover_of("r", false), anew]), 1);
}

#[test]
fn what_comes_from_servers_is_escaped() {
    let warning =
        r#"{"time":1,"call":"c","line":"event","event":{"event":"warning","warning":"<script>alert(1)</script>"}}"#;
    let bucket = r#"{"time":1,"call":"c","line":"event","event":{"event":"probe","since":1,"until":2,"reads":1,"writes":1,"errors":{"<b>":1},"median_us":1,"max_us":1,"longest_gap_us":1}}"#;
    let html = page(&told(&[], &[&begin("upgrade"), warning, bucket])).unwrap();
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script") && !html.contains("<b>"), "{html}");
}

#[test]
fn nothing_makes_a_page_too() {
    let html = page(&told(&[], &[])).unwrap();
    assert!(html.contains("Nothing was done") && !html.contains("<svg"));
}
