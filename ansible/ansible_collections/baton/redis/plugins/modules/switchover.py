#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: switchover
short_description: Make the new Redis or Valkey the master, losing no acknowledged write
version_added: 0.1.0
description:
  - Makes the target the master and lets clients arrive there. Writes wait for milliseconds, and
    each connection is cut at most once,
    while nothing of it is half done, so that a retry is safe.
  - The source then follows the target, ready for M(baton.redis.rollback). So do other replicas of
    the source.
  - A source of Redis 6.0 is shut down in it, and there is no way back. M(baton.redis.preflight)
    says so.
  - A failure before the source is demoted leaves it serving with nothing changed. A later one
    puts back what was changed.
  - If this task is killed half way, its O(guard) finishes it or takes it back. If the guard or a
    server dies as well, nobody accepts writes and nothing is lost.
    The same task run again goes on or undoes. Where the target is gone or was restarted without
    the source's data, M(baton.redis.rollback) makes the source serve again.
author:
  - The redis-baton authors (@redis-baton)
options:
  aside_port:
    description:
      - Port the source moves to when the target takes over its own. Without it the first free
        one after the port the target was started on.
    type: int
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.redirect
  - baton.redis._baton.handover
  - baton.redis._baton.lock
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.verify
  - module: baton.redis.wait_quiescent
  - module: baton.redis.status
  - module: baton.redis.rollback
"""

EXAMPLES = r"""
- name: Let the new server take over the live one's port
  baton.redis.switchover:
    source_port: 6379
    login_port: 6380

- name: Let the new server become the master, for a load balancer that looks at the role
  baton.redis.switchover:
    source_host: redis-1.example.com
    login_host: redis-2.example.com
    redirect: none

- name: Change the address in the DNS as soon as the new server serves
  baton.redis.switchover:
    source_host: redis-1.example.com
    login_host: redis-2.example.com
    redirect: none
    hooks:
      promoted: [/usr/local/bin/point-redis-at-serving]
      undone: [/usr/local/bin/point-redis-at-serving]

- name: Take no moment in which the server is slow, and cut off a controller that hangs
  baton.redis.switchover:
    source_port: 6379
    login_port: 6380
    max_latency: 0.005
    break_lock: true
"""

RETURN = r"""
phases:
  description: The phases of the switchover, in order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description:
        - Name of the phase. V(moment) is the wait for a good one, while writes flow. From V(pause)
          to V(promote) writes wait.
      type: str
      sample: drain
    microseconds:
      description: How long it took.
      type: int
write_gap_ms:
  description: How long writes had to wait, in milliseconds. Of several attempts the longest.
  returned: success
  type: float
  sample: 2.1
protocol_ms:
  description: How much of that was the handover itself, in milliseconds.
  returned: success
  type: float
  sample: 0.8
drain_ms:
  description: How much of that the new master needed to catch up, in milliseconds.
  returned: success
  type: float
  sample: 1.3
attempts:
  description: How many attempts it took.
  returned: success
  type: int
  sample: 1
warm:
  description: Whether the other server follows the new master, ready to take over again.
  returned: success
  type: bool
  sample: true
serving:
  description: Address of the server that serves.
  returned: success
  type: str
  sample: 127.0.0.1:6379
parked:
  description: Address at which the other server is now. Null when it is gone.
  returned: success
  type: str
  sample: 127.0.0.1:6380
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
  description:
    - Stable code of what is wrong. For one V(lag_too_high), V(not_replicating),
      V(no_good_moment), V(takeover_impossible), V(half_done), V(history_lost), V(locked).
  returned: failure
  type: str
  sample: lag_too_high
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
        **HANDOVER,
        **LOCK,
    )
    exit_step(
        module, run_step(module, "switchover"), "the target is the master and the source stands by"
    )


if __name__ == "__main__":
    main()
