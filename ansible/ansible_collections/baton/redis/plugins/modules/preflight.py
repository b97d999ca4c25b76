#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0

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
  - By default the task fails when there is a blocker, so that a playbook stops here. See
    O(fail_on_blockers).
author:
  - The redis-baton authors (@redis-baton)
options:
  redirect:
    description:
      - How clients arrive at the target.
      - With V(takeover) the target takes over the source's port, which needs both on one host,
        and the source moves to O(aside_port).
      - With V(none) they are moved by other means, such as a load balancer or a change in the
        applications' configuration.
    type: str
    choices: [takeover, none]
    default: takeover
  aside_port:
    description:
      - Port the source moves to when the target takes over its own. Without it the port the
        target was started on.
    type: int
  force:
    description:
      - Whether to go on when the target has data of its own, which the initial sync wipes.
    type: bool
    default: false
  fail_on_blockers:
    description:
      - Whether the task fails when there is a blocker. With V(false) look at RV(ok) and
        RV(blockers).
    type: bool
    default: true
extends_documentation_fragment:
  - baton.redis._baton
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
    fail_on_blockers: false
  register: preflight

- name: Show what stands in the way
  ansible.builtin.debug:
    msg: "{{ preflight.blockers | map(attribute='found') }}"
"""

RETURN = r"""
ok:
  description: Whether nothing stands in the way.
  returned: always
  type: bool
  sample: true
blockers:
  description: The findings that stand in the way.
  returned: always
  type: list
  elements: dict
  contains: &finding
    code:
      description: Stable code of the finding.
      type: str
      sample: target_has_data
    level:
      description: One of V(blocker), V(warning) and V(info).
      type: str
      sample: blocker
    server:
      description: The server it is about, V(source), V(target) or V(both).
      type: str
      sample: target
    found:
      description: What was found.
      type: str
    remedy:
      description: What to do about it.
      type: str
findings:
  description: All findings, the blockers among them.
  returned: always
  type: list
  elements: dict
  contains: *finding
strategy:
  description: How the switchover would be done.
  returned: always
  type: str
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
      description: Memory needed in addition, in bytes.
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
    baton_module,
    run_step,
)


def main():
    module = baton_module(
        redirect={"type": "str", "choices": ["takeover", "none"], "default": "takeover"},
        aside_port={"type": "int"},
        force={"type": "bool", "default": False},
        fail_on_blockers={"type": "bool", "default": True},
    )
    fail_on_blockers = module.params.pop("fail_on_blockers")
    facts = run_step(module, "preflight")
    blockers = facts["blockers"]
    if blockers and fail_on_blockers:
        module.fail_json(
            msg="The upgrade would not be safe: " + "; ".join(b["found"] for b in blockers),
            reason=blockers[0]["code"],
            server=blockers[0]["server"],
            state="unchanged",
            remedy=blockers[0]["remedy"],
            **facts,
        )
    if blockers:
        msg = f"The upgrade would not be safe (blockers: {len(blockers)})."
    else:
        msg = "Nothing stands in the way of the upgrade."
    module.exit_json(msg=msg, **facts)


if __name__ == "__main__":
    main()
