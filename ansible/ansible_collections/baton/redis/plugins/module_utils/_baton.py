# Copyright: (c) The redis-baton authors
# Apache License 2.0 (see https://www.apache.org/licenses/LICENSE-2.0) or, at your option,
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later

"""All that the modules share: their options, the call of a step, its outcome in Ansible's words."""

from __future__ import annotations

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.respawn import (
    has_respawned,
    probe_interpreters_for_module,
    respawn_module,
)
from ansible.module_utils.parsing.convert_bool import BOOLEANS, boolean

try:
    import redis_baton
    from redis_baton.errors import BatonError

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

# Where the role install puts the library unless told otherwise.
INSTALLED_PYTHON = "/opt/redis-baton/bin/python"

# The arguments of redis_baton.Endpoint. Those that say where a server is and how to log in have
# the prefix login_ for the target, as is usual; all of them have source_ for the source.
LOGIN = {
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 6379},
    "unix_socket": {"type": "path"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
}
# Of the source alone.
MASTER = {"master_name": {"type": "str"}}
TRANSPORT = {
    "tls": {"type": "bool", "default": False},
    "validate_certs": {"type": "bool", "default": True},
    "ca_certs": {"type": "path"},
    "client_cert_file": {"type": "path"},
    "client_key_file": {"type": "path", "no_log": False},
    "connect_timeout": {"type": "float", "default": 5.0},
}

# The options of a handover, in either direction.
HANDOVER = {
    "pause_budget": {"type": "float", "default": 1.0},
    "patience": {"type": "float", "default": 30.0},
    "attempts": {"type": "int", "default": 16},
    "max_lag_bytes": {"type": "int", "default": 65536},
    "max_latency": {"type": "float", "default": 0.025},
    "backlog_bytes": {"type": "int", "default": 268435456},
    "replication_user": {"type": "str"},
    "replication_password": {"type": "str", "no_log": True},
    "rewrite": {"type": "bool", "default": True},
    "hooks": {
        "type": "dict",
        "options": {
            moment: {"type": "list", "elements": "str"}
            for moment in ("before", "paused", "promoted", "after", "undone")
        },
    },
    "hook_timeout": {"type": "float", "default": 30.0},
    "guard": {"type": "bool", "default": True},
    "probe": {"type": "str"},
}
# How clients are moved, and what each way has to know.
REDIRECT = {
    "redirect": {
        "type": "str",
        "choices": ["takeover", "haproxy", "sentinel", "relay", "none"],
        "default": "takeover",
    },
    "haproxy": {
        "type": "dict",
        "options": {
            "sockets": {"type": "list", "elements": "str", "required": True},
            "frontends": {"type": "list", "elements": "str"},
            "backends": {"type": "list", "elements": "str"},
            "source_servers": {"type": "list", "elements": "str"},
            "target_servers": {"type": "list", "elements": "str"},
        },
    },
    "sentinel": {
        "type": "dict",
        "options": {
            "sentinels": {"type": "list", "elements": "str", "required": True},
            "name": {"type": "str", "required": True},
            "user": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "tls": {
                "type": "dict",
                "options": {
                    "validate_certs": {"type": "bool", "default": True},
                    "ca_certs": {"type": "path"},
                    "client_cert_file": {"type": "path"},
                    "client_key_file": {"type": "path"},
                },
            },
        },
    },
    "relay": {
        "type": "dict",
        "options": {
            "socket": {"type": "path"},
            "idle": {"type": "int"},
            "unit": {"type": "str"},
        },
    },
}
# The option of every module that keeps other controllers out.
LOCK = {"break_lock": {"type": "bool", "default": False}}
# Parameters of a server whose values are secrets, as in src/server/config.rs.
SECRET_PARAMETERS = {
    "masterauth",
    "primaryauth",
    "requirepass",
    "sentinel-pass",
    "tls-client-key-file-pass",
    "tls-key-file-pass",
}

# Which option each argument of an Endpoint comes from, per argument of the step.
TARGET_OPTIONS = {**{name: f"login_{name}" for name in LOGIN}, **{name: name for name in TRANSPORT}}
SOURCE_OPTIONS = {name: f"source_{name}" for name in {**LOGIN, **MASTER, **TRANSPORT}}
PAIR = {"source": SOURCE_OPTIONS, "target": TARGET_OPTIONS}
ALONE = {"server": TARGET_OPTIONS}


def connection_spec(servers):
    """The options that say where these servers are and how to log in."""
    arguments = {**LOGIN, **MASTER, **TRANSPORT}
    return {option: arguments[name] for names in servers.values() for name, option in names.items()}


