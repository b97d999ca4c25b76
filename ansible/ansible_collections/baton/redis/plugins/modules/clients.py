#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: clients
short_description: List the connections of the old and the new Redis or Valkey, or cut them
version_added: 0.1.0
description:
  - Lists the connections of both servers in groups, by kind, address, name and user.
  - With O(disconnect) cuts those of applications to the source, so that they come back to
    wherever they are led.
    This is refused as long as the source serves.
  - Connections of the upgrade itself, of replicas and of Sentinel are left alone.
  - A failure leaves the servers as they are, but may come after some connections were cut.
author:
  - The redis-baton authors (@redis-baton)
options:
  disconnect:
    description:
      - Whether to cut the connections of applications to the source, once the target serves.
    type: bool
    default: false
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.wait_quiescent
  - module: baton.redis.retire
"""

EXAMPLES = r"""
- name: Who is still connected to the old server?
  baton.redis.clients:
    source_port: 6379
    login_port: 6380
  register: clients

- name: Send those who are away from it
  baton.redis.clients:
    source_port: 6379
    login_port: 6380
    disconnect: true
"""

RETURN = r"""
source:
  description: The connections of the source, in groups. Empty when it is gone.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description:
        - One of V(normal), V(blocked), V(pubsub), V(monitor), V(replica), V(master),
          V(sentinel).
      type: str
      sample: normal
    address:
      description: Where they come from, without port.
      type: str
      sample: 10.0.0.7
    user:
      description: Their ACL user.
      type: str
      sample: default
    name:
      description: The name they gave themselves.
      type: str
    library:
      description: Their client library and its version, where the server knows.
      type: str
    connections:
      description: How many they are.
      type: int
      sample: 16
    idle:
      description: Seconds since the last command of the busiest of them.
      type: int
target:
  description: The connections of the target, in groups such as those of RV(source).
  returned: success
  type: list
  elements: dict
disconnected:
  description: How many connections were cut.
  returned: success
  type: int
  sample: 0
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
  description: Stable code of what is wrong. For one V(source_in_use), V(permission_denied).
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
    baton_module,
    exit_step,
    run_step,
)


def main():
    module = baton_module(
        disconnect={"type": "bool", "default": False},
    )
    facts = run_step(module, "clients")
    if module.params["disconnect"]:
        exit_step(module, facts, "no application is connected to the source")
    module.exit_json(msg="The connections of both servers were listed.", **facts)


if __name__ == "__main__":
    main()
