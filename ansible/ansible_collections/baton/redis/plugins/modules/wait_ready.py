#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wait_ready
short_description: Wait until a Redis or Valkey answers and has loaded its data
version_added: 0.1.0
description:
  - Waits until the server answers and has loaded its data, and says who it is. With O(other_than)
    it waits for another process than that one, so after a restart nobody takes the old process
    for the new one.
  - Changes nothing. In check mode it looks once, and RV(ready) says what it saw.
  - When the time is up, the task fails and says what was in the way.
author:
  - The redis-baton authors (@redis-baton)
options:
  other_than:
    description:
      - RV(run_id) of a process that does not count, as this module returned it before a restart.
    type: str
  wait_timeout:
    description:
      - How long to wait, in seconds.
    type: float
    default: 60.0
extends_documentation_fragment:
  - baton.redis._baton.server
  - baton.redis._baton.attributes
attributes:
  action_group:
    description:
      - Use C(group/baton.redis.server) in C(module_defaults) to set defaults for the modules that
        work on one server.
    membership:
      - baton.redis.server
seealso:
  - module: baton.redis.status
"""

EXAMPLES = r"""
- name: Remember the process
  baton.redis.wait_ready:
    login_port: 6380
  register: before

- name: Restart it
  ansible.builtin.systemd_service:
    name: redis-server@6380
    state: restarted

- name: Wait until the new process has loaded its data
  baton.redis.wait_ready:
    login_port: 6380
    other_than: "{{ before.run_id }}"
"""

RETURN = r"""
ready:
  description: Whether it is ready. Can be V(false) in check mode alone.
  returned: success
  type: bool
  sample: true
run_id:
  description:
    - The process's own id, new with every start. Like those below it is null where the server is
      not ready.
  returned: success
  type: str
  sample: 71d1af8a01ef16b2bdb5a3a2e1ca4bd5c02e07a6
process_id:
  description: Its process id on its host.
  returned: success
  type: int
  sample: 4711
version:
  description: Product and version.
  returned: success
  type: str
  sample: Redis 7.0.15
program:
  description: The file of the program that it says it runs.
  returned: success
  type: str
  sample: /usr/bin/redis-server
config_file:
  description: Its configuration file; empty if it has none.
  returned: success
  type: str
  sample: /etc/redis/redis.conf
role:
  description: V(master) or V(replica).
  returned: success
  type: str
  sample: master
follows:
  description: The address of its master; null if it is one itself.
  returned: success
  type: str
replication_user:
  description: The ACL user it logs in to a master with (C(masteruser)); empty for the default one.
  returned: success
  type: str
key_count:
  description: How many keys it holds, in all its databases.
  returned: success
  type: int
  sample: 300000
before:
  description: What was found on the server.
  returned: success
  type: dict
after:
  description: The same.
  returned: success
  type: dict
actions:
  description: Always empty.
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
    - Stable code of what was in the way. For one V(unreachable), V(loading), V(not_restarted).
  returned: failure
  type: str
  sample: not_restarted
server:
  description: The server it is about.
  returned: failure
  type: str
  sample: server 127.0.0.1:6380
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
    run_step,
    server_module,
)


def main():
    module = server_module(
        other_than={"type": "str"},
        wait_timeout={"type": "float", "default": 60.0},
    )
    facts = run_step(module, "wait_ready")
    module.exit_json(
        msg="The server is ready." if facts["ready"] else "The server is not ready.", **facts
    )


if __name__ == "__main__":
    main()
