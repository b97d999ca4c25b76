#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: launch
short_description: Run a new Redis or Valkey with the live configuration of another one
version_added: 0.1.0
description:
  - Runs the target on the host the task runs on, with the configuration that the source has now,
    whatever its file says, and with its ACL users. The two share no file and no address.
  - The program is run for a moment, without data and without a port, and asked which parameters
    and ACL rules it knows. What it does not know is dropped, with a warning. A user whose rules it
    does not know is a failure.
  - Before anything is written, memory, disk, port, directory and program are looked at.
  - If the target runs already, and was launched with the same O(program) and O(parameters), there
    is nothing to do, wherever it listens now.
  - If it does not come up, it is ended, and nothing of it is left.
  - Files are readable for the user of the server alone. They hold the source's passwords.
author:
  - The redis-baton authors (@redis-baton)
options:
  directory:
    description:
      - Absolute path of the directory that is to be the target's own, for its configuration, data,
        log and pid file. It is made with mode V(0750) if it is missing. Its parent must be there.
      - A directory with files that are not of an earlier launch is refused.
    type: path
    required: true
  program:
    description:
      - Path of the server to run. Without it the source's own.
    type: path
  parameters:
    description:
      - Values that go before the source's, also of parameters that can't be changed at run time.
      - A directive that may come several times, such as C(loadmodule) or C(rename-command), takes a
        list.
      - Addresses and files are set by the module, and are refused here.
    type: dict
  unit:
    description:
      - The systemd unit that runs the server. It is started, not enabled. It has to run O(program)
        with C(redis-baton.conf) in O(directory).
      - Without it the server is a process of its own, which survives the task, but not the host.
    type: str
  user:
    description:
      - The user who runs the server and owns its files. Without it the unit's, or the one the task
        runs as. Another one needs root.
    type: str
  wait_timeout:
    description:
      - How long the server may take to answer, in seconds.
    type: float
    default: 30.0
  force:
    description:
      - Whether to launch it though memory or disk seem short.
    type: bool
    default: false
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.lock
  - baton.redis._baton.attributes
notes:
  - Run this on the host of the servers, unlike the other steps. What O(login_host) names must be an
    address of it.
seealso:
  - module: baton.redis.replicate
  - module: baton.redis.retire
"""

EXAMPLES = r"""
- name: Run the new version beside the old one
  baton.redis.launch:
    source_port: 6379
    login_port: 6380
    directory: /var/lib/redis-new
    program: /opt/valkey-9.1/bin/valkey-server
    user: redis
    parameters:
      io-threads: 4
  become: true

- name: The same as a service
  baton.redis.launch:
    source_port: 6379
    login_port: 6380
    directory: /var/lib/valkey
    program: /usr/bin/valkey-server
    unit: valkey-server@new.service
  become: true
"""

RETURN = r"""
launched:
  description: Whether the target runs.
  returned: success
  type: bool
  sample: true
pid:
  description: The number of its process; none if it does not run.
  returned: success
  type: int
  sample: 4711
config_file:
  description: Its configuration file.
  returned: success
  type: str
  sample: /var/lib/redis-new/redis-baton.conf
log_file:
  description: Its log.
  returned: success
  type: str
  sample: /var/lib/redis-new/server.log
program:
  description: The program that it runs.
  returned: success
  type: str
  sample: /opt/valkey-9.1/bin/valkey-server
version:
  description: What that is.
  returned: success
  type: str
  sample: Valkey 9.1.2
carried:
  description: Parameters that were carried because the default of the program is another.
  returned: success
  type: list
  elements: str
  sample: [maxmemory, maxmemory-policy]
users_carried:
  description: ACL users that were carried.
  returned: success
  type: list
  elements: str
  sample: [app, default]
dropped:
  description: Parameters of the source that were not carried.
  returned: success
  type: list
  elements: dict
  contains:
    parameter:
      description: Its name.
      type: str
      sample: gopher-enabled
    value:
      description: The source's value. That of a secret is masked.
      type: str
      sample: "no"
    why:
      description: Why it is not carried.
      type: str
      sample: the new program does not know it
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
    - Stable code of what is wrong. For one V(port_taken), V(directory_in_use),
      V(program_unusable), V(memory_short), V(disk_short), V(user_refused), V(launched_otherwise),
      V(launch_failed).
  returned: failure
  type: str
  sample: port_taken
server:
  description: The server it is about, if it is about one.
  returned: failure
  type: str
  sample: target 127.0.0.1:6380
state:
  description:
    - What state things are in. With V(unchanged) nothing was done, with V(undone) the server did
      not come up and nothing of it is left. The source serves as before.
  returned: failure
  type: str
  sample: undone
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from ansible_collections.baton.redis.plugins.module_utils._baton import (
    LOCK,
    baton_module,
    exit_step,
    hide_secrets,
    run_step,
)


def main():
    module = baton_module(
        quiet=True,
        directory={"type": "path", "required": True},
        program={"type": "path"},
        parameters={"type": "dict"},
        unit={"type": "str"},
        user={"type": "str"},
        wait_timeout={"type": "float", "default": 30.0},
        force={"type": "bool", "default": False},
        **LOCK,
    )
    hide_secrets(module, module.params["parameters"])
    exit_step(module, run_step(module, "launch"), "the target runs")


if __name__ == "__main__":
    main()
