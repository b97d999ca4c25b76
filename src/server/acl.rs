//! ACL users: read as rules with hashed passwords, never as plain text.

use std::collections::BTreeMap;

use redis::Value;

use super::{Command, Server, elements, text};
use crate::error::{Code, Error, Result};

/// Users and their rules, as `ACL LIST` prints them (passwords as `#sha256`).
pub type Users = BTreeMap<String, Vec<String>>;

impl Server {
    /// The server's ACL users.
    pub async fn users(&self) -> Result<Users> {
        let lines = elements(self.read(&Command::new(["ACL", "LIST"])).await?);
        lines.iter().map(|line| parse(&text(line)?).ok_or_else(|| unreadable(self))).collect()
    }

    /// Makes a user of this name have exactly these rules.
    pub async fn set_user(&self, name: &str, rules: &[String]) -> Result<()> {
        let command = Command::new(["ACL", "SETUSER", name, "reset"]);
        let command =
            rules.iter().fold(
                command,
                |command, rule| {
                    if rule.starts_with('#') { command.secret(rule) } else { command.word(rule) }
                },
            );
        self.change(&command).await
    }
}

/// A rule that a server does not take.
#[derive(Debug, PartialEq, Eq)]
pub struct RefusedRule {
    /// The user whose it is.
    pub user: String,
    /// What the server says; it names the rule.
    pub said: String,
}

impl Server {
    /// The first rule of these users that this server does not know, if there is one. Each user is tried under a name that
    /// is there for the length of one transaction, so nothing of it stays, whatever dies.
    pub async fn refused_rule(&self, users: &Users) -> Result<Option<RefusedRule>> {
        const TRIAL: &str = "redis-baton-trial";
        let trial = |rules: &[String]| {
            let command = Command::new(["ACL", "SETUSER", TRIAL, "reset"]);
            rules.iter().fold(command, |command, rule| command.secret(rule)).word("off")
        };
        let mut commands = vec![Command::new(["MULTI"])];
        commands.extend(users.values().map(|rules| trial(rules)));
        commands.extend([Command::new(["ACL", "DELUSER", TRIAL]), Command::new(["EXEC"])]);
        let mut replies = self.pipeline(&commands).await?;
        let executed = replies.pop().unwrap_or(Ok(Value::Nil));
        if let Some((command, said)) = commands.iter().zip(replies).find_map(|(c, reply)| Some((c, reply.err()?))) {
            return Err(self.refused(command, &said));
        }
        let executed = elements(executed.map_err(|said| self.refused(&commands[0], &said))?);
        let refused = users.iter().zip(executed).find_map(|((user, rules), reply)| {
            let text = super::said(reply).err()?.text;
            let why = text.trim_start_matches("ERR ").trim_start_matches("Error in ACL SETUSER modifier ");
            let hashes = rules.iter().filter(|rule| rule.starts_with(['#', '!', '>', '<']));
            Some(RefusedRule { user: user.clone(), said: hashes.fold(why.to_owned(), |why, h| why.replace(h, "***")) })
        });
        Ok(refused)
    }
}

impl RefusedRule {
    /// The error for that, about the server of that name.
    pub fn error(&self, server: &str) -> Error {
        Error::new(Code::UserRefused, format!("does not know a rule of the user {}: {}", self.user, self.said))
            .at(server)
            .remedy("change the rules of that user on the source to what both know")
    }
}

fn unreadable(server: &Server) -> Error {
    Error::new(Code::CommandFailed, "sent an ACL user that can't be read").at(server)
}

/// Reads `user NAME rule...`.
fn parse(line: &str) -> Option<(String, Vec<String>)> {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    words.next().filter(|word| *word == "user")?;
    let name = words.next()?.to_owned();
    // Said by some versions and left unsaid by others; it is the default of all.
    Some((name, words.filter(|word| *word != "sanitize-payload").map(str::to_owned).collect()))
}

/// The users to carry: those of the source that the target has not, or has with other rules.
///
/// Before 6.2 there were no channel rules and every user could use every channel; 6.2 and later print theirs.
pub fn to_carry(source: &Users, target: &Users, add_channels: bool) -> Users {
    let with_channels = source.iter().map(|(name, rules)| {
        let mut rules = rules.clone();
        if add_channels {
            rules.push("&*".into());
        }
        (name, rules)
    });
    with_channels
        .filter(|(name, rules)| target.get(*name).is_none_or(|present| sorted(present) != sorted(rules)))
        .map(|(name, rules)| (name.clone(), rules))
        .collect()
}

/// Flags, keys and channels come in another order from other versions. The order of command rules matters; they
/// are kept as one.
fn sorted(rules: &[String]) -> (Vec<&String>, Vec<&String>) {
    let (commands, mut others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.starts_with(['+', '-']));
    others.sort();
    (commands, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(lines: &[&str]) -> Users {
        lines.iter().map(|line| parse(line).unwrap()).collect()
    }

    #[test]
    fn equal_users_are_not_carried() {
        let source = users(&["user default on nopass sanitize-payload ~* &* +@all"]);
        let target = users(&["user default on nopass ~* &* +@all"]);
        assert!(to_carry(&source, &target, false).is_empty());
    }

    #[test]
    fn a_user_from_before_channel_rules_keeps_every_channel() {
        let source = users(&["user app on #ab ~* +@all"]);
        assert_eq!(to_carry(&source, &Users::new(), true)["app"].last().unwrap(), "&*");
    }

    #[test]
    fn the_order_of_command_rules_matters() {
        let source = users(&["user app on ~* &* +@all -flushall"]);
        let target = users(&["user app on ~* &* -flushall +@all"]);
        assert_eq!(to_carry(&source, &target, false).len(), 1);
    }
}
