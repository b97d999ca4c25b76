#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wait_synced
short_description: Wait until the new Redis or Valkey holds what the live one holds
version_added: 0.1.0
description:
  - Waits until the initial sync has completed, the link is steady, and the target is no more
    than O(max_lag_bytes) behind.
  - Then restores the settings of the source that M(baton.redis.replicate) raised for the sync.
    It changes nothing else.
  - In check mode it looks once and does not wait.
  - When the time is up, or the sync begins over and over, the task fails. The source serves as
    before, and the target goes on trying.
author:
  - The redis-baton authors (@redis-baton)
options:
  wait_timeout:
    description:
      - How long to wait in all, in seconds.
    type: float
    default: 3600.0
  max_lag_bytes:
    description:
      - How far behind the target may be, in bytes of the replication stream.
    type: int
    default: 1048576
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.replicate
  - module: baton.redis.verify
"""

EXAMPLES = r"""
- name: Wait up to two hours for a large data set
  baton.redis.wait_synced:
    source_port: 6379
    login_port: 6380
    wait_timeout: 7200
"""

RETURN = r"""
synced:
  description:
    - Whether the target holds the source's data and follows, or has done so and serves now. Can
      be V(false) in check mode alone.
  returned: success
  type: bool
  sample: true
lag_bytes:
  description: How far behind the target is, in bytes of the replication stream.
  returned: success
  type: int
  sample: 0
sync_bytes:
  description: How much of the initial sync this task has seen pass, in bytes.
  returned: success
  type: int
attempts:
  description: How often the servers were asked.
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
  description:
    - Stable code of what is wrong. For one V(sync_timed_out), V(sync_loops), V(not_replicating).
  returned: failure
  type: str
  sample: sync_timed_out
server:
  description: The server it is about, if it is about one.
  returned: failure
  type: str
  sample: source 127.0.0.1:6379
state:
  description:
    - What state things are in. With V(unchanged) nothing was changed, with V(interrupted) the
      task has to run again to complete what it began. The source serves as before.
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
        wait_timeout={"type": "float", "default": 3600.0},
        max_lag_bytes={"type": "int", "default": 1048576},
    )
    facts = run_step(module, "wait_synced")
    if facts["synced"]:
        msg = f"The target is in sync, {facts['lag_bytes']} bytes behind."
    else:
        msg = "The target is not in sync yet."
    module.exit_json(msg=msg, **facts)


if __name__ == "__main__":
    main()
