#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: retire
short_description: Shut the old Redis or Valkey down
version_added: 0.1.0
description:
  - Shuts the source down, once the target serves and holds everything, and only then. Waits until
    its process has ended.
  - From then on there is no way back with M(baton.redis.rollback).
  - Where clients were moved by Sentinel, the sentinels forget the source, one after the other.
  - If the source is gone already, and the target is known to be the one that followed it, there
    is nothing to do.
  - A failure leaves the target serving.
  - So that the source stays gone, disable the unit or container that would start it again.
author:
  - The redis-baton authors (@redis-baton)
options:
  wait_timeout:
    description:
      - How long the source may take to end, in seconds.
    type: float
    default: 30.0
  rewrite:
    description:
      - Whether the target writes its restored settings to its configuration file (C(CONFIG
        REWRITE)).
    type: bool
    default: true
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.redirect
  - baton.redis._baton.lock
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.wait_quiescent
  - module: baton.redis.rollback
"""

EXAMPLES = r"""
- name: Shut the old server down
  baton.redis.retire:
    source_port: 6379
    login_port: 6380

- name: Keep it from coming back
  ansible.builtin.systemd_service:
    name: redis-server
    enabled: false
"""

RETURN = r"""
retired:
  description: Whether the source is gone.
  returned: success
  type: bool
  sample: true
saved:
  description:
    - Whether the source wrote its data to disk before it ended, as it does where the target
      writes none.
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
    - Stable code of what is wrong. For one V(only_copy), V(source_in_use), V(still_running),
      V(no_answer), V(locked).
  returned: failure
  type: str
  sample: only_copy
server:
  description: The server it is about, if it is about one.
  returned: failure
  type: str
  sample: source 127.0.0.1:6379
state:
  description:
    - What state things are in. With V(unchanged) nothing was changed, with V(interrupted) the
      task has to run again to complete what it began. The target serves.
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
    REDIRECT,
    baton_module,
    exit_step,
    run_step,
)


def main():
    module = baton_module(
        wait_timeout={"type": "float", "default": 30.0},
        rewrite={"type": "bool", "default": True},
        **REDIRECT,
        **LOCK,
    )
    exit_step(module, run_step(module, "retire"), "the source is shut down")


if __name__ == "__main__":
    main()
