#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replicate
short_description: Make the new Redis or Valkey replicate from the live one
version_added: 0.1.0
description:
  - Makes the target replicate from the source, after the checks of M(baton.redis.preflight).
  - The source's ACL users are carried over to the target, with their passwords as hashes, also
    where it replicates already. If the target does not know a rule of one of them, none is
    carried, and the task fails with V(user_refused) as RV(ignore:reason).
    The target gets what it needs to log in to the source, which is tried before anything is
    changed. The way back is tried too, before the sync begins. Settings of both are raised for the
    sync, and restored later.
  - Returns as soon as the replication has begun. M(baton.redis.wait_synced) waits for it to
    complete.
  - Data that the target has of its own is never wiped, unless O(force) says so.
  - The source serves as before, whether the task succeeds or fails.
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
  replication_user:
    description:
      - ACL user the servers log in to each other with. Without it the one of O(source_user).
    type: str
  replication_password:
    description:
      - Password of O(replication_user). Without it the one of O(source_password).
    type: str
  wait_timeout:
    description:
      - How long the target may take to reach the source and begin the sync, in seconds.
    type: float
    default: 60.0
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.redirect
  - baton.redis._baton.lock
  - baton.redis._baton.attributes
seealso:
  - module: baton.redis.preflight
  - module: baton.redis.wait_synced
"""

EXAMPLES = r"""
- name: Make the new server replicate from the live one
  baton.redis.replicate:
    source_host: redis.example.com
    source_port: 6379
    source_password: "{{ vault_redis_password }}"
    login_host: redis.example.com
    login_port: 6380

- name: The same with TLS, and an account of its own for the replication
  baton.redis.replicate:
    source_host: redis.example.com
    source_tls: true
    source_ca_certs: /etc/ssl/redis-ca.pem
    source_user: admin
    source_password: "{{ vault_redis_password }}"
    replication_user: replicator
    replication_password: "{{ vault_replication_password }}"
    login_host: redis.example.com
    login_port: 6380
    tls: true
    ca_certs: /etc/ssl/redis-ca.pem
"""

RETURN = r"""
replicating:
  description: Whether the target replicates from the source, or has done so and serves now.
  returned: success
  type: bool
  sample: true
users_carried:
  description: The ACL users that this task carried over to the target.
  returned: success
  type: list
  elements: str
  sample: [app, replicator]
users_overwritten:
  description: Those of them that the target had with other rules.
  returned: success
  type: list
  elements: str
  sample: [default]
users_only_on_target:
  description: ACL users that only the target has. They stay.
  returned: success
  type: list
  elements: str
  sample: []
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
    - Stable code of what is wrong. For one V(target_has_data), V(same_server),
      V(source_is_replica), V(rdb_too_new), V(auth_failed), V(locked).
  returned: failure
  type: str
  sample: target_has_data
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
    REDIRECT,
    baton_module,
    exit_step,
    run_step,
)


def main():
    module = baton_module(
        **REDIRECT,
        aside_port={"type": "int"},
        force={"type": "bool", "default": False},
        replication_user={"type": "str"},
        replication_password={"type": "str", "no_log": True},
        wait_timeout={"type": "float", "default": 60.0},
        **LOCK,
    )
    exit_step(module, run_step(module, "replicate"), "the target replicates from the source")


if __name__ == "__main__":
    main()
