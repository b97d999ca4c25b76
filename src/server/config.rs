//! Runtime parameters: reading them, and raising them for a while with the original on record.

use std::{collections::BTreeMap, time::Duration};

use redis::Value;

use super::{Command, Server, elements, info::Version, text};
use crate::{
    error::{Code, Error, Result, State},
    journal::{Journal, Raised, Record},
    run::Deadline,
};

/// Parameters whose value is a secret: it appears in no action, no event and no journal.
const SECRETS: [&str; 6] =
    ["requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass", "sentinel-pass"];

/// A replica that has just linked counts with its first acknowledgement: it sends one a second.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);

/// Below that many replicas a master refuses writes.
pub const MIN_REPLICAS: &str = "min-replicas-to-write";

/// Whom Sentinel chooses: the lowest, and never 0.
pub const PRIORITY: &str = "replica-priority";

/// The port at which its master, and so Sentinel, lists a replica; 0 for the one it listens on when it links.
pub const ANNOUNCED: &str = "replica-announce-port";

/// A login that no server knows. A replica that has it as `masteruser` and `masterauth` stays linked for as long as its
/// link lives, and can't link again by itself.
pub const FUSE: &str = "redis-baton-fuse";
/// From which version on one command reads or sets several parameters: all of them, or none.
pub const SEVERAL_AT_ONCE: Version = Version(7, 0, 0);

/// Whether a parameter's value must not be shown.
pub fn is_secret(parameter: &str) -> bool {
    SECRETS.iter().any(|secret| parameter.eq_ignore_ascii_case(secret))
}

impl Server {
    /// The present values of these parameters; those the server does not know are left out.
    pub async fn config(&self, parameters: &[&str]) -> Result<BTreeMap<String, String>> {
        // One GET a parameter in one go: several patterns in one command came with 7.0.
        let commands: Vec<_> = parameters.iter().map(|p| Command::new(["CONFIG", "GET", p])).collect();
        let mut values = BTreeMap::new();
        for (command, reply) in commands.iter().zip(self.pipeline(&commands).await?) {
            values.extend(named(reply.map_err(|said| self.refused(command, &said))?)?);
        }
        Ok(values)
    }

    /// The same by one command: of any number of parameters, from a server before 7.0 of all there are.
    pub async fn config_at_once(&self, parameters: &[String]) -> Result<BTreeMap<String, String>> {
        if parameters.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked = Command::new(["CONFIG", "GET"]);
        let command = match self.identity.has_redis(SEVERAL_AT_ONCE) {
            true => parameters.iter().fold(asked, Command::word),
            false => asked.word("*"),
        };
        named(self.read(&command).await?)
    }

    /// Sets a parameter for as long as the upgrade lasts. Its present value goes into the journal first, so that
    /// whoever comes later can restore it. Nothing is sent where it has the value already.
    pub async fn raise(&self, journal: &Journal, parameter: &str, value: &str) -> Result<()> {
        let present = self.config(&[parameter]).await?.remove(parameter).ok_or_else(|| {
            Error::new(Code::CommandFailed, format!("does not know the parameter {parameter}")).at(self)
        })?;
        if present == value {
            return Ok(());
        }
        if !self.run.dry {
            let known = self.raised(journal)?.into_iter().find(|known| known.parameter == parameter);
            if let Some(known) = known.filter(|known| is_another(&present, known)) {
                // What somebody else has set since is what it goes back to.
                known.restored().try_for_each(|record| journal.append(&record))?;
            }
            journal.append(&Record::Raised {
                run_id: self.identity.run_id.clone(),
                parameter: parameter.to_owned(),
                original: original(parameter, present),
                value: Some(value.to_owned()).filter(|_| !is_secret(parameter)),
            })?;
        }
        self.change(&Command::config_set(parameter, value)).await
    }

    /// Puts back what [`Server::raise`] has raised on this server, in this call or an earlier one: all of it, or
    /// the parameters named, what was raised last first. What can't be put back is a warning, and so is what somebody else has
    /// set to another value since: that is left as it is.
    pub async fn restore(&self, journal: &Journal, only: Option<&[&str]>) -> Result<()> {
        self.set_back(journal, only).await?.iter().try_for_each(|record| journal.append(record))
    }

    /// The same where the configuration file has what was raised: only when that is saved too does it count as restored,
    /// or a server that dies in between comes back with it. Returns the records to append then.
    pub async fn set_back(&self, journal: &Journal, only: Option<&[&str]>) -> Result<Vec<Record>> {
        let _shield = self.run.shield();
        let mut restored = Vec::new();
        for raised in self.raised(journal)?.into_iter().rev() {
            let Raised { parameter, original, .. } = &raised;
            if only.is_some_and(|only| !only.contains(&parameter.as_str())) {
                continue;
            }
            let Some(original) = original else {
                self.run.warn(format!("{self}: the earlier value of {parameter} is a secret and was not written down"));
                continue;
            };
            let present = self.config(&[parameter]).await?.remove(parameter);
            if let Some(present) = present.as_deref().filter(|present| is_another(present, &raised)) {
                self.run.warn(format!(
                    "{self}: {parameter} stays {present}, which is neither what it was nor what this upgrade has set"
                ));
            } else if parameter == MIN_REPLICAS && !self.has_replicas(original).await? {
                self.run.warn(format!(
                    "{self}: {parameter} stays 0 until {original} replicas follow; it would refuse all writes"
                ));
                continue;
            } else if present.as_ref() != Some(original) {
                self.change(&Command::config_set(parameter, original))
                    .await
                    .map_err(|e| e.state(State::Interrupted))?;
            }
            restored.extend(raised.restored());
        }
        Ok(if self.run.dry { Vec::new() } else { restored })
    }

