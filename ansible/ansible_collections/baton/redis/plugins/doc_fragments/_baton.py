# Copyright: (c) The redis-baton authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation of every module has in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Host name or address of the target, the new server.
      - Source and target name the two processes by the addresses they had when the upgrade
        began. They stay the same for every task of an upgrade, also after the target has taken
        over the source's port.
    type: str
    default: 127.0.0.1
  login_port:
    description:
      - Port the target was started on.
    type: int
    default: 6379
  login_unix_socket:
    description:
      - Path of the target's Unix socket, to use in place of O(login_host) and O(login_port).
    type: path
  login_user:
    description:
      - ACL user for the target. Without it the server's default user is meant.
    type: str
  login_password:
    description:
      - Password for the target.
    type: str
  tls:
    description:
      - Whether to talk TLS to the target.
    type: bool
    default: false
  validate_certs:
    description:
      - Whether to check the target's certificate. Only for a server that you know should this be
        V(false).
    type: bool
    default: true
  ca_certs:
    description:
      - PEM file with the certificate authorities to trust for the target. Without it those that
        most systems trust.
    type: path
  client_cert_file:
    description:
      - PEM file with the certificate to show to the target. Goes with O(client_key_file).
    type: path
  client_key_file:
    description:
      - PEM file with the private key of O(client_cert_file).
    type: path
  connect_timeout:
    description:
      - How long a connection to the target may take to come up, in seconds.
    type: float
    default: 5.0
  source_host:
    description:
      - Host name or address of the source, the live server to be replaced, as it was when the
        upgrade began.
    type: str
    default: 127.0.0.1
  source_port:
    description:
      - Port the source served on when the upgrade began, which is the one the applications use.
    type: int
    default: 6379
  source_unix_socket:
    description:
      - Path of the source's Unix socket, to use in place of O(source_host) and O(source_port).
    type: path
  source_master_name:
    description:
      - The name that a sentinel has for the source. Then O(source_host) and O(source_port) are
        those of the sentinel, which is asked for the address. The login is the source's.
    type: str
  source_user:
    description:
      - ACL user for the source. Without it the server's default user is meant.
    type: str
  source_password:
    description:
      - Password for the source.
    type: str
  source_tls:
    description:
      - Whether to talk TLS to the source.
    type: bool
    default: false
  source_validate_certs:
    description:
      - Whether to check the source's certificate.
    type: bool
    default: true
  source_ca_certs:
    description:
      - PEM file with the certificate authorities to trust for the source.
    type: path
  source_client_cert_file:
    description:
      - PEM file with the certificate to show to the source. Goes with O(source_client_key_file).
    type: path
  source_client_key_file:
    description:
      - PEM file with the private key of O(source_client_cert_file).
    type: path
  source_connect_timeout:
    description:
      - How long a connection to the source may take to come up, in seconds.
    type: float
    default: 5.0
  journal_dir:
    description:
      - Folder of the journal, which keeps what can't be read back from the servers later, such
        as settings to restore.
      - It lies on the host the task runs on, and must be the same for all tasks of an upgrade.
        Without it C($XDG_STATE_HOME/redis-baton), or else C(~/.local/state/redis-baton), of the
        user the task runs as.
    type: path
