#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wait_quiescent
short_description: Wait until no application uses the old Redis or Valkey any more
version_added: 0.1.0
description:
  - Waits until the source has received no application command for O(quiet_for).
    The upgrade's own traffic, that of replicas and that of Sentinel do not count, nor do commands
    that only look at the server or at their own connection, such as C(PING) and C(INFO).
  - It counts what the server counts, so nothing that comes between two looks is missed. It looks
    ten times a second, or less often where a look takes the server long, such as with thousands
    of connections.
  - Changes nothing. In check mode it looks once and does not wait.
  - When the time is up, the task fails and says who is still active. The servers stay as they
    are.
author:
  - The redis-baton authors (@redis-baton)
options:
  quiet_for:
    description:
      - How long no application command may have arrived, in seconds.
    type: float
    default: 1.0
  wait_timeout:
    description:
      - How long to wait in all, in seconds.
    type: float
    default: 60.0
  monitor:
    description:
      - For how long C(MONITOR) is asked first who sends which commands, in seconds, up to 60. Also
        in check mode. Without it the server is not asked that.
      - It costs a busy server a part of its throughput while it runs, since every command of all
        clients is shown to it. What the commands are sent with is thrown away.
    type: float
  monitor_lines:
    description:
      - The number of commands after which C(MONITOR) ends at the latest.
    type: int
    default: 10000
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.clients
  - module: baton.redis.retire
"""

EXAMPLES = r"""
- name: Wait until nobody has used the old server for ten seconds
  baton.redis.wait_quiescent:
    source_port: 6379
    login_port: 6380
    quiet_for: 10
    wait_timeout: 600

- name: Who still sends what to the old server?
  baton.redis.wait_quiescent:
    source_port: 6379
    login_port: 6380
    monitor: 2
  check_mode: true
  register: traffic
"""

RETURN = r"""
quiet:
  description:
    - Whether no application uses the source, or it is gone. Can be V(false) in check mode alone.
  returned: success
  type: bool
  sample: true
quiet_seconds:
  description: For how long no application command had arrived at the end, in seconds.
  returned: success
  type: float
active:
  description: Who sent commands meanwhile, most first. The list ends at 1000.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: Where it comes from, with its port.
      type: str
      sample: 10.0.0.7:51234
    user:
      description: Its ACL user.
      type: str
      sample: default
    name:
      description: The name it gave itself.
      type: str
    library:
      description: Its client library and version, where the server knows.
      type: str
    command:
      description: Its last command.
      type: str
      sample: get
    calls:
      description:
        - How many commands it has sent, where the server counts them (Valkey 8.0, Redis 8.6).
      type: int
      sample: 12
    commands:
      description: How many of each, with O(monitor).
      type: dict
      sample: {"get": 12}
commands:
  description: How many calls of each command were seen.
  returned: success
  type: dict
  sample: {"get": 12}
attempts:
  description: How often the server was asked.
  returned: success
  type: int
before:
  description: What was found on the servers.
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
  description: Stable code of what is wrong. For one V(not_quiet).
  returned: failure
  type: str
  sample: not_quiet
server:
  description: The server it is about, if it is about one.
  returned: failure
  type: str
  sample: source 127.0.0.1:6379
state:
  description: What state things are in. Always V(unchanged), as this module changes nothing.
  returned: failure
  type: str
  sample: unchanged
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from ansible_collections.baton.redis.plugins.module_utils._baton import (
    baton_module,
    run_step,
)


def main():
    module = baton_module(
        quiet_for={"type": "float", "default": 1.0},
        wait_timeout={"type": "float", "default": 60.0},
        monitor={"type": "float"},
        monitor_lines={"type": "int", "default": 10000},
    )
    facts = run_step(module, "wait_quiescent")
    module.exit_json(
        msg="No application uses the source." if facts["quiet"] else "Applications use the source.",
        **facts,
    )


if __name__ == "__main__":
    main()
