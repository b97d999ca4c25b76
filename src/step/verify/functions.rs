//! Libraries of functions (7.0): which there are, and their code.

use std::{collections::BTreeMap, time::Duration};

use redis::Value;

use super::{Comparison, typed::CATCH_UP_WITHIN};
use crate::{
    error::Result,
    pair::Pair,
    run::Deadline,
    server::{Command, Server, elements, text},
};

/// Between two looks at a replica that may not have all of them yet.
const BREATH: Duration = Duration::from_millis(50);

/// The code of each library by its name.
type Libraries = BTreeMap<String, String>;

/// Compares those of both. They are few, and seldom change.
pub(super) async fn compare(pair: &Pair, master: &Server, replica: &Server, seen: &mut Comparison) -> Result<()> {
    if pair.run.dry {
        return Ok(());
    }
    let deadline = Deadline::after(CATCH_UP_WITHIN);
    loop {
        let (Some(there), Some(here)) = tokio::try_join!(libraries(master), libraries(replica))? else {
            seen.can_not_compare("libraries of functions, which this account may not list", 1);
            return Ok(());
        };
        let different = differences(&there, &here);
        if different.is_empty() || deadline.passed() {
            seen.differing += different.len() as u64;
            seen.differences.extend(different);
            return Ok(());
        }
        pair.run.sleep(BREATH).await?;
    }
}

/// Those of a server; none where it does not say. One that knows no functions has no libraries.
async fn libraries(server: &Server) -> Result<Option<Libraries>> {
    let command = Command::new(["FUNCTION", "LIST", "WITHCODE"]);
    match server.ask(&command).await? {
        Ok(listed) => Ok(Some(elements(listed).into_iter().filter_map(library).collect())),
        Err(said) if said.text.contains("unknown command") => Ok(Some(Libraries::new())),
        Err(said) if said.text.contains("NOPERM") => Ok(None),
        Err(said) => Err(server.refused(&command, &said)),
    }
}

fn library(listed: Value) -> Option<(String, String)> {
    let fields: Vec<(Value, Value)> = match listed {
        Value::Map(fields) => fields,
        other => elements(other).chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
    };
    let field = |wanted: &str| {
        let found = fields.iter().find(|(name, _)| text(name).is_ok_and(|name| name == wanted));
        found.and_then(|(_, value)| text(value).ok())
    };
    Some((field("library_name")?, field("library_code")?))
}

fn differences(there: &Libraries, here: &Libraries) -> Vec<String> {
    let changed = there.iter().filter_map(|(name, code)| match here.get(name) {
        None => Some(format!("library {name:?} of functions: only on the master")),
        Some(other) if other != code => Some(format!("library {name:?} of functions: its code is another one")),
        Some(_) => None,
    });
    let added = here.keys().filter(|name| !there.contains_key(*name));
    changed.chain(added.map(|name| format!("library {name:?} of functions: only on the replica"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_differ_by_name_and_code() {
        let of = |all: &[(&str, &str)]| all.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect();
        let there: Libraries = of(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let here: Libraries = of(&[("a", "1"), ("b", "2"), ("d", "1")]);
        assert!(differences(&there, &there).is_empty());
        let found = differences(&there, &here);
        let about: Vec<_> = found.iter().map(|line| line.split(' ').nth(1).unwrap_or_default()).collect();
        assert_eq!(about, ["\"b\"", "\"c\"", "\"d\""]);
    }
}