    /// What is raised on this server, under whichever run id it had then, in the order in which it was.
    pub fn raised(&self, journal: &Journal) -> Result<Vec<Raised>> {
        let mut all: Vec<Raised> = Vec::new();
        // What it had before it was restarted is what it had first.
        let run_ids: Vec<&String> = self.run_ids().collect();
        for run_id in run_ids.into_iter().rev() {
            for raised in journal.raised(run_id)? {
                match all.iter_mut().find(|known| known.parameter == raised.parameter) {
                    Some(known) => {
                        known.run_ids.extend(raised.run_ids);
                        known.values.extend(raised.values);
                    }
                    None => all.push(raised),
                }
            }
        }
        Ok(all)
    }

    /// Whether so many replicas follow this master that it may take writes again with the value that
    /// `min-replicas-to-write` had.
    async fn has_replicas(&self, wanted: &str) -> Result<bool> {
        let wanted: usize = wanted.parse().unwrap_or_default();
        let deadline = Deadline::after(ACKNOWLEDGED_WITHIN);
        loop {
            let replicas = self.replication().await?.replicas;
            let enough = replicas.iter().filter(|replica| replica.state == "online").count() >= wanted;
            if enough || deadline.passed() || self.run.dry {
                return Ok(enough);
            }
            self.run.sleep(Duration::from_millis(20)).await?;
        }
    }
}

/// Whether somebody else has set a raised parameter to this: it is neither what it was nor what it was raised to. Not where
/// that can't be told: of a secret, and of several words, which a server puts in its own way. A fuse is nobody's wish.
pub fn is_another(present: &str, raised: &Raised) -> bool {
    let known = |value: &Option<String>| {
        value.as_deref().is_none_or(|value| value.contains(' ') || value.eq_ignore_ascii_case(present))
    };
    present != FUSE && !known(&raised.original) && !raised.values.iter().any(known)
}

/// What is written down of the value that a parameter had. A secret is not; where there was none, that is no secret.
/// A fuse that an earlier upgrade has left in a configuration file is nobody's wish.
fn original(parameter: &str, present: String) -> Option<String> {
    match present.as_str() {
        FUSE => Some(String::new()),
        "" => Some(present),
        _ => Some(present).filter(|_| !is_secret(parameter)),
    }
}

/// The reply to `CONFIG GET`, and to whatever else names its values.
pub fn named(reply: Value) -> Result<BTreeMap<String, String>> {
    let words: Vec<String> = match reply {
        Value::Map(pairs) => pairs.iter().flat_map(|(k, v)| [k, v]).map(text).collect::<Result<_>>()?,
        other => elements(other).iter().map(text).collect::<Result<_>>()?,
    };
    Ok(words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_has_set_is_told_from_what_was_raised() {
        let known = |original: Option<&str>, values: &[Option<&str>]| Raised {
            run_ids: vec!["r".into()],
            parameter: "p".into(),
            original: original.map(Into::into),
            values: values.iter().map(|value| value.map(Into::into)).collect(),
        };
        let raised = known(Some("100"), &[Some("200"), Some("300")]);
        // Whether it came to the last one before a crash is not known.
        assert_eq!(
            ["100", "200", "300", "400"].map(|present| is_another(present, &raised)),
            [false, false, false, true]
        );
        assert!(!is_another("400", &known(None, &[Some("200")])));
        assert!(!is_another("400", &known(Some("100"), &[None])));
        assert!(!is_another(
            "normal 0 0 0 slave 1 0 0",
            &known(Some("normal 0 0 0 slave 0 0 0"), &[Some("replica 1 0 0")])
        ));
        assert!(!is_another("yes", &known(Some("Yes"), &[Some("no")])));
        assert!(!is_another(FUSE, &known(Some(""), &[Some("repl")])));
    }

    #[test]
    fn neither_a_secret_nor_a_fuse_is_written_down() {
        assert_eq!(original("masterauth", "hunter2".into()), None);
        assert_eq!(original("masterauth", String::new()), Some(String::new()));
        assert_eq!(original("masterauth", FUSE.into()), Some(String::new()));
        assert_eq!(original("masteruser", FUSE.into()), Some(String::new()));
        assert_eq!(original("masteruser", "replication".into()), Some("replication".into()));
    }
}
