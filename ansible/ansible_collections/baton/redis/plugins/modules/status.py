#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Say who serves, and whether there is a way back to the old Redis or Valkey
version_added: 0.1.0
description:
  - Looks how far the upgrade has come, who serves, and whether the source still follows the target
    without a gap, so that M(baton.redis.rollback) loses nothing.
  - Changes no server, ever. That the source was found not to be warm is noted in the journal.
  - Fails where the servers' roles fit no stage, or where one of them can't be asked.
author:
  - The redis-baton authors (@redis-baton)
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.switchover
  - module: baton.redis.rollback
  - module: baton.redis.retire
"""

EXAMPLES = r"""
- name: Look how things stand
  baton.redis.status:
    source_port: 6379
    login_port: 6380
  register: status

- name: Say it before there is no way back any more
  ansible.builtin.fail:
    msg: "The old server is not warm: {{ status.why }}"
  when: status.stage == 'switched' and not status.warm

- name: Raise the alarm while the backlog would not outlast a short outage
  ansible.builtin.fail:
    msg: "The backlog lasts for {{ status.backlog_seconds }} seconds."
  when: status.backlog_seconds is not none and status.backlog_seconds < 60
"""

RETURN = r"""
stage:
  description:
    - How far the upgrade has come. V(apart) and V(following) with the source serving, V(half_done)
      with nobody, V(switched) with the target serving and the source there, V(retired) with the
      source gone.
  returned: success
  type: str
  sample: switched
serving:
  description: Address of the server that serves. Null when nobody does.
  returned: success
  type: str
  sample: 127.0.0.1:6379
parked:
  description: Address of the other one. Null when it is gone.
  returned: success
  type: str
  sample: 127.0.0.1:6381
warm:
  description:
    - Whether the source follows the target without a gap, so that M(baton.redis.rollback) loses
      nothing. Null before the switchover and after M(baton.redis.retire).
  returned: success
  type: bool
  sample: true
since:
  description:
    - Since when, in seconds since 1970. Where it is not warm, since then at the latest. Null where
      RV(warm) is.
  returned: success
  type: float
  sample: 1795385575.3
why:
  description: Why it is not warm. Null where it is.
  returned: success
  type: str
backlog_seconds:
  description:
    - For how many seconds the source may be cut off and still follow without a gap, at the present
      rate of writes. Null where it is not warm, or where nothing is written.
  returned: success
  type: float
  sample: 5400.0
raised:
  description: Settings that are raised until the upgrade is over, each with its server.
  returned: success
  type: list
  elements: str
  sample: ["target 127.0.0.1:6379: repl-backlog-size"]
before:
  description: What was found on the servers.
  returned: success
  type: dict
after:
  description: The same, as this module changes nothing.
  returned: success
  type: dict
actions:
  description: Commands that changed something. Always empty.
  returned: always
  type: list
  elements: str
elapsed:
  description: Seconds the step took.
  returned: success
  type: float
  sample: 0.342
msg:
  description: The outcome, or what is wrong, in one sentence.
  returned: always
  type: str
reason:
  description:
    - Stable code of what is wrong. For one V(unreachable), V(half_done), V(history_lost),
      V(unexpected_roles).
  returned: failure
  type: str
  sample: unreachable
server:
  description: The server it is about, if it is about one.
  returned: failure
  type: str
  sample: source 127.0.0.1:6379
state:
  description:
    - What state things are in. This module changes nothing. V(interrupted) means that it found a
      handover that stands half way.
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
    module = baton_module()
    facts = run_step(module, "status")
    who = f"{facts['serving']} serves" if facts["serving"] else "Nobody serves"
    back = {None: "", True: ", and the old one is warm", False: ", and the old one is not warm"}
    why = f": {facts['why']}" if facts["why"] else ""
    module.exit_json(msg=f"{who}{back[facts['warm']]}{why}.", **facts)


if __name__ == "__main__":
    main()
