#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check whether a live Redis or Valkey can be replaced by a new server
version_added: 0.1.0
description:
  - Looks at both servers and changes nothing, ever.
  - Reports what stands in the way (blockers) and what to know (warnings), each with a stable
    code, what was found
    and what to do, the plan, and estimates of time and memory.
  - By default the task fails when there is a blocker, so that a playbook stops here. See O(fail).
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
  fail:
    description:
      - Whether the task fails when there is a blocker. With V(false) look at RV(ok) and
        RV(findings).
    type: bool
    default: true
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.redirect
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.replicate
  - module: baton.redis.upgrade
"""

EXAMPLES = r"""
- name: Stop here if the live server can't be replaced by the new one
  baton.redis.preflight:
    source_port: 6379
    login_port: 6380

- name: Look, and decide in the playbook
  baton.redis.preflight:
    source_port: 6379
    login_port: 6380
    fail: false
  register: preflight

- name: Show what was found
  ansible.builtin.debug:
    msg: "{{ preflight.findings | map(attribute='found') }}"
"""

RETURN = r"""
ok:
  description: Whether nothing stands in the way.
  returned: always
  type: bool
  sample: true
stage:
  description:
    - How far the upgrade has come. V(apart) is before it, V(following) with the target as a
      replica, V(half_done) within the switchover, V(switched) after it, V(retired) without the
      source. V(unexpected) is none of them.
  returned: always
  type: str
  sample: apart
findings:
  description: Everything found, what stands in the way first.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description: Stable code of the finding.
      type: str
      sample: target_has_data
    level:
      description: V(blocker) for what stands in the way, V(warning) for what to know.
      type: str
      sample: blocker
    server:
      description: The server it is about.
      type: str
      sample: target 127.0.0.1:6380
    found:
      description: What was found.
      type: str
    remedy:
      description: What to do about it.
      type: str
strategy:
  description:
    - How the switchover would be done. V(reversible) means that the source can take over again
      afterwards, V(fenced) that it is shut down in it (Redis before 6.2), with no way back.
  returned: always
  type: str
  sample: reversible
plan:
  description: What the upgrade would do, in order.
  returned: always
  type: list
  elements: str
estimates:
  description: What to expect.
  returned: always
  type: dict
  contains:
    sync_seconds:
      description: Time the initial sync may take, in seconds.
      type: float
    memory_bytes:
      description: Memory the target needs for the data, in bytes.
      type: int
    write_gap_ms:
      description: How long writes may have to wait at the switchover, in milliseconds.
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
  description: Stable code of what is wrong. With blockers, the code of the first one.
  returned: failure
  type: str
  sample: target_has_data
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
    REDIRECT,
    baton_module,
    run_step,
)


def main():
    module = baton_module(
        **REDIRECT,
        aside_port={"type": "int"},
        force={"type": "bool", "default": False},
        fail={"type": "bool", "default": True},
    )
    fail = module.params.pop("fail")
    facts = run_step(module, "preflight")
    if facts["ok"]:
        module.exit_json(msg="Nothing stands in the way of the upgrade.", **facts)
    blockers = [finding for finding in facts["findings"] if finding["level"] == "blocker"]
    first = blockers[0]
    more = f" (and {len(blockers) - 1} more in findings)" if blockers[1:] else ""
    msg = f"{first['server']}: {first['found']}; {first['remedy']}{more}"
    if not fail:
        module.exit_json(msg=msg, **facts)
    module.fail_json(
        msg=msg,
        reason=first["code"],
        server=first["server"],
        state="unchanged",
        remedy=first["remedy"],
        **facts,
    )


if __name__ == "__main__":
    main()
