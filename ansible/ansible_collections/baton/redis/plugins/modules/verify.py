#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Compare the new Redis or Valkey's data with the live one's
version_added: 0.1.0
description:
  - Compares the number of keys and of expiring keys of each database at one point of the
    replication stream,
    reads some random keys on both servers, and asks the target whether it answers.
  - Changes nothing. In check mode it looks once and does not wait.
  - By default the task fails when something differs. See O(fail).
author:
  - The redis-baton authors (@redis-baton)
options:
  sample_keys:
    description:
      - How many random keys to read and compare, besides the counts of all.
    type: int
    default: 20
  wait_timeout:
    description:
      - How long to wait for a moment at which both stand at the same point, in seconds.
    type: float
    default: 30.0
  fail:
    description:
      - Whether the task fails when something differs. With V(false) look at RV(equal) and
        RV(differences).
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
"""

RETURN = r"""
equal:
  description: Whether nothing differs.
  returned: success
  type: bool
  sample: true
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
      description: Keys in the source.
      type: int
    target_keys:
      description: Keys in the target.
      type: int
    source_expires:
      description: Keys in the source that expire.
      type: int
    target_expires:
      description: Keys in the target that expire.
      type: int
offset:
  description: The point of the replication stream at which they were compared.
  returned: success
  type: int
sampled:
  description: How many keys were read on both and found equal.
  returned: success
  type: int
  sample: 20
skipped:
  description:
    - How many could not be compared, as they changed all the time or are of a module's type.
  returned: success
  type: int
  sample: 0
differences:
  description: What differs.
  returned: success
  type: list
  elements: str
ping_ms:
  description: How long the target took to answer, in milliseconds.
  returned: success
  type: float
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
    - Stable code of what is wrong. For one V(counts_differ), V(values_differ),
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
        sample_keys={"type": "int", "default": 20, "no_log": False},
        wait_timeout={"type": "float", "default": 30.0},
        fail={"type": "bool", "default": True},
    )
    facts = run_step(module, "verify")
    if facts["equal"]:
        msg = "The target holds what the source holds."
    else:
        msg = "The target does not hold what the source holds: " + "; ".join(facts["differences"])
    module.exit_json(msg=msg, **facts)


if __name__ == "__main__":
    main()
