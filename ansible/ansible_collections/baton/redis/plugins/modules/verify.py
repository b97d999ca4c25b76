#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Compare the new Redis or Valkey's data with the live one's
version_added: 0.1.0
description:
  - Compares the number of keys and of expiring keys of each database at one point of the
    replication stream, as much of the data as O(level) says, and asks the target whether it
    answers.
  - Leaves both as they were. What O(by=streams) sets on the replica meanwhile is put back, and is
    neither in RV(actions) nor a change. In check mode it compares the counts once and does not
    wait.
  - By default the task fails when something differs. See O(fail).
  - U(https://github.com/redis-baton/redis-baton/blob/main/docs/verify.md) says what each level
    finds and costs.
author:
  - The redis-baton authors (@redis-baton)
options:
  level:
    description:
      - How much is compared. V(counts) are the counts of keys. V(sample) reads some random keys in
        full as well, V(full) compares every key.
    type: str
    choices: [counts, sample, full]
    default: sample
  by:
    description:
      - How every key is compared with O(level=full).
      - V(streams) asks both servers for their data as a replica would. That costs the source a
        fork and hardly anything else. The accounts need C(+psync) and C(+replconf). For as long as
        it takes, C(rdbcompression) and C(repl-diskless-sync-delay) are C(no) and C(0) on the
        replica, where the account may set them.
      - V(reads) reads each key on both. That needs no fork, but the source's own time.
    type: str
    choices: [streams, reads]
    default: streams
  sample_keys:
    description:
      - How many random keys of each database to read and compare with O(level=sample). Of a
        database that has no more than that, all.
      - With 3/p keys a share p of keys that differ is found with a probability of 95 %.
    type: int
    default: 20
  max_differences:
    description:
      - Of how many keys that differ RV(differences) says what differs.
    type: int
    default: 20
  max_latency:
    description:
      - How long the server that serves may take to answer others while every key is read, in
        seconds. Whenever it takes longer, the rate of reading is halved. For O(by=reads).
    type: float
    default: 0.01
  rate:
    description:
      - How many keys a second to read at most. By default as fast as it goes. For O(by=reads).
    type: int
  resume:
    description:
      - Whether to go on where reads of every key were interrupted. They begin anew if a server was
        restarted since. For O(by=reads).
    type: bool
    default: false
  wait_timeout:
    description:
      - How long each wait may take, in seconds. For a moment at which both stand at the same point,
        and for keys that change while they are compared to rest.
    type: float
    default: 30.0
  fail:
    description:
      - Whether the task fails when something differs, or with O(level=full) when keys changed all
        the time. With V(false) look at RV(equal) and RV(differences).
    type: bool
    default: true
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.wait_synced
  - module: baton.redis.switchover
"""

EXAMPLES = r"""
- name: Compare the counts and a sample of 1000 keys
  baton.redis.verify:
    source_port: 6379
    login_port: 6380
    sample_keys: 1000

- name: Compare every key, and only report
  baton.redis.verify:
    source_port: 6379
    login_port: 6380
    level: full
    fail: false
  register: verified

- name: Say what differs
  ansible.builtin.debug:
    msg: "{{ verified.differing }} keys differ: {{ verified.differences }}"
  when: not verified.equal

- name: Compare every key of a source that can't fork, gently
  baton.redis.verify:
    source_port: 6379
    login_port: 6380
    level: full
    by: reads
    max_latency: 0.003
    rate: 20000
"""

RETURN = r"""
equal:
  description:
    - Whether nothing differs in what was compared, and with O(level=full) everything was.
  returned: success
  type: bool
  sample: true
level:
  description: How much was compared.
  returned: success
  type: str
  sample: sample
exact:
  description:
    - Whether the counts were read at the same point of the replication stream on both. Under a
      load that never rests they are not, and the switchover compares them during its pause.
  returned: success
  type: bool
  sample: true
databases:
  description: The counts of each database.
  returned: success
  type: list
  elements: dict
  contains:
    number:
      description: Its number.
      type: int
      sample: 0
    source_keys:
      description: Keys in the one that serves, which after the switchover is the target.
      type: int
    target_keys:
      description: Keys in the one that follows.
      type: int
    source_expires:
      description: Keys that expire, in the one that serves.
      type: int
    target_expires:
      description: Keys that expire, in the one that follows.
      type: int
offset:
  description: The point of the replication stream at which they were compared.
  returned: success
  type: int
compared:
  description: How many keys were compared in full.
  returned: success
  type: int
  sample: 20
differing:
  description: How many of them differ, or are only on one side.
  returned: success
  type: int
  sample: 0
differences:
  description:
    - What differs. The counts, and up to O(max_differences) keys with their database, their type
      and what of them differs. Values are not shown.
  returned: success
  type: list
  elements: str
  sample: ['key "cart:7" of database 0: hash, 1 of 12 fields differ']
unsettled:
  description: How many keys could not be compared because they changed all the time.
  returned: success
  type: int
  sample: 0
not_comparable:
  description: How many keys can't be compared, by the reason, such as the type of a module.
  returned: success
  type: dict
  sample: {}
detectable_share:
  description:
    - The share of differing keys that would have been found with a probability of 95 %. 0 where
      every key was compared, none where no key was.
  returned: success
  type: float
  sample: 0.003
slowed:
  description:
    - How often reads were slowed down, as the server that serves took longer to answer than
      O(max_latency).
  returned: success
  type: int
  sample: 0
ping_ms:
  description: How long the target took to answer, in milliseconds.
  returned: success
  type: float
attempts:
  description: How often the counts were looked at.
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
    - Stable code of what is wrong. For one V(counts_differ), V(values_differ), V(unsettled),
      V(not_replicating).
  returned: failure
  type: str
  sample: counts_differ
server:
  description: The server it is about, if it is about one.
  returned: failure
  type: str
  sample: source 127.0.0.1:6379
state:
  description:
    - What state things are in. V(interrupted) where what O(by=streams) sets on the replica could
      not be put back yet, else V(unchanged).
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
        level={"type": "str", "choices": ["counts", "sample", "full"], "default": "sample"},
        by={"type": "str", "choices": ["streams", "reads"], "default": "streams"},
        max_differences={"type": "int", "default": 20},
        max_latency={"type": "float", "default": 0.01},
        rate={"type": "int"},
        resume={"type": "bool", "default": False},
        sample_keys={"type": "int", "default": 20, "no_log": False},
        wait_timeout={"type": "float", "default": 30.0},
        fail={"type": "bool", "default": True},
    )
    facts = run_step(module, "verify")
    if facts["equal"]:
        msg = "The target holds what the source holds."
    elif facts["differing"] or facts["differences"]:
        what = facts["differences"] or [f"{facts['differing']} keys differ"]
        msg = "The target does not hold what the source holds: " + "; ".join(what)
    else:
        msg = "Nothing was found to differ, but not every key could be compared."
    module.exit_json(msg=msg, **facts)


if __name__ == "__main__":
    main()
