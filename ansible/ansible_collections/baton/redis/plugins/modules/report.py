#!/usr/bin/python
# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Tell what has happened to a pair of Redis or Valkey servers
version_added: 0.1.0
description:
  - Writes what an upgrade was like, as one HTML page that opens offline, as JSON, or as metrics.
    Who serves, what it cost clients, what was sent and seen, and which settings are still raised.
  - Reads the journal and the chronicle of the pair, so it runs on the host where the other steps
    have run, as the same user. It connects to no server, and can be run at any time.
  - A file is written as a whole or not at all, and only where its content changes.
author:
  - The redis-baton authors (@redis-baton)
extends_documentation_fragment:
  - baton.redis._baton
  - baton.redis._baton.attributes
options:
  html:
    description: Path of a page for people, on the host where this runs.
    type: path
  json:
    description: Path of the same for machines, with each sample and each sight of the probe.
    type: path
  prometheus:
    description:
      - Path of metrics for the textfile collector of node_exporter. It has to end in C(.prom).
    type: path
seealso:
  - module: baton.redis.status
  - module: baton.redis.switchover
"""

EXAMPLES = r"""
- name: Write down what the upgrade was like
  baton.redis.report:
    source_port: 6379
    login_port: 6380
    html: /var/tmp/redis-upgrade.html
    prometheus: /var/lib/node_exporter/redis-upgrade.prom
  register: report

- name: Fetch it for the change ticket
  ansible.builtin.fetch:
    src: /var/tmp/redis-upgrade.html
    dest: reports/
"""

RETURN = r"""
outcome:
  description:
    - How things stood when the last call had ended. V(nothing), V(following), V(failed), V(undone)
      or V(rolled_back) with the source serving, V(switched) or V(retired) with the target serving,
      V(interrupted) where a handover or the last call has no end.
  returned: success
  type: str
  sample: switched
sentence:
  description: The outcome, what it cost clients and whether the data was compared, in one sentence.
  returned: success
  type: str
calls:
  description: Each call of a step, oldest first, with its outcome. Times are seconds since 1970.
  returned: success
  type: list
  elements: dict
before:
  description: Empty, as no server is asked.
  returned: success
  type: dict
after:
  description: Likewise.
  returned: success
  type: dict
actions:
  description: The files that were written.
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
    - Stable code of what is wrong. For one V(invalid_input) where a file can't be written,
      V(journal_failed).
  returned: failure
  type: str
  sample: journal_failed
server:
  description: The server it is about, if it is about one.
  returned: failure
  type: str
state:
  description: What state things are in. Always V(unchanged), as no server is asked.
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
        html={"type": "path"},
        json={"type": "path"},
        prometheus={"type": "path"},
    )
    facts = run_step(module, "report")
    # All samples of an upgrade are for the file, not for the log of a playbook.
    del facts["data"]
    module.exit_json(msg=facts["sentence"], **facts)


if __name__ == "__main__":
    main()
