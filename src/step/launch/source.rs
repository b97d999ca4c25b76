//! What the source is like now: what its successor is to be like.

use std::path::{Path, PathBuf};

use crate::{
    decide::carry::Values,
    error::{Code, Error, Result},
    host,
    pair::Pair,
    server::{
        Command, Server,
        acl::{Users, to_carry},
        config::is_another,
        elements,
        info::{Identity, Info, Version},
        text,
    },
};

/// Commands that every server has, and that operators rename.
const OFTEN_RENAMED: [&str; 14] = [
    "config",
    "flushall",
    "flushdb",
    "keys",
    "debug",
    "shutdown",
    "eval",
    "save",
    "bgsave",
    "bgrewriteaof",
    "monitor",
    "replicaof",
    "client",
    "script",
];

/// The source as it runs.
pub(super) struct Live {
    /// Its parameters; of one that is raised for the upgrade the value it had before.
    pub values: Values,
    /// Where its files are.
    pub directory: String,
    /// Whether it has its users in a file of their own.
    pub has_acl_file: bool,
    /// Modules that were loaded from a file: path and arguments.
    pub modules: Vec<String>,
    users: Users,
    has_channels: bool,
}

/// The program to run: the one given, or the source's own.
pub(super) fn program(source: &Server, given: Option<&Path>, info: &Info) -> Result<PathBuf> {
    if let Some(path) = given {
        return host::program(path);
    }
    match info.get("executable").filter(|path| path.starts_with('/')) {
        Some(path) => host::program(Path::new(path)).map_err(|e| e.at(source)),
        None => Err(Error::new(Code::ProgramUnusable, "does not say which program it runs").at(source))
            .map_err(|e| e.remedy("give program")),
    }
}

/// Reads it.
pub(super) async fn read(pair: &Pair, source: &Server) -> Result<Live> {
    let mut values = source.config(&["*"]).await.map_err(|e| match e.code {
        Code::CommandFailed | Code::PermissionDenied => e.remedy(
            "its live configuration can only be read with CONFIG GET: give a user who may, and do not rename it",
        ),
        _ => e,
    })?;
    for raised in source.raised(&pair.journal)? {
        if values.get(&raised.parameter).is_none_or(|present| !is_another(present, &raised)) {
            // A secret was not written down; what is there now is of no use to anybody else.
            values.insert(raised.parameter, raised.original.unwrap_or_default());
        }
    }
    let users = match source.users().await {
        Ok(users) => users,
        Err(error) if error.code == Code::PermissionDenied => {
            source.run.warn(format!("ACL users were not carried: {error}"));
            Users::new()
        }
        Err(error) => return Err(error),
    };
    warn_of_renamed(source).await?;
    let of = |name: &str| values.get(name).cloned().unwrap_or_default();
    Ok(Live {
        directory: of("dir"),
        has_acl_file: !of("aclfile").is_empty(),
        modules: modules(source).await?,
        users,
        has_channels: source.identity.has_redis(Version(6, 2, 0)),
        values,
    })
}

impl Live {
    /// Its users as a server of that version has them.
    pub fn users_for(&self, identity: &Identity) -> Users {
        let add_channels = !self.has_channels && identity.has_redis(Version(6, 2, 0));
        to_carry(&self.users, &Users::new(), add_channels)
    }
}

/// Renamed commands can't be read back: `rename-command` shows in no `CONFIG GET`.
async fn warn_of_renamed(source: &Server) -> Result<()> {
    let command = Command::new(["COMMAND", "INFO"].into_iter().chain(OFTEN_RENAMED));
    let Ok(known) = source.ask(&command).await? else { return Ok(()) };
    let gone = OFTEN_RENAMED.iter().zip(elements(known)).filter(|(_, about)| elements(about.clone()).is_empty());
    let gone: Vec<_> = gone.map(|(name, _)| *name).collect();
    if !gone.is_empty() {
        source.run.warn(format!(
            "{source}: lacks the commands {}: if they were renamed or disabled, say so with rename-command in parameters",
            gone.join(", ")
        ));
    }
    Ok(())
}

/// The modules as `loadmodule` has them. Built-in ones have no file.
async fn modules(source: &Server) -> Result<Vec<String>> {
    let Ok(list) = source.ask(&Command::new(["MODULE", "LIST"])).await? else { return Ok(Vec::new()) };
    let mut lines = Vec::new();
    for module in elements(list) {
        let fields = match module {
            redis::Value::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
            other => elements(other),
        };
        let field = |name: &str| fields.chunks(2).find(|pair| text(&pair[0]).is_ok_and(|n| n == name))?.get(1).cloned();
        let word = |name: &str| field(name).and_then(|value| text(&value).ok());
        match word("path") {
            Some(path) if path.contains('/') => {
                let arguments = elements(field("args").unwrap_or(redis::Value::Nil));
                let words = std::iter::once(Ok(path)).chain(arguments.iter().map(text));
                lines.push(words.collect::<Result<Vec<_>>>()?.join(" "));
            }
            Some(_) => {}
            None => {
                let name = word("name").unwrap_or_default();
                source.run.warn(format!(
                    "{source}: does not say where its module {name} was loaded from (7.0): give loadmodule in parameters"
                ));
            }
        }
    }
    Ok(lines)
}
