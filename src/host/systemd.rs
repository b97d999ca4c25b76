//! Units of systemd.

use std::time::Duration;

use super::{BRIEFLY, ask, process::Said};
use crate::error::{Code, Error, Result};

/// How a unit is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// Whether systemd knows it.
    pub loaded: bool,
    /// `active`, `inactive`, `failed` and so on.
    pub active: String,
    /// What systemd says of it: `active/sub, result`.
    pub state: String,
    /// The user it runs as; none for root.
    pub user: Option<String>,
    /// Whether it comes up with the host.
    pub enabled: bool,
    /// Its own limit of memory, in bytes.
    pub memory_max: Option<u64>,
}

impl Unit {
    /// Whether it runs, or is about to.
    pub fn runs(&self) -> bool {
        ["active", "activating", "reloading"].contains(&self.active.as_str())
    }
}

/// Looks at a unit.
pub async fn look(unit: &str) -> Result<Unit> {
    const ASKED: &str = "--property=LoadState,UnitFileState,ActiveState,SubState,Result,User,MemoryMax";
    if unit.is_empty() || unit.starts_with('-') || unit.contains(char::is_whitespace) {
        return Err(Error::input("unit", format!("{unit:?} is no name of a unit")));
    }
    let output = ask("systemctl", &["show", ASKED, "--", unit], BRIEFLY).await;
    match output {
        Ok(output) if output.status.success() => Ok(parse(&String::from_utf8_lossy(&output.stdout))),
        Ok(output) => Err(no_systemd(&String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(no_systemd(&error.to_string())),
    }
}

/// Starts or stops a unit; none where systemd says that it is done, else what it says.
pub async fn tell(order: &str, unit: &str, within: Duration) -> Option<String> {
    match ask("systemctl", &[order, "--", unit], within).await {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(one_line(&String::from_utf8_lossy(&output.stderr))),
        Err(error) => Some(error.to_string()),
    }
}

/// What the processes of a unit have said to the journal since then, in seconds since 1970.
pub async fn said(unit: &str, since: u64) -> Said {
    let kind = if unit.contains('.') { "" } else { ".service" };
    let (whose, since) = (format!("_SYSTEMD_UNIT={unit}{kind}"), format!("--since=@{since}"));
    let asked = ["--quiet", "--no-pager", "--output=cat", "--lines=50", &since, &whose];
    let output = ask("journalctl", &asked, BRIEFLY).await;
    Said::of(&output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default())
}

fn parse(text: &str) -> Unit {
    let field = |name: &str| {
        let lines = text.lines();
        lines.filter_map(|line| line.split_once('=')).find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    };
    Unit {
        loaded: field("LoadState") == "loaded",
        active: field("ActiveState").to_owned(),
        enabled: field("UnitFileState").starts_with("enabled"),
        state: format!("{}/{}, result {}", field("ActiveState"), field("SubState"), field("Result")),
        user: Some(field("User").to_owned()).filter(|user| !user.is_empty()),
        memory_max: field("MemoryMax").parse().ok().filter(|bytes| *bytes != u64::MAX),
    }
}

fn no_systemd(said: &str) -> Error {
    Error::new(Code::HostDenied, format!("systemd can't be asked on this host: {}", one_line(said)))
        .remedy("leave unit out, or run this where systemd runs, as root")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read() {
        let text = "LoadState=loaded\nUnitFileState=enabled\nActiveState=failed\nSubState=failed\nResult=exit-code\n\
            User=redis\nMemoryMax=infinity\n";
        let unit = parse(text);
        assert!(unit.loaded && unit.enabled && unit.memory_max.is_none() && unit.user.as_deref() == Some("redis"));
        assert_eq!((unit.active.as_str(), unit.state.as_str()), ("failed", "failed/failed, result exit-code"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_name_is_no_option() {
        assert_eq!(look("--help").await.unwrap_err().code, Code::InvalidInput);
    }
}
