#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: persistence
short_description: Switch a Redis or Valkey between RDB, AOF, both or neither while it runs
version_added: 0.1.0
description:
  - Makes the server write an RDB file at save points, an AOF, both, or neither, without a restart.
  - What it wrote before stays on until the new files are complete and were checked. The
    configuration file never names a file that is not. So a crash at any moment loses no more than
    one before would have.
  - Writes do not wait for it, except for the time of a fork and of C(CONFIG REWRITE).
  - A disk that fails, or a fork that does, leaves the old way on.
author:
  - The redis-baton authors (@redis-baton)
options:
  mode:
    description:
      - What the server is to write.
      - V(rdb) is a dump at each save point, V(aof) every write in an append-only file. With
        V(both) a restart loads the AOF. With V(none) a restart loses the data, so it comes with
        a warning.
    type: str
    choices: [rdb, aof, both, none]
    required: true
  save:
    description:
      - Save points, as pairs of seconds and changes, for O(mode=rdb) and O(mode=both).
      - Without it those that the server has, or if it has none, those its version has by default.
    type: str
  appendfsync:
    description:
      - When the AOF is told to be on disk, for O(mode=aof) and O(mode=both). Without it, it is
        left as it is.
    type: str
    choices: [always, everysec, 'no']
  rewrite:
    description:
      - Whether the server writes all that is set on it to its configuration file (C(CONFIG
        REWRITE)), so that a restart keeps it.
      - A server without a configuration file is refused (V(no_config_file) as RV(ignore:reason))
        unless this is V(false).
    type: bool
    default: true
  wait_timeout:
    description:
      - How long writing the new files may take, in seconds. When the time is up they go on being
        written, and the task fails. Running it again waits on.
    type: float
    default: 3600.0
  journal_dir:
    description:
      - Folder of the journal, which keeps what can't be read back from the server later, such as
        settings to restore.
      - It lies on the host the task runs on. Without it C($XDG_STATE_HOME/redis-baton), or else
        C(~/.local/state/redis-baton), of the user the task runs as.
    type: path
extends_documentation_fragment:
  - baton.redis._baton.server
  - baton.redis._baton.lock
  - baton.redis._baton.attributes
attributes:
  action_group:
    description:
      - Use C(group/baton.redis.server) in C(module_defaults) to set defaults for the modules that
        work on one server.
    membership:
      - baton.redis.server
seealso:
  - module: baton.redis.replicate
  - module: baton.redis.retire
"""

EXAMPLES = r"""
- name: Keep every write from now on
  baton.redis.persistence:
    login_port: 6379
    mode: aof
    appendfsync: everysec

- name: Go back to a dump every hour
  baton.redis.persistence:
    login_port: 6379
    mode: rdb
    save: "3600 1"
"""

RETURN = r"""
mode:
  description: What the server writes; in check mode, what it would.
  returned: success
  type: str
  sample: aof
previous_mode:
  description: What it wrote before.
  returned: success
  type: str
  sample: rdb
save:
  description: Its save points. Empty without.
  returned: success
  type: str
  sample: 3600 1 300 100
appendfsync:
  description: When its AOF is told to be on disk.
  returned: success
  type: str
  sample: everysec
rewritten:
  description: Whether the configuration file was rewritten.
  returned: success
  type: bool
  sample: true
files_seen:
  description:
    - Whether the files themselves were looked at, besides what the server says of them. That
      needs a task that runs on the server's host, by a loopback address or Unix socket.
  returned: success
  type: bool
aof_bytes:
  description: The size of the AOF in bytes. Without one it is V(none).
  returned: success
  type: int
unsaved_changes:
  description: How much has changed since the last RDB save. Without an AOF a crash loses that.
  returned: success
  type: int
before:
  description: What the server wrote before, and which it is.
  returned: success
  type: dict
after:
  description: What was read back at the end; in check mode, what would be.
  returned: success
  type: dict
actions:
  description:
    - The commands that changed something, or in check mode would, each with its server. Secrets
      are masked.
  returned: always
  type: list
  elements: str
elapsed:
  description: Seconds the step took.
  returned: success
  type: float
  sample: 0.042
msg:
  description: The outcome, or what is wrong, in one sentence.
  returned: always
  type: str
reason:
  description:
    - Stable code of what is wrong. For one V(save_failed), V(save_timed_out),
      V(no_config_file), V(not_saved), V(locked).
  returned: failure
  type: str
  sample: save_failed
server:
  description: The server it is about, if it is about one.
  returned: failure
  type: str
  sample: server 127.0.0.1:6379
state:
  description:
    - What state things are in. With V(unchanged) nothing was changed, with V(undone) all is as
      before, with V(interrupted) the task has to run again to complete what it began. What the
      server wrote before is still on.
  returned: failure
  type: str
  sample: undone
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from ansible_collections.baton.redis.plugins.module_utils._baton import (
    LOCK,
    exit_step,
    run_step,
    server_module,
)


def main():
    module = server_module(
        mode={"type": "str", "choices": ["rdb", "aof", "both", "none"], "required": True},
        save={"type": "str"},
        appendfsync={"type": "str", "choices": ["always", "everysec", "no"]},
        rewrite={"type": "bool", "default": True},
        wait_timeout={"type": "float", "default": 3600.0},
        journal_dir={"type": "path"},
        **LOCK,
    )
    facts = run_step(module, "persistence")
    exit_step(module, facts, f"the server's persistence is {facts['mode']}")


if __name__ == "__main__":
    main()