requirements:
  - redis-baton, the Python package, on the host the task runs on. The role
    P(baton.redis.install#role) puts it there.
notes:
  - The tasks only need the network, so they can run anywhere, with C(delegate_to=localhost) for
    one. A port takeover is done by the servers themselves.
  - Where the Python that runs the module has no redis-baton, the one in C(/opt/redis-baton),
    where P(baton.redis.install#role) puts it by default, is used.
  - When a task fails, RV(ignore:reason) is a stable code to branch on, RV(ignore:server) the
    server concerned, RV(ignore:remedy) what to do, and RV(ignore:state) the state things are in.
    V(unchanged) means that no server was changed, V(undone) that the source serves as before,
    V(interrupted) that running the same task again goes on or undoes.
"""

    SERVER = r"""
options:
  login_host:
    description:
      - Host name or address of the server.
    type: str
    default: 127.0.0.1
  login_port:
    description:
      - Port of the server.
    type: int
    default: 6379
  login_unix_socket:
    description:
      - Path of the server's Unix socket, to use in place of O(login_host) and O(login_port).
    type: path
  login_user:
    description:
      - ACL user. Without it the server's default user is meant.
    type: str
  login_password:
    description:
      - Password for the server.
    type: str
  tls:
    description:
      - Whether to talk TLS to the server.
    type: bool
    default: false
  validate_certs:
    description:
      - Whether to check the server's certificate. Only for a server that you know should this be
        V(false).
    type: bool
    default: true
  ca_certs:
    description:
      - PEM file with the certificate authorities to trust. Without it those that most systems
        trust.
    type: path
  client_cert_file:
    description:
      - PEM file with the certificate to show to the server. Goes with O(client_key_file).
    type: path
  client_key_file:
    description:
      - PEM file with the private key of O(client_cert_file).
    type: path
  connect_timeout:
    description:
      - How long a connection to the server may take to come up, in seconds.
    type: float
    default: 5.0
requirements:
  - redis-baton, the Python package, on the host the task runs on. The role
    P(baton.redis.install#role) puts it there.
notes:
  - Where the Python that runs the module has no redis-baton, the one in C(/opt/redis-baton),
    where P(baton.redis.install#role) puts it by default, is used.
  - When a task fails, RV(ignore:reason) is a stable code to branch on, RV(ignore:server) the
    server concerned, RV(ignore:remedy) what to do, and RV(ignore:state) the state things are in.
    V(unchanged) means that nothing was changed, V(undone) that all is as before, V(interrupted)
    that running the same task again completes it.
"""

    HANDOVER = r"""
options:
  pause_budget:
    description:
      - The longest that writes may wait in one attempt, in seconds.
      - The server itself ends the pause then, whatever became of this task. Keep it below the
        applications' own timeouts.
    type: float
    default: 1.0
  patience:
    description:
      - How long to wait for a good moment before each attempt, in seconds. That is when the lag is
        small, the server that serves answers at once, and neither a save, another replica's
        initial sync nor a script keeps it busy. Writes do not wait meanwhile.
    type: float
    default: 30.0
  attempts:
    description:
      - How often to try before giving up. Between two attempts the old master serves as before.
      - In the first attempt the new master has 4 milliseconds to catch up, in later ones more, up
        to half of O(pause_budget).
    type: int
    default: 16
  max_lag_bytes:
    description:
      - How far behind the new master may be at the start of an attempt, in bytes. What it is
        behind, writes have to wait for.
    type: int
    default: 65536
  max_latency:
    description:
      - How long the server that serves may take to answer at the start of an attempt, in seconds.
    type: float
    default: 0.025
  backlog_bytes:
    description:
      - Size of the replication backlog of the new master for as long as the old one is warm, in
        bytes. What is larger already stays so.
      - It has to hold what is written in the longest outage that the warm old server should
        survive.
    type: int
    default: 268435456
  replication_user:
    description:
      - ACL user the servers log in to each other with. Without it the login that this task uses
        for the server that is replicated from.
    type: str
  replication_password:
    description:
      - Password of O(replication_user).
    type: str
  rewrite:
    description:
      - Whether both servers write their new role and port to their configuration files (C(CONFIG
        REWRITE)).
    type: bool
    default: true
  hooks:
    description:
      - Commands to run at moments of the handover, on the host the task runs on. Each is a list of
        words, a program and its arguments. No shell reads them.
      - A command finds the facts in its environment, as C(REDIS_BATON_MOMENT),
        C(REDIS_BATON_STEP), C(REDIS_BATON_SOURCE), C(REDIS_BATON_TARGET), C(REDIS_BATON_FROM),
        C(REDIS_BATON_TO) and C(REDIS_BATON_SERVING), and as JSON on its standard input. Addresses
        are C(host:port). The rest of its environment is that of the task.
      - Another status than 0 is a failure, and so is one that O(hook_timeout) ends.
      - Where the task is killed, its guard, or the task run again, runs a command again that may
        have been run already. So a command looks first and does what is left to do.
      - Where nothing is handed over, as in a second run or in check mode, none is run.
    type: dict
    suboptions:
      before:
        description:
          - Before anything is changed. If it fails, nothing is.
        type: list
        elements: str
      paused:
        description:
          - While writes wait and the server that is promoted next has everything, in each attempt
            that gets so far. If it fails, the pause ends and all is as before.
        type: list
        elements: str
      promoted:
        description:
          - When the promoted server serves and clients were led to it. It may lead them itself. If
            it fails, that is a warning, and the task run again runs it again.
        type: list
        elements: str
      after:
        description:
          - When all is done. If it fails, that is a warning.
        type: list
        elements: str
      undone:
        description:
          - When the handover did not come about after O(hooks.before) or O(hooks.paused) was run or
            failed, or was taken back. If it fails, that is a warning.
        type: list
        elements: str
  hook_timeout:
    description:
      - How long each of the O(hooks) may take, in seconds. It is killed then, with all that it has
        started. The one under the pause may take three quarters of O(pause_budget) at most.
    type: float
    default: 30.0
  guard:
    description:
      - Whether a process of its own stands by on the host the task runs on. If the task is killed
        in the middle of the handover, that finishes it, or takes it back.
      - It ends with the task otherwise. It gets passwords through a pipe alone. It does not survive
        the host it runs on, or the end of a container or unit that takes all its processes along.
    type: bool
    default: true
  probe:
    description:
      - Whether a light client looks on, which connects, reads and writes a key of its own
        (C(redis-baton:probe:) with a random name) every few milliseconds as a client would, and
        goes on for 2 seconds after the switchover.
      - With V(true) it comes to the address that clients use. With O(redirect=haproxy) that is not
        known. Give it instead, as C(redis://host:port) or C(rediss://host:port). The probe logs in
        as this task does at the source.
    type: str
"""

    REDIRECT = r"""
options:
  redirect:
    description:
      - How clients arrive at the target.
      - With V(takeover) the target takes over the source's port, which needs both on one host,
        and the source moves to another (C(aside_port)).
      - With V(haproxy) they come through HAProxies, which are told to let them wait and then to
        send them to the target. See O(haproxy).
      - With V(sentinel) they ask Sentinel, which is told. Each server stays at its own port.
      - With V(relay) the source leaves its port, and a process on its host, where the task must
        run, takes that over and forwards to the target, which may be on another host.
        M(baton.redis.relay) tells who comes through it, and ends it.
      - With V(none) they are moved by other means, such as a load balancer or a change in the
        applications' configuration.
      - A rollback leads clients back the way they came, which the journal knows. It needs this
        only for the passwords in it.
    type: str
    choices: [takeover, haproxy, sentinel, relay, none]
    default: takeover
  haproxy:
    description:
      - The HAProxies that clients come through, with O(redirect=haproxy).
      - In each, the source's server is found by its address. If the target has one in the same
        backend, the two change their state, otherwise the source's is given the target's address.
    type: dict
    suboptions:
      sockets:
        description:
          - The sockets of their runtime API, as paths on the host the task runs on, or as
            C(host:port).
          - Each needs C(level admin).
        type: list
        elements: str
        required: true
      frontends:
        description: The frontends that lead to the source, besides C(listen) sections.
        type: list
        elements: str
      backends:
        description: The backends to look in. Without it all of them.
        type: list
        elements: str
      source_servers:
        description:
          - The source's servers as C(backend/server), where they can't be found by its address.
        type: list
        elements: str
      target_servers:
        description:
          - The target's servers as C(backend/server), where they can't be found by its address.
        type: list
        elements: str
  sentinel:
    description:
      - The sentinels, with O(redirect=sentinel).
      - Source and target must be given by the addresses that Sentinel has for them.
    type: dict
    suboptions:
      sentinels:
        description: One or more of them, as C(HOST:PORT). One knows the others.
        type: list
        elements: str
        required: true
      name:
        description: The name they have for the master.
        type: str
        required: true
      user:
        description: ACL user of the sentinels.
        type: str
      password:
        description: Password of the user, or of the sentinels.
        type: str
      tls:
        description: How to speak TLS to the sentinels. Without it plain.
        type: dict
        suboptions:
          validate_certs:
            description: Whether the certificates must be valid.
            type: bool
            default: true
          ca_certs:
            description: PEM file of the authorities to trust in place of the system's.
            type: path
          client_cert_file:
            description: PEM file of the client's certificate.
            type: path
          client_key_file:
            description: PEM file of its key.
            type: path
  relay:
    description:
      - What O(redirect=relay) has to know.
    type: dict
    suboptions:
      socket:
        description:
          - The unix socket at which the relay takes orders. Its log, and what it forwards, are
            beside it. Without it C(relay-PORT.sock) beside the journal.
        type: path
      idle:
        description:
          - The relay ends by itself when nobody was connected for so many seconds. Without it only
            when it is told to.
        type: int
      unit:
        description:
          - The unit of systemd that runs it. Enabled, it brings the relay back after a reboot.
            Without it the relay runs by itself, and a rerun of M(baton.redis.switchover) starts it
            again after a reboot.
        type: str
"""

    LOCK = r"""
options:
  break_lock:
    description:
      - Whether to cut off another controller that is at work on these servers, from whatever host.
        Without it the task fails with V(locked) as RV(ignore:reason).
      - For one that is dead or hangs. Never cut off one that works.
    type: bool
    default: false
"""

    ATTRIBUTES = r"""
options: {}
attributes:
  check_mode:
    description:
      - Can run in C(check_mode) and return changed status prediction without modifying the
        servers.
    support: full
  diff_mode:
    description:
      - Returns details on what has changed, or would change in C(check_mode), when in diff mode.
    support: full
  idempotent:
    description:
      - Running it twice has the same outcome as running it once, and the second time reports no
        change.
    support: full
  action_group:
    description:
      - Use C(group/baton.redis.all) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - baton.redis.all
"""
