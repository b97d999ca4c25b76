#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade
short_description: Replace a live Redis or Valkey with a new server, losing no acknowledged write
version_added: 0.1.0
description:
  - Does all the steps of an upgrade in one task, up to O(until).
  - It ends with the target serving everything that was ever acknowledged, or with the source
    serving as before.
  - If this task is killed in the middle of the switchover, its O(guard) finishes that or takes it
    back.
  - What is done already is not done again, so the same task goes on where another one was
    interrupted.
  - The role P(baton.redis.upgrade#role) does the same with one task per step.
  - A failure before the switchover leaves the source serving, a later one the target.
author:
  - The redis-baton authors (@redis-baton)
options:
  aside_port:
    description:
      - Port the source moves to when the target takes over its own. Without it the first free
        one after the port the target was started on.
    type: int
  force:
    description:
      - Whether to go on when the target has data of its own, which the initial sync wipes.
    type: bool
    default: false
  until:
    description:
      - The last step to do. The steps are done in the order of the choices.
      - After V(switchover) and V(wait_quiescent) the source stands by, so that
        M(baton.redis.rollback) can make it serve again, unless it is older than Redis 6.2.
        After V(retire) it is gone.
    type: str
    choices: [preflight, replicate, wait_synced, verify, switchover, wait_quiescent, retire]
    default: wait_quiescent
  sync_timeout:
    description:
      - How long the initial sync may take, in seconds.
    type: float
    default: 3600.0
  level:
    description:
      - How much is compared before the switchover. V(counts) are the counts of keys. V(sample)
        reads some random keys in full as well, V(full) compares every key.
      - With V(full) the upgrade ends with C(unsettled) where a key never rests.
    type: str
    choices: [counts, sample, full]
    default: sample
  by:
    description:
      - How every key is compared with O(level=full), by the streams that a replica would be sent or
        by reading each key on both. See M(baton.redis.verify).
    type: str
    choices: [streams, reads]
    default: streams
  sample_keys:
    description:
      - How many random keys to read and compare with O(level=sample), besides the counts of all.
    type: int
    default: 20
  quiet_for:
    description:
      - How long no application command may have arrived, in seconds.
    type: float
    default: 1.0
  wait_timeout:
    description:
      - How long each of the other waits may take, in seconds.
    type: float
    default: 60.0
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.redirect
  - baton.redis._baton.handover
  - baton.redis._baton.lock
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.preflight
  - module: baton.redis.status
  - module: baton.redis.rollback
  - module: baton.redis.retire
"""

EXAMPLES = r"""
- name: Replace the server on port 6379 with the one on port 6380, and keep the old one warm
  baton.redis.upgrade:
    source_port: 6379
    login_port: 6380

- name: Only synchronise for now, the switchover comes at night
  baton.redis.upgrade:
    source_port: 6379
    login_port: 6380
    until: verify
"""

RETURN = r"""
steps:
  description: The steps that were done, in order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the step, which is that of its module.
      type: str
      sample: replicate
    changed:
      description: Whether it changed something.
      type: bool
    elapsed:
      description: Seconds it took.
      type: float
    result:
      description: What its module returns.
      type: dict
stage:
  description:
    - Where things stand. V(apart) and V(following) with the source serving, V(switched) with the
      target serving and the source warm, V(retired) with the source gone.
  returned: success
  type: str
  sample: switched
parked:
  description: Address of the old server once the target serves. Null when it is gone.
  returned: success
  type: str
  sample: 127.0.0.1:6380
serving:
  description: Address of the server that serves.
  returned: success
  type: str
  sample: 127.0.0.1:6379
probe:
  description:
    - What the probe saw. Null without O(probe), or where nothing it tried succeeded.
  returned: success
  type: dict
  contains:
    reads:
      description: Reads that were answered.
      type: int
    writes:
      description: Writes that were acknowledged.
      type: int
    errors:
      description:
        - What it got instead, and how often. V(refused), V(closed), V(timeout), V(failed), or the
          first word of what the server said.
      type: dict
    lost:
      description: Writes that were acknowledged and are gone.
      type: int
    median_us:
      description: Microseconds that half of all reads and writes took at most.
      type: int
    p99_us:
      description: Microseconds that 99 % of them took at most.
      type: int
    max_us:
      description: Microseconds that the slowest took, from the first try to the answer.
      type: int
    longest_gap_ms:
      description: The longest time between two acknowledged writes, in milliseconds.
      type: float
    longest_read_gap_ms:
      description: The longest time between two answered reads, in milliseconds.
      type: float
    reconnects:
      description: How often it connected again.
      type: int
    seconds:
      description: For how many seconds it was there.
      type: float
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
  description: Stable code of what is wrong. That of the step that failed.
  returned: failure
  type: str
  sample: target_has_data
server:
  description: The server it is about, if it is about one.
  returned: failure
  type: str
  sample: source 127.0.0.1:6379
state:
  description:
    - What state things are in. With V(unchanged) nothing was changed, with V(undone) what had
      been changed was put back, with V(interrupted) the task has to run again, which goes on or
      undoes.
  returned: failure
  type: str
  sample: unchanged
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from ansible_collections.baton.redis.plugins.module_utils._baton import (
    HANDOVER,
    LOCK,
    REDIRECT,
    baton_module,
    exit_step,
    run_step,
)


def main():
    module = baton_module(
        **REDIRECT,
        aside_port={"type": "int"},
        force={"type": "bool", "default": False},
        until={
            "type": "str",
            "choices": [
                "preflight",
                "replicate",
                "wait_synced",
                "verify",
                "switchover",
                "wait_quiescent",
                "retire",
            ],
            "default": "wait_quiescent",
        },
        sync_timeout={"type": "float", "default": 3600.0},
        level={"type": "str", "choices": ["counts", "sample", "full"], "default": "sample"},
        by={"type": "str", "choices": ["streams", "reads"], "default": "streams"},
        sample_keys={"type": "int", "default": 20, "no_log": False},
        quiet_for={"type": "float", "default": 1.0},
        wait_timeout={"type": "float", "default": 60.0},
        **HANDOVER,
        **LOCK,
    )
    facts = run_step(module, "upgrade")
    exit_step(module, facts, f"{facts['serving']} serves")


if __name__ == "__main__":
    main()
