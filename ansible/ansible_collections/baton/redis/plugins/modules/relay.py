#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: relay
short_description: Say who still comes through the relay of a switchover, or end it
version_added: 0.1.0
description:
  - After a switchover with O(baton.redis.switchover#module:redirect=relay) a process on the
    source's host forwards the clients to the target. This lists who still comes through it.
  - With O(end) ends it once nobody is connected. Nothing listens at the source's address then, so
    give the applications the target's address first.
  - The relay is asked at its socket, so this runs on its host, as the user it runs as. The servers
    are asked nothing.
author:
  - The redis-baton authors (@redis-baton)
options:
  end:
    description:
      - Whether to end it. With somebody connected that is refused.
    type: bool
    default: false
  force:
    description:
      - Whether O(end) ends it whoever is connected. They are cut off.
    type: bool
    default: false
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.switchover
  - module: baton.redis.retire
"""

EXAMPLES = r"""
- name: Who has not been given the new address yet?
  baton.redis.relay:
    source_port: 6379
    login_host: db2.example.com
  register: relay

- name: End the relay, since all have
  baton.redis.relay:
    source_port: 6379
    login_host: db2.example.com
    end: true
  when: relay.connections | length == 0
"""

RETURN = r"""
running:
  description: Whether it runs.
  returned: success
  type: bool
ended:
  description:
    - Whether it has ended for good, because it was told to or nobody was connected for as long as
      it was to wait. A rerun of M(baton.redis.switchover) starts one again that was killed, but not
      one that has ended.
  returned: success
  type: bool
listens:
  description: The addresses where it listens. Empty where it does not.
  returned: success
  type: list
  elements: str
  sample: ["127.0.0.1 port 6379"]
leads_to:
  description: The server that it leads to, where there is a relay.
  returned: success
  type: str
  sample: 10.0.0.8:6379
socket:
  description: The unix socket at which it takes orders, where there is a relay.
  returned: success
  type: str
most:
  description: How many connections it can hold.
  returned: success
  type: int
taken:
  description: How many connections it has taken since it was started.
  returned: success
  type: int
failed:
  description: How many of them it closed since the server could not be connected to.
  returned: success
  type: int
connections:
  description: Who is connected through it.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: Address and port of the client.
      type: str
      sample: 10.0.0.7:41234
    since:
      description: Since when it is connected, in seconds since 1970.
      type: float
    idle:
      description: Seconds since it has sent or got anything.
      type: float
    sent:
      description: Bytes it has sent.
      type: int
    received:
      description: Bytes it has got.
      type: int
before:
  description: What was found of the relay.
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
  description: Stable code of what is wrong. For one V(relay_in_use), V(redirect_failed).
  returned: failure
  type: str
  sample: relay_in_use
server:
  description: The relay it is about, if it is about one.
  returned: failure
  type: str
  sample: relay /var/lib/redis-baton/relay-6379.sock
state:
  description:
    - What state things are in. With V(unchanged) nothing was changed, with V(interrupted) the
      task has to run again to complete what it began.
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
    exit_step,
    run_step,
)


def main():
    module = baton_module(
        end={"type": "bool", "default": False},
        force={"type": "bool", "default": False},
    )
    facts = run_step(module, "relay")
    if module.params["end"]:
        exit_step(module, facts, "no relay leads clients to the target")
    module.exit_json(msg="The connections of the relay were listed.", **facts)


if __name__ == "__main__":
    main()
