#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clients
short_description: List the connections of the old and the new Redis or Valkey, or cut them
version_added: 0.1.0
description:
  - Lists the connections of both servers in groups, by kind, address, name, user and library,
    with the way by which each comes to the server that serves (RV(source[].follows)), and how
    many of each would lose something when they are cut.
  - Once the target serves, lists each connection of an application that the source still has
    (RV(stragglers)). With O(disconnect) cuts those that are meant, so that they come back to
    wherever they are led. This is refused as long as the source serves.
  - Connections of the upgrade itself, of replicas and of Sentinel are never cut, nor those that
    have announced C(CLIENT CAPA redirect) to a Valkey and go by themselves.
  - A failure leaves the servers as they are, but may come after some connections were cut.
author:
  - The redis-baton authors (@redis-baton)
options:
  disconnect:
    description:
      - Whom to cut off from the source, once the target serves. Applications that fit each of the
        criteria given, by one of its values.
      - Without it nobody is cut. A criterion with an empty list is refused, and so is one
        without any criterion, so that nobody is cut by a variable that came out empty.
    type: dict
    suboptions:
      kinds:
        description:
          - Of these kinds.
        type: list
        elements: str
        choices: [normal, blocked, pubsub]
      users:
        description:
          - Logged in as one of these ACL users.
        type: list
        elements: str
      names:
        description:
          - With a name like one of these. V(*) stands for anything, V(?) for one character.
        type: list
        elements: str
      addresses:
        description:
          - From one of these addresses, such as V(10.0.0.7) for all of a host, or
            V(10.0.0.7:51234) for one connection.
        type: list
        elements: str
      libraries:
        description:
          - With a client library and version like one of these, such as V(redis-py*).
        type: list
        elements: str
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.wait_quiescent
  - module: baton.redis.retire
"""

EXAMPLES = r"""
- name: Who is connected, and who would lose something in a switchover?
  baton.redis.clients:
    source_port: 6379
    login_port: 6380
  register: clients

- name: Wait for those that are within a transaction
  baton.redis.clients:
    source_port: 6379
    login_port: 6380
  register: clients
  until: clients.source | map(attribute='in_transaction') | sum == 0

- name: Send every application away from the old server
  baton.redis.clients:
    source_port: 6379
    login_port: 6380
    disconnect:
      kinds: [normal, blocked, pubsub]

- name: Send the subscribers of one service away from it
  baton.redis.clients:
    source_port: 6379
    login_port: 6380
    disconnect:
      kinds: [pubsub]
      names: ["shop-*"]
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
          V(sentinel), V(ours).
      type: str
      sample: normal
    follows:
      description:
        - By which way they come to the server that serves.
        - V(stays) means that they are there. V(reconnects) means that they are cut once in the
          switchover and come back to where they are led. V(redirected) means that they have
          announced C(CLIENT CAPA redirect) to a Valkey, and go by themselves, as the demoted server
          answers their next command with where to go. V(cut) means that nothing moves them but to
          be cut. V(repointed) means that they are a replica, or its link, and are told whom to
          follow. V(sentinel) and V(ours) are none of an application.
      type: str
      sample: reconnects
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
      sample: redis-py 6.2.0
    connections:
      description: How many they are.
      type: int
      sample: 16
    idle:
      description: Seconds since the last command of the busiest of them.
      type: int
    watching:
      description:
        - How many of them watch keys, which ends when they are cut. Before Redis 7.4 and Valkey
          8.0 only those whose keys have changed since are known.
      type: int
    in_transaction:
      description: How many are within C(MULTI), which is lost when they are cut.
      type: int
    tracking:
      description: How many have the server keep track of their keys, for a cache of their own.
      type: int
    subscribed:
      description: How many have subscribed to channels.
      type: int
    blocked:
      description: How many wait in a blocking command.
      type: int
target:
  description: The connections of the target, in groups such as those of RV(source).
  returned: success
  type: list
  elements: dict
stragglers:
  description: Each connection of an application to the source, once that serves no more.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: Where it comes from, with its port.
      type: str
      sample: 10.0.0.7:51234
    name:
      description: The name it gave itself.
      type: str
    user:
      description: Its ACL user.
      type: str
      sample: default
    library:
      description: Its client library and version, where the server knows.
      type: str
    kind:
      description: One of V(normal), V(blocked), V(pubsub).
      type: str
      sample: normal
    follows:
      description: As in RV(source[].follows). V(cut) or V(redirected) once the target serves.
      type: str
      sample: cut
    command:
      description: Its last command.
      type: str
      sample: get
    age:
      description: Seconds since it connected.
      type: int
    idle:
      description: Seconds since its last command.
      type: int
disconnected:
  description:
    - Each connection that was cut, or in check mode would be, such as those of RV(stragglers).
  returned: success
  type: list
  elements: dict
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
  description: Stable code of what is wrong. For one V(source_in_use), V(permission_denied),
    V(not_confirmed).
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
    words = {"type": "list", "elements": "str"}
    module = baton_module(
        disconnect={
            "type": "dict",
            "options": {
                "kinds": {**words, "choices": ["normal", "blocked", "pubsub"]},
                "users": words,
                "names": words,
                "addresses": words,
                "libraries": words,
            },
        },
    )
    selection = module.params["disconnect"]
    if selection is None:
        facts = run_step(module, "clients")
        module.exit_json(msg="The connections of both servers were listed.", **facts)
    # What was left out is no criterion.
    given = {name: values for name, values in selection.items() if values is not None}
    module.params["disconnect"] = given
    exit_step(module, run_step(module, "clients"), "who was meant is not connected to the source")


if __name__ == "__main__":
    main()
