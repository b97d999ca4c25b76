#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: promote
short_description: Make the new Redis or Valkey a master, for a procedure driven by hand
version_added: 0.1.0
description:
  - Makes the target a master (C(REPLICAOF NO ONE)), guarded against the loss of data.
  - This is a step for those who stop the writers themselves. M(baton.redis.switchover) needs no
    stop and loses nothing.
  - It is refused while applications still use the source, or when that is gone, unless O(force)
    says so.
  - A failure leaves the source serving as before.
author:
  - The redis-baton authors (@redis-baton)
options:
  force:
    description:
      - Whether to go on while applications still use the source, or when it is gone. What the
        target lacks, and writes that the source acknowledges from then on, are lost.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long the target may take to catch up, in seconds.
    type: float
    default: 10.0
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.lock
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.switchover
  - module: baton.redis.wait_quiescent
"""

EXAMPLES = r"""
- name: Make the new server a master, now that no writer runs
  baton.redis.promote:
    source_port: 6379
    login_port: 6380
"""

RETURN = r"""
promoted:
  description: Whether the target is a master.
  returned: success
  type: bool
  sample: true
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
    - Stable code of what is wrong. For one V(source_in_use), V(not_replicating),
      V(lag_too_high), V(locked).
  returned: failure
  type: str
  sample: source_in_use
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
    LOCK,
    baton_module,
    exit_step,
    run_step,
)


def main():
    module = baton_module(
        force={"type": "bool", "default": False},
        wait_timeout={"type": "float", "default": 10.0},
        **LOCK,
    )
    exit_step(module, run_step(module, "promote"), "the target is a master")


if __name__ == "__main__":
    main()
