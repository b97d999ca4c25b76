#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config
short_description: Set parameters of a live Redis or Valkey
version_added: 0.1.0
description:
  - Sees to it that parameters of one server have the values given, without a restart.
  - Values are compared by what the server makes of them. So C(1gb) and C(1073741824) are the same,
    and so are C(KEA) and C(AKE), V(true) and C(yes), or a snapshot schedule with other blanks.
  - What differs is set in one C(CONFIG SET), of which the server does all or nothing (7.0 and
    newer). On older ones parameters are set one after the other, and those before are put back if
    one is refused.
  - What can't be set at run time is no failure. RV(restart_required) lists it.
author:
  - The redis-baton authors (@redis-baton)
options:
  parameters:
    description:
      - The parameters, by name, with the values they are to have.
      - Names of other versions will do, such as C(slave-priority) for C(replica-priority).
      - V(true) and V(false) mean C(yes) and C(no), also as what YAML makes of a bare C(no). A list
        is for what takes several lines in the configuration file, such as C(save). An empty
        string turns off what can be turned off like that.
      - Of C(client-output-buffer-limit) only the classes given are looked at and set.
      - The values of passwords are masked in all output.
    type: dict
    required: true
  rewrite:
    description:
      - Whether to save the parameters to the configuration file too (C(CONFIG REWRITE)). That
        writes every parameter that differs from its default, not just those given.
      - Where the task runs on the server's host and may read the file, it is not written if it
        holds the values already. Elsewhere it is written every time, which counts as no change by
        itself.
      - A server that was started without a configuration file is refused.
    type: bool
    default: false
extends_documentation_fragment:
  - baton.redis._baton.server
  - baton.redis._baton.lock
  - baton.redis._baton.attributes
attributes:
  action_group:
    description:
      - Use C(group/baton.redis.server) in C(module_defaults) to set defaults for the modules that
        work on one server.
    membership:
      - baton.redis.server
notes:
  - In check mode a server from 7.0 on is asked which parameters need a restart. That is a
    C(CONFIG SET) which names a parameter twice, so that the server refuses it in any case. For an
    older one the module goes by a list.
  - After a change of C(requirepass) the next task has to log in with the new one.
  - To turn AOF on or off without a moment in which data is unprotected takes more than
    C(appendonly).
"""

EXAMPLES = r"""
- name: Give it more memory, and keep that over a restart
  baton.redis.config:
    login_port: 6379
    login_password: "{{ vault_redis_password }}"
    parameters:
      maxmemory: 2gb
      maxmemory-policy: allkeys-lru
      save:
        - 3600 1
        - 300 100
      client-output-buffer-limit: replica 512mb 128mb 60
    rewrite: true

- name: Set what can be set while it runs
  baton.redis.config:
    login_port: 6379
    parameters:
      databases: 32
      timeout: 300
  register: config

- name: Say what is left to do
  ansible.builtin.debug:
    msg: "{{ item.parameter }} is {{ item.present }}; a restart makes it {{ item.wanted }}."
  loop: "{{ config.restart_required }}"

- name: Write the rest to the file for the next restart
  ansible.builtin.lineinfile:
    path: /etc/redis/redis.conf
    regexp: "^{{ item.parameter }} "
    line: "{{ item.parameter }} {{ item.wanted }}"
  loop: "{{ config.restart_required }}"
"""

RETURN = r"""
set:
  description: The parameters that were set, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [maxmemory]
restart_required:
  description:
    - The parameters that the server takes from its configuration file alone, when it starts, and
      that have another value than given.
  returned: success
  type: list
  elements: dict
  contains:
    parameter:
      description: Its name, as given.
      type: str
      sample: databases
    present:
      description: The value it has.
      type: str
      sample: "16"
    wanted:
      description: The value it should have.
      type: str
      sample: "32"
    why:
      description: Why it can't be set, in the server's words.
      type: str
      sample: can't set immutable config
rewritten:
  description:
    - Whether the configuration file was written. Where it can be read, whether that changed it.
  returned: success
  type: bool
  sample: true
before:
  description:
    - The parameters as they were, by name. A password is V(***), and empty where there is none.
  returned: success
  type: dict
after:
  description: The parameters as they were read back at the end; in check mode, as they would be.
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
  sample: 0.012
msg:
  description: The outcome, or what is wrong, in one sentence.
  returned: always
  type: str
reason:
  description:
    - Stable code of what is wrong. For one V(parameter_unknown), V(parameter_refused),
      V(no_config_file), V(not_saved), V(locked).
  returned: failure
  type: str
  sample: parameter_refused
server:
  description: The server it is about, if it is about one.
  returned: failure
  type: str
  sample: server 127.0.0.1:6379
state:
  description:
    - What state things are in. With V(unchanged) nothing was changed, with V(undone) what had been
      set was put back, with V(interrupted) the task has to run again to complete what it began.
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
    exit_step,
    run_step,
    server_module,
)

# Every parameter whose value is a secret ends like one of these.
SECRET_ENDINGS = ("pass", "auth")


def main():
    module = server_module(
        # Ansible logs what a module was called with before a value can be marked as secret.
        log_call=False,
        parameters={"type": "dict", "required": True},
        rewrite={"type": "bool", "default": False},
        **LOCK,
    )
    module.no_log_values.update(
        str(value)
        for name, value in module.params["parameters"].items()
        if str(name).lower().endswith(SECRET_ENDINGS) and value not in (None, "")
    )
    facts = run_step(module, "config")
    left = ", ".join(one["parameter"] for one in facts["restart_required"])
    but = f", but for what needs a restart: {left}" if left else ""
    exit_step(module, facts, f"the parameters are as given{but}")


if __name__ == "__main__":
    main()
