"""The whole surface between the Rust core and Python. Checked against the module by stubtest."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, Literal, TypeAlias, final

_Event: TypeAlias = dict[str, Any]
_OnEvent: TypeAlias = Callable[[_Event], object]
_Value: TypeAlias = str | int | float  # bool is an int
# A word, or a mapping of one to its options.
_Redirect: TypeAlias = Literal["takeover", "relay", "none"] | Mapping[str, Mapping[str, Any]]
# By moment, a program with its arguments or a function that is given the facts.
_Moment: TypeAlias = Literal["before", "paused", "promoted", "after", "undone"]
_Hook: TypeAlias = Sequence[str] | Callable[[dict[str, Any]], object]
_Level: TypeAlias = Literal["counts", "sample", "full"]
_By: TypeAlias = Literal["streams", "reads"]
_Mode: TypeAlias = Literal["rdb", "aof", "both", "none"]
_Fsync: TypeAlias = Literal["always", "everysec", "no"]
_Criterion: TypeAlias = Literal["kinds", "users", "names", "addresses", "libraries"]
_Step: TypeAlias = Literal[
    "preflight", "replicate", "wait_synced", "verify", "switchover", "wait_quiescent", "retire"
]

__all__ = [
    "REASONS",
    "ActiveClient",
    "ClientGroup",
    "Clients",
    "Config",
    "Database",
    "Dropped",
    "Endpoint",
    "Estimates",
    "Finding",
    "Launch",
    "Persistence",
    "Phase",
    "Preflight",
    "Probed",
    "Promote",
    "Relay",
    "RelayConnection",
    "Replicate",
    "Report",
    "RestartRequired",
    "Retire",
    "Status",
    "StepReport",
    "Straggler",
    "Switchover",
    "Upgrade",
    "Verify",
    "WaitQuiescent",
    "WaitReady",
    "WaitSynced",
    "__version__",
    "clients",
    "config",
    "launch",
    "persistence",
    "preflight",
    "promote",
    "relay",
    "replicate",
    "report",
    "retire",
    "rollback",
    "run_relay",
    "stand_guard",
    "status",
    "switchover",
    "upgrade",
    "verify",
    "wait_quiescent",
    "wait_ready",
    "wait_synced",
]
__version__: str
REASONS: dict[str, str]
"""Every stable reason code with its meaning."""

@final
class Endpoint:
    """Where a server is and how to log in. Immutable; its repr never shows the password.

    ``source=`` and ``target=`` of every step take one of these or a URL (see `from_url`).

    With `master_name` the address is that of a sentinel, which knows the server as the master of
    that name. Of a source alone; the login is the master's, and TLS is spoken to both or neither.
    """

    def __new__(
        cls,
        host: str = "127.0.0.1",
        port: int = 6379,
        *,
        unix_socket: str | None = None,
        master_name: str | None = None,
        user: str | None = None,
        password: str | None = None,
        tls: bool = False,
        validate_certs: bool = True,
        ca_certs: str | None = None,
        client_cert_file: str | None = None,
        client_key_file: str | None = None,
        connect_timeout: float = 5.0,
    ) -> Endpoint: ...
    @staticmethod
    def from_url(
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        validate_certs: bool = True,
        ca_certs: str | None = None,
        client_cert_file: str | None = None,
        client_key_file: str | None = None,
        connect_timeout: float = 5.0,
    ) -> Endpoint:
        """Read ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://``.

        ``redis+sentinel://host:26379/name`` is the master that a sentinel knows by that name, with
        ``rediss+sentinel://`` over TLS.
        """
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def unix_socket(self) -> str | None: ...
    @property
    def master_name(self) -> str | None: ...
    @property
    def user(self) -> str | None: ...
    @property
    def tls(self) -> bool: ...
    @property
    def connect_timeout(self) -> float: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Finding:
    """One thing found by `preflight`."""

    @property
    def code(self) -> str:
        """Stable; a blocker's is the `reason` of the refusal it leads to."""
    @property
    def level(self) -> str:
        """`blocker` or `warning`."""
    @property
    def server(self) -> str:
        """The server it is about, such as `target 127.0.0.1:6380`."""
    @property
    def found(self) -> str:
        """What was found."""
    @property
    def remedy(self) -> str:
        """What to do."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Estimates:
    """What the upgrade would cost, estimated from what the source says of itself."""

    @property
    def sync_seconds(self) -> float:
        """Seconds of the initial sync, at 100 MB/s."""
    @property
    def memory_bytes(self) -> int:
        """Bytes of memory that the target will need for the data."""
    @property
    def write_gap_ms(self) -> float:
        """Milliseconds for which writes wait in the switchover, where the target keeps up."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Preflight:
    """What `preflight` returns."""

    @property
    def ok(self) -> bool:
        """Whether nothing blocks the upgrade."""
    @property
    def stage(self) -> str:
        """`apart`, `following`, `half_done`, `switched`, `retired`, or `unexpected`."""
    @property
    def findings(self) -> list[Finding]:
        """Everything found, blockers first."""
    @property
    def strategy(self) -> str:
        """`reversible`: the old server can take over back for as long as it follows.

        `fenced` (a source before 6.2): it is shut down in the handover, and there is no way back.
        """
    @property
    def plan(self) -> list[str]:
        """What would be done, in order."""
    @property
    def estimates(self) -> Estimates:
        """What it would cost."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Dropped:
    """A parameter of the source that its successor starts without."""

    @property
    def parameter(self) -> str:
        """Its name."""
    @property
    def value(self) -> str:
        """The source's value; that of a secret is masked."""
    @property
    def why(self) -> str:
        """Why it is not carried."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Launch:
    """What `launch` returns."""

    @property
    def launched(self) -> bool:
        """Whether the target runs."""
    @property
    def pid(self) -> int | None:
        """The number of its process; None if it does not run."""
    @property
    def config_file(self) -> str:
        """Its configuration file."""
    @property
    def log_file(self) -> str:
        """Its log."""
    @property
    def program(self) -> str:
        """The program that it runs."""
    @property
    def version(self) -> str:
        """What that is, such as `Valkey 9.1.2`."""
    @property
    def carried(self) -> list[str]:
        """Parameters that were carried because the new program's default is another."""
    @property
    def users_carried(self) -> list[str]:
        """ACL users that were carried."""
    @property
    def dropped(self) -> list[Dropped]:
        """Parameters that were not carried, and why."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Replicate:
    """What `replicate` returns."""

    @property
    def replicating(self) -> bool:
        """Whether the target replicates from the source, or has and serves now."""
    @property
    def users_carried(self) -> list[str]:
        """The ACL users carried over by this call."""
    @property
    def users_overwritten(self) -> list[str]:
        """Those of them that the target had with other rules."""
    @property
    def users_only_on_target(self) -> list[str]:
        """ACL users that only the target has. They stay."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class WaitSynced:
    """What `wait_synced` returns."""

    @property
    def synced(self) -> bool:
        """Whether the target has the source's data and follows, or has and serves now."""
    @property
    def lag_bytes(self) -> int:
        """Bytes of the replication stream that the target was behind."""
    @property
    def sync_bytes(self) -> int:
        """Bytes of the initial sync that this call has seen pass."""
    @property
    def attempts(self) -> int:
        """How often the counts were looked at."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Database:
    """The key counts of one database."""

    @property
    def number(self) -> int:
        """Its number."""
    @property
    def source_keys(self) -> int:
        """Keys in the one that serves."""
    @property
    def target_keys(self) -> int:
        """Keys in the one that follows."""
    @property
    def source_expires(self) -> int:
        """Keys that expire, in the one that serves."""
    @property
    def target_expires(self) -> int:
        """Keys that expire, in the one that follows."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Verify:
    """What `verify` returns."""

    @property
    def equal(self) -> bool:
        """Whether nothing differed in what was compared, and at the level `full` everything was."""
    @property
    def level(self) -> str:
        """What was compared: `counts`, `sample` or `full`."""
    @property
    def exact(self) -> bool:
        """Whether the counts were compared at one and the same offset."""
    @property
    def databases(self) -> list[Database]:
        """Key counts by database."""
    @property
    def offset(self) -> int:
        """Offset of the stream at the comparison."""
    @property
    def compared(self) -> int:
        """How many keys were compared in full."""
    @property
    def differing(self) -> int:
        """How many of them differ, or are only on one side."""
    @property
    def differences(self) -> list[str]:
        """What differs, in words: the counts, and up to `max_differences` keys."""
    @property
    def unsettled(self) -> int:
        """How many keys could not be compared because they changed all the time."""
    @property
    def not_comparable(self) -> dict[str, int]:
        """How many keys can't be compared, by the reason."""
    @property
    def detectable_share(self) -> float | None:
        """The share of differing keys that would have been found with a probability of 95 %.

        0 where every key was compared, None where no key was.
        """
    @property
    def slowed(self) -> int:
        """How often reads were slowed down, as the server that serves took too long to answer."""
    @property
    def ping_ms(self) -> float:
        """The median of ten pings of the target, in milliseconds."""
    @property
    def attempts(self) -> int:
        """How often it was looked."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Persistence:
    """What `persistence` returns."""

    @property
    def mode(self) -> str:
        """What the server writes, `rdb`, `aof`, `both` or `none`; in a dry run, what it would."""
    @property
    def previous_mode(self) -> str:
        """What it wrote before."""
    @property
    def save(self) -> str:
        """Its save points, such as `3600 1 300 100`; empty without."""
    @property
    def appendfsync(self) -> str:
        """When its AOF is told to be on disk: `always`, `everysec` or `no`."""
    @property
    def rewritten(self) -> bool:
        """Whether the configuration file was rewritten, so that a restart keeps it."""
    @property
    def files_seen(self) -> bool:
        """Whether the files themselves were looked at: the server runs on this host.

        Otherwise there is only what the server says of them.
        """
    @property
    def aof_bytes(self) -> int | None:
        """Bytes of the AOF; None without."""
    @property
    def unsaved_changes(self) -> int:
        """Changes since the last RDB save: what a crash loses where there is no AOF."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """The server before the step: what it writes, and which it is."""
    @property
    def after(self) -> dict[str, Any]:
        """The same after it; in a dry run, as it would be."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Phase:
    """A phase of the handover."""

    @property
    def name(self) -> str:
        """Which one it is.

        `moment` (waiting for a good one, while writes flow), `pause`, `drain`, `hold`, `fence`,
        `demote`, `shut_down`, `promote`, `arrive`, `undo`, `release` or `confirm`.
        """
    @property
    def microseconds(self) -> int:
        """How long it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Probed:
    """What a probe saw of a handover."""

    @property
    def reads(self) -> int:
        """Reads that were answered."""
    @property
    def writes(self) -> int:
        """Writes that were acknowledged."""
    @property
    def errors(self) -> dict[str, int]:
        """What it got instead, and how often.

        `refused`, `closed`, `timeout`, `failed`, or the first word of what the server said.
        """
    @property
    def lost(self) -> int:
        """Writes that were acknowledged and are gone."""
    @property
    def median_us(self) -> int:
        """Microseconds that half of all reads and writes took at most.

        From the first try to the answer, whatever came between; to 3 %, as `p99_us`.
        """
    @property
    def p99_us(self) -> int:
        """Microseconds that 99 % of them took at most."""
    @property
    def max_us(self) -> int:
        """Microseconds that the slowest took."""
    @property
    def longest_gap_ms(self) -> float:
        """The longest time between two acknowledged writes, in milliseconds."""
    @property
    def longest_read_gap_ms(self) -> float:
        """The longest time between two answered reads, in milliseconds."""
    @property
    def reconnects(self) -> int:
        """How often it connected again; it has a connection for writes and one for reads."""
    @property
    def seconds(self) -> float:
        """For how many seconds it was there."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Switchover:
    """What `switchover` and `rollback` return."""

    @property
    def serving(self) -> str:
        """The address clients arrive at."""
    @property
    def parked(self) -> str | None:
        """The address of the old one; None if it is gone."""
    @property
    def warm(self) -> bool:
        """Whether the old one follows the new one and can take over back."""
    @property
    def phases(self) -> list[Phase]:
        """The phases of the handover that this call did, in order."""
    @property
    def write_gap_ms(self) -> float:
        """Milliseconds for which writes waited; of several attempts, in the longest."""
    @property
    def protocol_ms(self) -> float:
        """Milliseconds of it, and of the confirmation after it, without the drain."""
    @property
    def drain_ms(self) -> float:
        """Milliseconds that the target needed to catch up under the pause."""
    @property
    def attempts(self) -> int:
        """How many pauses it took."""
    @property
    def probe(self) -> Probed | None:
        """What the probe saw; None without one, or where nothing it tried succeeded."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class ClientGroup:
    """Connections that are alike."""

    @property
    def kind(self) -> str:
        """`normal`, `blocked`, `pubsub`, `monitor`, `replica`, `master`, `sentinel` or `ours`."""
    @property
    def follows(self) -> str:
        """By which way they come to the server that serves.

        `stays`: they are there. `reconnects`: cut once in the switchover, they come back to where
        they are led. `redirected`: they announced `CLIENT CAPA redirect` and go by themselves: the
        demoted server answers their next command with where to go. `cut`: nothing moves them but
        to be cut. `repointed`: a replica is told whom to follow. `sentinel`, `ours`: none of an
        application.
        """
    @property
    def address(self) -> str:
        """Where they come from, without port."""
    @property
    def user(self) -> str:
        """ACL user."""
    @property
    def name(self) -> str:
        """The name they gave themselves."""
    @property
    def library(self) -> str:
        """Client library and version, where the server knows (7.2)."""
    @property
    def connections(self) -> int:
        """How many they are."""
    @property
    def idle(self) -> int:
        """Whole seconds since the last command of the busiest of them."""
    @property
    def watching(self) -> int:
        """How many of them watch keys. To be cut ends that, as all that follows."""
    @property
    def in_transaction(self) -> int:
        """How many are within `MULTI`."""
    @property
    def tracking(self) -> int:
        """How many have the server keep track of their keys."""
    @property
    def subscribed(self) -> int:
        """How many have subscribed to channels."""
    @property
    def blocked(self) -> int:
        """How many wait in a blocking command."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Straggler:
    """A connection of an application to the server that is to be left."""

    @property
    def address(self) -> str:
        """Where it comes from, with its port."""
    @property
    def name(self) -> str:
        """The name it gave itself."""
    @property
    def user(self) -> str:
        """ACL user."""
    @property
    def library(self) -> str:
        """Client library and version, where the server knows (7.2)."""
    @property
    def kind(self) -> str:
        """`normal`, `blocked` or `pubsub`."""
    @property
    def follows(self) -> str:
        """As in a `ClientGroup`: `cut` or `redirected` once the switchover is done."""
    @property
    def command(self) -> str:
        """Its last command."""
    @property
    def age(self) -> int:
        """Whole seconds since it connected."""
    @property
    def idle(self) -> int:
        """Whole seconds since its last command."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Clients:
    """What `clients` returns."""

    @property
    def source(self) -> list[ClientGroup]:
        """Who is connected to the source; empty if it is gone."""
    @property
    def target(self) -> list[ClientGroup]:
        """Who is connected to the target."""
    @property
    def stragglers(self) -> list[Straggler]:
        """Each connection of an application to the source, once it serves no more."""
    @property
    def disconnected(self) -> list[Straggler]:
        """Each one that was disconnected; in a dry run, that would be."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class RelayConnection:
    """A client of a relay."""

    @property
    def address(self) -> str:
        """Its address and port."""
    @property
    def since(self) -> float:
        """Since when it is connected, in seconds since 1970."""
    @property
    def idle(self) -> float:
        """Seconds since it has sent or got anything."""
    @property
    def sent(self) -> int:
        """Bytes it has sent."""
    @property
    def received(self) -> int:
        """Bytes it has got."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Relay:
    """What `relay` returns."""

    @property
    def running(self) -> bool:
        """Whether it runs."""
    @property
    def ended(self) -> bool:
        """Whether it has ended for good.

        It was told to, or nobody was connected for as long as it was to wait. A rerun of
        `switchover` starts one again that was killed, but not one that has ended.
        """
    @property
    def listens(self) -> list[str]:
        """The addresses where it listens; empty where it does not."""
    @property
    def leads_to(self) -> str | None:
        """The server that it leads to; None where there is no relay."""
    @property
    def socket(self) -> str | None:
        """The unix socket at which it takes orders; None where there is no relay."""
    @property
    def most(self) -> int:
        """How many connections it can hold."""
    @property
    def taken(self) -> int:
        """How many connections it has taken since it was started."""
    @property
    def failed(self) -> int:
        """How many of them it closed since the server could not be connected to."""
    @property
    def connections(self) -> list[RelayConnection]:
        """Who is connected through it."""
    @property
    def changed(self) -> bool:
        """Whether it was ended; in a dry run, whether it would be."""
    @property
    def before(self) -> dict[str, Any]:
        """The relay before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """The relay after it."""
    @property
    def actions(self) -> list[str]:
        """The orders given that change something."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class ActiveClient:
    """A connection that sends commands."""

    @property
    def address(self) -> str:
        """Where it comes from, with its port."""
    @property
    def user(self) -> str:
        """ACL user."""
    @property
    def name(self) -> str:
        """The name it gave itself."""
    @property
    def library(self) -> str:
        """Client library and version, where the server knows (7.2)."""
    @property
    def command(self) -> str:
        """Its last command."""
    @property
    def calls(self) -> int | None:
        """How many commands it has sent, where the server counts them (Valkey 8.0, Redis 8.6)."""
    @property
    def commands(self) -> dict[str, int]:
        """How many of each, where `MONITOR` has shown them."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class WaitQuiescent:
    """What `wait_quiescent` returns."""

    @property
    def quiet(self) -> bool:
        """Whether nothing arrived for as long as wished; True if the source is gone."""
    @property
    def quiet_seconds(self) -> float:
        """For how many seconds nothing had arrived at the end."""
    @property
    def active(self) -> list[ActiveClient]:
        """Who sent commands, most first; 1000 at most."""
    @property
    def commands(self) -> dict[str, int]:
        """Calls by command that were seen while waiting."""
    @property
    def attempts(self) -> int:
        """How often it was looked."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class WaitReady:
    """What `wait_ready` returns."""

    @property
    def ready(self) -> bool:
        """Whether it answers and has loaded its data. Only a dry run returns where it is false."""
    @property
    def run_id(self) -> str | None:
        """The process's own id, new with every start. This and the rest: None if not ready."""
    @property
    def process_id(self) -> int | None:
        """Its process id on its host."""
    @property
    def version(self) -> str | None:
        """Such as `Redis 7.0.15`."""
    @property
    def program(self) -> str | None:
        """The file of the program that it says it runs."""
    @property
    def config_file(self) -> str | None:
        """Its configuration file; empty without one."""
    @property
    def role(self) -> str | None:
        """`master` or `replica`."""
    @property
    def follows(self) -> str | None:
        """The address of its master, if it is a replica."""
    @property
    def replication_user(self) -> str | None:
        """The ACL user it logs in to a master with (`masteruser`); empty for the default one."""
    @property
    def key_count(self) -> int | None:
        """Keys in all its databases."""
    @property
    def changed(self) -> bool:
        """Always False: it only looks."""
    @property
    def before(self) -> dict[str, Any]:
        """The server as it was found; empty where it is not ready."""
    @property
    def after(self) -> dict[str, Any]:
        """The same."""
    @property
    def actions(self) -> list[str]:
        """Always empty."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Promote:
    """What `promote` returns."""

    @property
    def promoted(self) -> bool:
        """Whether the target is a master."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class RestartRequired:
    """A parameter that the server takes from its file alone, when it starts."""

    @property
    def parameter(self) -> str:
        """Its name, as it was given."""
    @property
    def present(self) -> str:
        """The value it has."""
    @property
    def wanted(self) -> str:
        """The value it should have."""
    @property
    def why(self) -> str:
        """Why it can't be set, in the server's words."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Config:
    """What `config` returns."""

    @property
    def set(self) -> list[str]:
        """The parameters that were set; in a dry run, those that would be."""
    @property
    def restart_required(self) -> list[RestartRequired]:
        """Those that a restart is needed for, with the new value in the configuration file."""
    @property
    def rewritten(self) -> bool:
        """Whether the configuration file was written.

        Where it can be read from here: whether that changed it.
        """
    @property
    def changed(self) -> bool:
        """Whether a parameter has another value than before, or the file was seen to change.

        In a dry run, whether that would be so.
        """
    @property
    def before(self) -> dict[str, Any]:
        """The parameters as they were, by name; a secret is `***`."""
    @property
    def after(self) -> dict[str, Any]:
        """The parameters as they are, read back; in a dry run, as they would be."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change the server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Retire:
    """What `retire` returns."""

    @property
    def retired(self) -> bool:
        """Whether the source is gone."""
    @property
    def saved(self) -> bool:
        """Whether it was told to write its data to disk before it ended."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class StepReport:
    """What one step of an upgrade did."""

    @property
    def name(self) -> str:
        """The step."""
    @property
    def changed(self) -> bool:
        """Whether it changed something."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    @property
    def result(self) -> dict[str, Any]:
        """Its result, as its own function returns it."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Report:
    """What `report` returns."""

    @property
    def outcome(self) -> str:
        """How things stood when the last call had ended.

        `nothing` (was done), `following` (the source serves, nothing was handed over), `failed`
        (the same, after a call that failed), `undone` (a handover was taken back: the source
        serves), `interrupted` (a handover or the last call has no end), `switched` (the target
        serves), `rolled_back` (the source serves again) or `retired` (the target serves, the
        source was shut down).
        """
    @property
    def sentence(self) -> str:
        """The outcome, what it cost clients and whether the data was compared, in one sentence."""
    @property
    def calls(self) -> list[dict[str, Any]]:
        """Each call of a step, oldest first.

        `call`, `step`, `version`, `controller`, `pid`, `began`, `ended` (None where it has no end),
        `seconds`, `outcome` (`done`, `failed` or `unended`), `changed`, `error`, `steps`, `phases`
        and `hooks`. Times are seconds since 1970.
        """
    @property
    def data(self) -> dict[str, Any]:
        """All of it, as in the JSON file: docs/report.md lists its parts."""
    @property
    def changed(self) -> bool:
        """Whether a file was written; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Empty: no server is asked."""
    @property
    def after(self) -> dict[str, Any]:
        """Likewise."""
    @property
    def actions(self) -> list[str]:
        """The files that were written."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds the step took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Status:
    """What `status` returns."""

    @property
    def stage(self) -> str:
        """How far the upgrade has come.

        `apart` or `following` (the source serves), `half_done` (nobody), `switched` (the target
        serves, the old one follows) or `retired`.
        """
    @property
    def serving(self) -> str | None:
        """The address clients arrive at; None if nobody serves."""
    @property
    def parked(self) -> str | None:
        """The address of the other one; None if it is gone."""
    @property
    def warm(self) -> bool | None:
        """Whether the old one follows the new one without a gap: then `rollback` loses nothing.

        None before the switchover and after `retire`.
        """
    @property
    def since(self) -> float | None:
        """Since when, in seconds since 1970; where it is not warm, at the latest since then."""
    @property
    def why(self) -> str | None:
        """Why it is not warm."""
    @property
    def backlog_seconds(self) -> float | None:
        """For how many seconds the old one may be cut off and still follow without a gap.

        At the present rate of writes; None where it is not warm or nothing is written.
        """
    @property
    def raised(self) -> list[str]:
        """What is raised on either server until the upgrade is over: `server: parameter`."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Upgrade:
    """What `upgrade` returns."""

    @property
    def stage(self) -> str:
        """`apart`, `following`, `half_done`, `switched` (the old one is there) or `retired`."""
    @property
    def serving(self) -> str:
        """The address clients arrive at."""
    @property
    def parked(self) -> str | None:
        """The address of the old one; None if it is gone."""
    @property
    def steps(self) -> list[StepReport]:
        """What each step did, in order."""
    @property
    def probe(self) -> Probed | None:
        """What the probe saw; None without one, or where nothing it tried succeeded."""
    @property
    def changed(self) -> bool:
        """Whether a command that changes a server was sent; in a dry run, whether one would be."""
    @property
    def before(self) -> dict[str, Any]:
        """Both servers before the step."""
    @property
    def after(self) -> dict[str, Any]:
        """Both servers after it."""
    @property
    def actions(self) -> list[str]:
        """The commands sent that change a server, in order, secrets masked."""
    @property
    def warnings(self) -> list[str]:
        """What the operator should know."""
    @property
    def elapsed(self) -> float:
        """Seconds it took."""
    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts, lists, strings and numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

def preflight(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    redirect: _Redirect | None = None,
    aside_port: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Preflight:
    """Find what stands against the upgrade, what would be done, and what it would cost.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        redirect: how clients are moved. `takeover`, or None: the target takes the source's port
            over; `none`: by other means; `{"haproxy": {"sockets": ["/run/haproxy.sock"]}}`:
            HAProxies send them there (also `frontends`, `backends`, `source_servers`,
            `target_servers`); `{"sentinel": {"sentinels": ["HOST:PORT"], "name": ...}}`: the
            sentinels are told (also `user`, `password`, and `tls` with `validate_certs`,
            `ca_certs`, `client_cert_file`, `client_key_file`); `relay`, or `{"relay": {...}}` with
            `socket`, `idle` (seconds) and `unit`: a process on the source's host takes its address
            over and forwards them.
        aside_port: the port the source moves to in a takeover; None for the first free one above
            the target's.
        force: take a target that holds data of its own: it is wiped.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: ConnectionFailed or Refused (the same server twice): nothing is changed.
    """

def launch(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    directory: str | PathLike[str],
    program: str | PathLike[str] | None = None,
    parameters: Mapping[str, _Value | Sequence[_Value]] | None = None,
    unit: str | None = None,
    user: str | None = None,
    wait_timeout: float = 30.0,
    force: bool = False,
    break_lock: bool = False,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Launch:
    """Run a target on this host with the live configuration of the source, and files of its own.

    What the source has now counts, not what its file says. The program is run for a moment and
    asked which parameters it knows; those that it does not are dropped, with a warning.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the address at which the new instance is to listen, likewise, on this host.
        directory: where it keeps its files; made if it is missing, refused if it has other files.
        program: the server to run; None for the source's own.
        parameters: values that go before the source's. A directive that may come several times,
            such as `loadmodule`, takes a list.
        unit: the systemd unit that runs it; None for a process of its own.
        user: the user who runs it and owns its files; None for the caller. Needs root.
        wait_timeout: seconds to wait at most until it answers.
        force: launch it though memory or disk seem short.
        break_lock: cut off another controller that is at work on these servers.
        dry_run: look and decide only; nothing is changed. The program is still asked.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused (`port_taken`, `directory_in_use`, `memory_short` and others): nothing
            is changed. Failed (`launch_failed`): it did not come up, and nothing of it is left.
    """

def replicate(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    redirect: _Redirect | None = None,
    aside_port: int | None = None,
    force: bool = False,
    replication_user: str | None = None,
    replication_password: str | None = None,
    wait_timeout: float = 60.0,
    break_lock: bool = False,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Replicate:
    """Make the target replicate from the source, with the source's ACL users.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        redirect: how clients are moved. `takeover`, or None: the target takes the source's port
            over; `none`: by other means; `{"haproxy": {"sockets": ["/run/haproxy.sock"]}}`:
            HAProxies send them there (also `frontends`, `backends`, `source_servers`,
            `target_servers`); `{"sentinel": {"sentinels": ["HOST:PORT"], "name": ...}}`: the
            sentinels are told (also `user`, `password`, and `tls` with `validate_certs`,
            `ca_certs`, `client_cert_file`, `client_key_file`); `relay`, or `{"relay": {...}}` with
            `socket`, `idle` (seconds) and `unit`: a process on the source's host takes its address
            over and forwards them.
        aside_port: the port the source moves to in a takeover; None for the first free one above
            the target's.
        force: take a target that holds data of its own: it is wiped.
        replication_user: ACL user for replication; None for the login of the endpoint.
        replication_password: its password. What is set on the servers already is left alone.
        wait_timeout: seconds to wait at most.
        break_lock: cut off another controller that is at work on these servers.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused with the first blocker of the preflight: unchanged. TimedOut
            (`sync_timed_out`): the target keeps trying.
    """

def wait_synced(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    wait_timeout: float = 3600.0,
    max_lag_bytes: int = 1048576,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> WaitSynced:
    """Wait until the initial sync has completed and the link is steady.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        wait_timeout: seconds to wait at most.
        max_lag_bytes: bytes of the replication stream that the target may be behind.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused (`not_replicating`), TimedOut (`sync_timed_out`): the sync goes on.
            Failed (`sync_loops`).
    """

def verify(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    level: _Level = "sample",
    by: _By = "streams",
    sample_keys: int = 20,
    max_differences: int = 20,
    max_latency: float = 0.01,
    rate: int | None = None,
    resume: bool = False,
    wait_timeout: float = 30.0,
    fail: bool = True,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Verify:
    """Compare the servers: key counts, some random keys or all, a ping.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        level: `counts` compares the key counts of every database, `sample` also some random keys
            in full, `full` every key.
        by: how every key is compared at the level `full`: by the `streams` that a replica would
            be sent, or by `reads` of each key on both. For the streams `rdbcompression` and
            `repl-diskless-sync-delay` of the replica are set and put back, where the account may.
        sample_keys: how many random keys of every database are read at the level `sample`.
        max_differences: of how many keys that differ the result says what differs.
        max_latency: seconds that the server that serves may take to answer others while every key
            is read: whenever it takes longer, the rate of reading is halved.
        rate: how many keys a second are read at most; None for as fast as it goes.
        resume: go on where reads of every key were interrupted, if neither server was restarted
            since.
        wait_timeout: seconds that each wait may take: for one offset, and for keys that change
            while they are compared to rest.
        fail: raise `Refused` on a difference instead of only reporting it.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused (`counts_differ`, `values_differ`), TimedOut (`unsettled`): unchanged.
    """

def switchover(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    redirect: _Redirect | None = None,
    aside_port: int | None = None,
    pause_budget: float = 1.0,
    patience: float = 30.0,
    attempts: int = 16,
    max_lag_bytes: int = 65536,
    max_latency: float = 0.025,
    backlog_bytes: int = 268435456,
    replication_user: str | None = None,
    replication_password: str | None = None,
    rewrite: bool = True,
    hooks: Mapping[_Moment, _Hook] | None = None,
    hook_timeout: float = 30.0,
    guard: bool = True,
    probe: bool | Endpoint | str | None = None,
    break_lock: bool = False,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Switchover:
    """Make the target the master, and clients arrive there.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        redirect: how clients are moved. `takeover`, or None: the target takes the source's port
            over; `none`: by other means; `{"haproxy": {"sockets": ["/run/haproxy.sock"]}}`:
            HAProxies send them there (also `frontends`, `backends`, `source_servers`,
            `target_servers`); `{"sentinel": {"sentinels": ["HOST:PORT"], "name": ...}}`: the
            sentinels are told (also `user`, `password`, and `tls` with `validate_certs`,
            `ca_certs`, `client_cert_file`, `client_key_file`); `relay`, or `{"relay": {...}}` with
            `socket`, `idle` (seconds) and `unit`: a process on the source's host takes its address
            over and forwards them.
        aside_port: the port the source moves to in a takeover; None for the first free one above
            the target's.
        pause_budget: seconds for which writes wait at most in one attempt, 0.05 to 60; the target
            has half of it to catch up.
        patience: seconds to wait for a good moment before each attempt: little lag, a master that
            answers at once, no fork, no full sync, no busy script.
        attempts: how many pauses are tried, 1 to 1000. The target has 4 ms to catch up in the
            first one, more in later ones, up to half of `pause_budget`.
        max_lag_bytes: bytes of the replication stream that the target may be behind.
        max_latency: seconds that the server that serves may take to answer at that moment.
        backlog_bytes: replication backlog of the new master while the old one is warm.
        replication_user: ACL user for replication; None for the login of the endpoint.
        replication_password: its password. What is set on the servers already is left alone.
        rewrite: save the new master's configuration to its file, if it has one.
        hooks: commands (lists of words, which no shell reads) or functions, by the moments
            `before`, `paused`, `promoted`, `after` and `undone`. A command is told the facts in
            its environment (such as `REDIS_BATON_SERVING`) and as JSON on its standard input, a
            function as a dict. A status other than 0, or an exception, is a failure.
        hook_timeout: seconds each may take; `paused` also no more than three quarters of
            `pause_budget`. A command is killed then, a function can't be.
        guard: post a process that finishes or takes back the handover if this one is killed in
            it.
        probe: let a light client look on, which reads and writes a key of its own every few
            milliseconds. True: at the address that clients use; where that does not follow from
            `redirect` (HAProxy), give it as an Endpoint or a URL. Without a login it has the
            source's.
        break_lock: cut off another controller that is at work on these servers.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused or TimedOut (`lag_too_high`), state `undone`: the source serves as
            before. Failed, state `interrupted`: run again.
    """

def rollback(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    redirect: _Redirect | None = None,
    pause_budget: float = 1.0,
    patience: float = 30.0,
    attempts: int = 16,
    max_lag_bytes: int = 65536,
    max_latency: float = 0.025,
    backlog_bytes: int = 268435456,
    replication_user: str | None = None,
    replication_password: str | None = None,
    rewrite: bool = True,
    hooks: Mapping[_Moment, _Hook] | None = None,
    hook_timeout: float = 30.0,
    guard: bool = True,
    probe: bool | Endpoint | str | None = None,
    break_lock: bool = False,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Switchover:
    """Make the source serve again, while it is warm.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        redirect: clients go back the way they came, which the journal knows. Give it again where
            it needs a password.
        pause_budget: seconds for which writes wait at most in one attempt, 0.05 to 60; the target
            has half of it to catch up.
        patience: seconds to wait for a good moment before each attempt: little lag, a master that
            answers at once, no fork, no full sync, no busy script.
        attempts: how many pauses are tried, 1 to 1000. The target has 4 ms to catch up in the
            first one, more in later ones, up to half of `pause_budget`.
        max_lag_bytes: bytes of the replication stream that the target may be behind.
        max_latency: seconds that the server that serves may take to answer at that moment.
        backlog_bytes: replication backlog of the new master while the old one is warm.
        replication_user: ACL user for replication; None for the login of the endpoint.
        replication_password: its password. What is set on the servers already is left alone.
        rewrite: save the new master's configuration to its file, if it has one.
        hooks: commands (lists of words, which no shell reads) or functions, by the moments
            `before`, `paused`, `promoted`, `after` and `undone`. A command is told the facts in
            its environment (such as `REDIS_BATON_SERVING`) and as JSON on its standard input, a
            function as a dict. A status other than 0, or an exception, is a failure.
        hook_timeout: seconds each may take; `paused` also no more than three quarters of
            `pause_budget`. A command is killed then, a function can't be.
        guard: post a process that finishes or takes back the handover if this one is killed in
            it.
        probe: let a light client look on, which reads and writes a key of its own every few
            milliseconds. True: at the address that clients use; where that does not follow from
            `redirect` (HAProxy), give it as an Endpoint or a URL. Without a login it has the
            source's.
        break_lock: cut off another controller that is at work on these servers.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused (`not_warm`): the target serves on. Otherwise as `switchover`.
    """

def clients(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    disconnect: Mapping[_Criterion, Sequence[str]] | None = None,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Clients:
    """List who is connected where, how they follow and what they lose; optionally cut some.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        disconnect: whom to disconnect from the source once the target serves: applications that
            fit each of the criteria given, by one of its values. `kinds` (`normal`, `blocked`,
            `pubsub`), `users`, `names` and `libraries` (`*` stands for anything, `?` for one
            character), `addresses` (with or without port). Who goes by itself (`redirected`) is
            left alone.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused (`source_in_use`) when asked to disconnect from the server that
            serves. Failed (`not_confirmed`) when connections that were cut are still there.
    """

def status(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Status:
    """Look how things stand, and whether there is a way back. Changes nothing.

    Args:
        source: the live master of the beginning, as an Endpoint or a URL, by the address it had
            when the upgrade began.
        target: the new instance, likewise.
        dry_run: the same.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: the servers' roles fit no stage (Refused), or one can't be asked
            (ConnectionFailed), state `unchanged`; a handover stands half-way (Failed `half_done`,
            Refused `history_lost`), state `interrupted`.
    """

def report(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    html: str | PathLike[str] | None = None,
    json: str | PathLike[str] | None = None,
    prometheus: str | PathLike[str] | None = None,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Report:
    """Tell what has happened to a pair: who serves, what it cost, what was sent and seen.

    It reads the journal and the chronicle of the pair where the steps have run, and connects to no
    server. A file is written as a whole or not at all, and only where its content changes.

    Args:
        source: the live master of the beginning, as an Endpoint or a URL, by the address it had
            when the upgrade began.
        target: the new instance, likewise.
        html: path of a page for people, which needs nothing beside it; None for none.
        json: path of the same for machines; None for none.
        prometheus: path of metrics for the textfile collector of node_exporter; None for none.
        dry_run: write no file.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: a file can't be written (InvalidInput), or the journal can't be read (Failed
            `journal_failed`). State `unchanged`: no server is ever changed.
    """

def relay(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    end: bool = False,
    force: bool = False,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Relay:
    """Look who still comes through the relay that a switchover has left; optionally end it.

    It is asked at its unix socket, so this runs where it runs, as the same user. The servers are
    asked nothing, and need not be there.

    Args:
        source: the live master of the beginning, as an Endpoint or a URL, by the address it had
            when the upgrade began.
        target: the new instance, likewise.
        end: end it, if nobody is connected. Nothing listens at the source's address then.
        force: end it whoever is connected: they are cut off.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused (`relay_in_use`): somebody is connected, and it goes on.
    """

def run_relay(socket: str | PathLike[str]) -> None:
    """Take orders at this unix socket, and forward what they say, until told to end.

    Of `python -m redis_baton.relayd` alone.
    """

def stand_guard() -> str | None:
    """Stand guard over the handover that the job on standard input is about.

    Of `python -m redis_baton.guard` alone. Returns when the controller has come to its end (None),
    or when what it left undone was done: then with what came of it.
    """

def config(
    *,
    server: Endpoint | str,
    parameters: Mapping[str, _Value | Sequence[_Value]],
    rewrite: bool = False,
    break_lock: bool = False,
    dry_run: bool = False,
    on_event: _OnEvent | None = None,
) -> Config:
    """See to it that parameters of one server have these values.

    What has its value already, in whatever words, is left alone. All others are set in one command
    where the server can (7.0 and newer), else one after the other, and put back if one is refused.

    Args:
        server: the server, as an Endpoint or a URL.
        parameters: their names with the values they are to have. True and False are `yes` and
            `no`; a list is for what takes several lines in the file, such as `save`.
        rewrite: save them to the configuration file, by CONFIG REWRITE. That is not sent where the
            file can be read from here and holds them already.
        break_lock: cut off another controller that is at work on this server.
        dry_run: look and decide only; nothing is changed.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused (`parameter_unknown`, `no_config_file`): unchanged. Failed
            (`parameter_refused`): unchanged or undone. Failed (`not_saved`): all is set, but not
            in the file.
    """

def wait_quiescent(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    quiet_for: float = 1.0,
    wait_timeout: float = 60.0,
    monitor: float | None = None,
    monitor_lines: int = 10000,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> WaitQuiescent:
    """Wait until the source receives no application command any more.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        quiet_for: seconds for which nothing may arrive.
        wait_timeout: seconds to wait at most.
        monitor: seconds (up to 60) for which `MONITOR` is asked first who sends which commands; a
            dry run asks it too. It costs a busy server a part of its throughput. None for not at
            all.
        monitor_lines: the number of commands after which `MONITOR` ends at the latest.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: TimedOut (`not_quiet`), with who still sends what: unchanged.
    """

def persistence(
    *,
    server: Endpoint | str,
    mode: _Mode,
    save: str | None = None,
    appendfsync: _Fsync | None = None,
    rewrite: bool = True,
    wait_timeout: float = 3600.0,
    break_lock: bool = False,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Persistence:
    """Switch what a server writes to its disk, while it runs.

    What it wrote before stays on until the new files are complete and were checked, and the
    configuration file never names one that is not.

    Args:
        server: an Endpoint or a URL.
        mode: `rdb` (save points), `aof`, `both`, or `none`, which warns.
        save: save points, such as `3600 1 300 100`, with `rdb` and `both`; None for those there
            are, or else the version's own.
        appendfsync: when the AOF is told to be on disk, with `aof` and `both`; None leaves it.
        rewrite: save that to the server's configuration file, so that a restart keeps it.
        wait_timeout: seconds that writing the files may take.
        break_lock: cut off another controller that is at work on this server.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where the journal is kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused (`no_config_file`), state `unchanged`. Failed (`not_saved`), state
            `unchanged`, `undone` or `interrupted`; (`save_failed`), state `undone`: all is as
            before. TimedOut (`save_timed_out`), state `interrupted`: it goes on, run again.
    """

def wait_ready(
    *,
    server: Endpoint | str,
    other_than: str | None = None,
    wait_timeout: float = 60.0,
    dry_run: bool = False,
    on_event: _OnEvent | None = None,
) -> WaitReady:
    """Wait until a server answers and has loaded its data, and say who it is.

    Args:
        server: the server, as an Endpoint or a URL.
        other_than: run id of a process that does not count, such as the one before a restart.
        wait_timeout: seconds to wait at most.
        dry_run: look once and do not wait; the result says whether it is ready.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: what was in the way when the time was up: ConnectionFailed (`unreachable`,
            `no_answer`, `loading`), TimedOut (`not_restarted`). What no wait helps against at
            once, such as `auth_failed`. Always unchanged.
    """

def promote(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    force: bool = False,
    wait_timeout: float = 10.0,
    break_lock: bool = False,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Promote:
    """Make the target a master, for those who move clients by hand.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        force: promote though the source is in use or does not answer: what the target lacks is
            lost.
        wait_timeout: seconds to wait at most.
        break_lock: cut off another controller that is at work on these servers.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused (`source_in_use`), TimedOut (`lag_too_high`): unchanged.
    """

def retire(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    redirect: _Redirect | None = None,
    wait_timeout: float = 30.0,
    rewrite: bool = True,
    break_lock: bool = False,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Retire:
    """Shut the source down.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        redirect: where clients were moved by Sentinel, as in the switchover: the sentinels are
            told to forget the source.
        wait_timeout: seconds to wait at most.
        rewrite: save the target's configuration when its raised settings are restored.
        break_lock: cut off another controller that is at work on these servers.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: Refused (`only_copy`, `source_in_use`): unchanged. TimedOut (`still_running`):
            it was told to end.
    """

def upgrade(
    *,
    source: Endpoint | str,
    target: Endpoint | str,
    until: _Step = "wait_quiescent",
    redirect: _Redirect | None = None,
    aside_port: int | None = None,
    force: bool = False,
    replication_user: str | None = None,
    replication_password: str | None = None,
    sync_timeout: float = 3600.0,
    level: _Level = "sample",
    by: _By = "streams",
    sample_keys: int = 20,
    pause_budget: float = 1.0,
    patience: float = 30.0,
    attempts: int = 16,
    max_lag_bytes: int = 65536,
    max_latency: float = 0.025,
    backlog_bytes: int = 268435456,
    quiet_for: float = 1.0,
    wait_timeout: float = 60.0,
    rewrite: bool = True,
    hooks: Mapping[_Moment, _Hook] | None = None,
    hook_timeout: float = 30.0,
    guard: bool = True,
    probe: bool | Endpoint | str | None = None,
    break_lock: bool = False,
    dry_run: bool = False,
    journal_dir: str | PathLike[str] | None = None,
    on_event: _OnEvent | None = None,
) -> Upgrade:
    """Run all steps, up to and with `until`, from wherever things stand.

    Args:
        source: the live master, as an Endpoint or a URL, by the address it had when the upgrade
            began.
        target: the new instance, likewise.
        until: the last step to run.
        redirect: how clients are moved. `takeover`, or None: the target takes the source's port
            over; `none`: by other means; `{"haproxy": {"sockets": ["/run/haproxy.sock"]}}`:
            HAProxies send them there (also `frontends`, `backends`, `source_servers`,
            `target_servers`); `{"sentinel": {"sentinels": ["HOST:PORT"], "name": ...}}`: the
            sentinels are told (also `user`, `password`, and `tls` with `validate_certs`,
            `ca_certs`, `client_cert_file`, `client_key_file`); `relay`, or `{"relay": {...}}` with
            `socket`, `idle` (seconds) and `unit`: a process on the source's host takes its address
            over and forwards them.
        aside_port: the port the source moves to in a takeover; None for the first free one above
            the target's.
        force: take a target that holds data of its own: it is wiped.
        replication_user: ACL user for replication; None for the login of the endpoint.
        replication_password: its password. What is set on the servers already is left alone.
        sync_timeout: seconds the initial sync may take.
        level: how much `verify` compares before the switchover. With `full` the upgrade ends with
            `unsettled` where a key never rests.
        by: how it compares every key at the level `full`.
        sample_keys: how many random keys are read on both servers at the level `sample`.
        pause_budget: seconds for which writes wait at most in one attempt, 0.05 to 60; the target
            has half of it to catch up.
        patience: seconds to wait for a good moment before each attempt: little lag, a master that
            answers at once, no fork, no full sync, no busy script.
        attempts: how many pauses are tried, 1 to 1000. The target has 4 ms to catch up in the
            first one, more in later ones, up to half of `pause_budget`.
        max_lag_bytes: bytes of the replication stream that the target may be behind.
        max_latency: seconds that the server that serves may take to answer at that moment.
        backlog_bytes: replication backlog of the new master while the old one is warm.
        quiet_for: seconds for which nothing may arrive.
        wait_timeout: seconds to wait at most.
        rewrite: save the new master's configuration to its file, if it has one.
        hooks: commands (lists of words, which no shell reads) or functions, by the moments
            `before`, `paused`, `promoted`, `after` and `undone`. A command is told the facts in
            its environment (such as `REDIS_BATON_SERVING`) and as JSON on its standard input, a
            function as a dict. A status other than 0, or an exception, is a failure.
        hook_timeout: seconds each may take; `paused` also no more than three quarters of
            `pause_budget`. A command is killed then, a function can't be.
        guard: post a process that finishes or takes back the handover if this one is killed in
            it.
        probe: let a light client look on, which reads and writes a key of its own every few
            milliseconds. True: at the address that clients use; where that does not follow from
            `redirect` (HAProxy), give it as an Endpoint or a URL. Without a login it has the
            source's.
        break_lock: cut off another controller that is at work on these servers.
        dry_run: look and decide only; nothing is changed, and a wait looks once.
        journal_dir: where journals are kept; None for `$XDG_STATE_HOME/redis-baton` or
            `~/.local/state/redis-baton`.
        on_event: called with a dict for every event; what it raises stops the step at its next
            safe point.

    Raises:
        BatonError: what the steps raise; the same call goes on from there.
    """