def baton_module(*, quiet=False, **own):
    """The module of a step on two servers. Its own options are keyword arguments of the step.

    With `quiet` the host does not log what it was called with.
    """
    return AnsibleModule(
        argument_spec={**connection_spec(PAIR), "journal_dir": {"type": "path"}, **own},
        required_together=[
            ["client_cert_file", "client_key_file"],
            ["source_client_cert_file", "source_client_key_file"],
        ],
        supports_check_mode=True,
        no_log=quiet,
    )


def server_module(*, log_call=True, **own):
    """The module of a step on one server. Its own options are keyword arguments of the step."""
    return AnsibleModule(
        no_log=not log_call,  # on the host it runs on, in the system's log
        argument_spec={**connection_spec(ALONE), **own},
        required_together=[["client_cert_file", "client_key_file"]],
        supports_check_mode=True,
    )


def hide_secrets(module, parameters):
    """Keep the values of secret parameters out of all that the module reports."""
    found = [value for name, value in (parameters or {}).items() if name in SECRET_PARAMETERS]
    module.no_log_values.update(str(value) for value in found if value)


def endpoints(params):
    """The servers, as arguments of a step."""
    servers = PAIR if "source_host" in params else ALONE
    return {
        server: redis_baton.Endpoint(**{name: params[option] for name, option in names.items()})
        for server, names in servers.items()
    }


def with_redirect(own):
    """The options of a step, with the way that clients are moved as one argument."""
    ways = {name: own[name] for name in REDIRECT if name in own}
    if not ways:
        return own
    word = ways.pop("redirect")
    given = {k: v for k, v in ways.get(word, {}).items() if v is not None}
    rest = {k: v for k, v in own.items() if k not in REDIRECT}
    return {**rest, "redirect": {word: given} if word in ways else word}


def wished_probe(module, text):
    """Whether a probe looks on, or the address that it comes to."""
    if text.lower() in BOOLEANS:
        return boolean(text)
    if "@" in text:  # it would be in the log of the host
        module.fail_json(
            msg="probe: is an address without a login: it has the one of the source (unchanged)",
            reason="invalid_input",
            state="unchanged",
        )
    return text


def run_step(module, step):
    """Run the step and return what it reports, ready for exit_json. An error ends the module."""
    if IMPORT_ERROR:
        respawn_or_fail(module)
    connection = connection_spec(PAIR)
    own = {k: v for k, v in module.params.items() if k not in connection and v is not None}
    own = with_redirect(own)
    if "hooks" in own:
        own["hooks"] = {k: v for k, v in own["hooks"].items() if v is not None}
    if "probe" in own:
        own["probe"] = wished_probe(module, own["probe"])
    try:
        result = getattr(redis_baton, step)(
            **endpoints(module.params),
            **own,
            dry_run=module.check_mode,
        )
    except BatonError as error:
        failure = {
            "msg": str(error),
            "reason": error.reason,
            "server": error.server,
            "state": error.state,
            "remedy": error.remedy,
            "actions": error.actions,
        }
    except (OverflowError, TypeError, ValueError) as error:  # refused before it reached the step
        failure = {"msg": str(error), "reason": "invalid_input", "state": "unchanged"}
    else:
        facts = result.as_dict()
        for warning in facts.pop("warnings"):
            module.warn(warning)
        if module._diff:  # noqa: SLF001  (there is no public way to ask)
            facts["diff"] = {"before": facts["before"], "after": facts["after"]}
        return facts
    return module.fail_json(**failure)


def exit_step(module, facts, statement):
    """End the module, saying that the statement holds, or in check mode would hold."""
    if not facts["changed"]:
        when = "Nothing to do"
    elif module.check_mode:
        when = "Would be done"
    else:
        when = "Done"
    module.exit_json(msg=f"{when}: {statement}.", **facts)


def respawn_or_fail(module):
    """Go on in the Python that has the library, or say what is missing."""
    if not has_respawned():
        interpreter = probe_interpreters_for_module([INSTALLED_PYTHON], "redis_baton")
        if interpreter:
            respawn_module(interpreter)
    remedy = (
        "run the role baton.redis.install on this host, "
        "or set ansible_python_interpreter to a Python that has the library"
    )
    module.fail_json(
        msg=f"{missing_required_lib('redis-baton')}; {remedy} (unchanged)",
        reason="library_missing",
        state="unchanged",
        remedy=remedy,
        exception=IMPORT_ERROR,
    )
