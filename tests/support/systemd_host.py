"""A host of its own with a real systemd, on a machine that need not have one as PID 1.

Namespaces over an overlay of this machine's files: what is installed, written or broken in it
stays in it, and goes with it. It shares the network with the machine, so tests take ports of their
own. It needs root and the packages systemd and dbus. Its /tmp, /var/tmp and /run are its own: the
tmpfiles service of a systemd would empty the machine's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

REPOSITORY = Path(__file__).parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
BOOT_TIME = 40.0
SHUTDOWN_TIME = 60.0
RUN_TIME = 120.0

# The holder keeps the files over a reboot: a boot is a process in namespaces of its own.
HOLD = r"""
set -e
folder=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" overlay "$folder/root"
for needed; do
  [ -e "$folder/root$needed" ] && continue # it lies on another file system
  mkdir -p "$folder/root$needed"
  mount --rbind "$needed" "$folder/root$needed"
done
while :; do
  setpriv --pdeathsig KILL unshare --pid --mount --uts --ipc --cgroup --fork --kill-child \
    bash -c "$BOOT" boot "$folder/root" "$@" || :
done
"""
BOOT = r"""
set -e
cd "$1"
shift
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sysfs sys
for own in run tmp var/tmp sys/fs/cgroup; do mount -t tmpfs tmpfs $own; done
for needed; do
  [ -e ".$needed" ] && continue
  # It lies in one of these. They are emptied at each boot, so nobody there may write to it.
  mkdir -p ".$needed"
  mount --bind "$needed" ".$needed"
  mount -o remount,bind,ro ".$needed"
done
mkdir -p run/lock etc/systemd/system/service.d
# There may be no user namespaces to give.
printf '[Service]\nPrivateUsers=no\n' >etc/systemd/system/service.d/host.conf
mount -t cgroup2 none sys/fs/cgroup
export container=docker
exec chroot . /lib/systemd/systemd --system --unit=multi-user.target --log-target=null
"""
ENTER = ("--pid", "--mount", "--uts", "--ipc", "--cgroup", "--root", "--wd")


def kill(process: subprocess.Popen[str]) -> str:
    """End what was started on a host at once, and return what it said."""
    # It is a child of nsenter, in its group.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


class HostError(Exception):
    """The host did not do what it was told."""


def why_not() -> str | None:
    """Return why there can be no such host here, if there can't."""
    if os.geteuid() != 0:
        return "a host with systemd needs root"
    if not SYSTEMD.exists() or shutil.which("dbus-daemon") is None:
        return "a host with systemd needs the packages systemd and dbus"
    return None


class SystemdHost:
    """A host that runs from entering the context until leaving it."""

    def __init__(self) -> None:
        """Prepare it; nothing runs yet."""
        self._folder = Path(tempfile.mkdtemp(prefix="redis-baton-host-"))
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        needed = {str(REPOSITORY), sys.base_prefix, sys.prefix}
        self._holder = subprocess.Popen(
            [
                # It ends with this process, however that ends.
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount"),
                *("bash", "-c", HOLD, "hold", str(self._folder), *sorted(needed)),
            ],
            env={**os.environ, "BOOT": BOOT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_up(None)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and everything in it."""
        if self._holder is not None:
            self._holder.kill()  # first, so that it does not boot again
            init = self._init(self._holder.pid)
            if init is not None:
                os.kill(init, signal.SIGKILL)
            self._holder.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self, *command: str, within: float = RUN_TIME, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        process = self.start(*command, **environment)
        try:
            said, _ = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            said = kill(process)
            raise HostError(f"{command}: not within {within:g} s\n{said}") from None
        if check and process.returncode != 0:
            raise HostError(f"{command}: status {process.returncode}\n{said}")
        return subprocess.CompletedProcess(command, process.returncode, said)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command in it; its output and errors come together."""
        return subprocess.Popen(
            ["nsenter", f"--target={self._running()}", *ENTER, *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def read(self, path: str) -> str:
        """Return a file's text."""
        return self.run("cat", path).stdout

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0"', path, text)

    def service(self, unit: str) -> dict[str, str]:
        """Return the state of a unit."""
        names = "ActiveState,UnitFileState,MainPID,NRestarts,Result"
        said = self.run("systemctl", "show", f"--property={names}", unit).stdout
        return dict(line.split("=", 1) for line in said.splitlines())

    def reboot(self) -> None:
        """Shut it down as a machine is, and boot it again."""
        before = self._running()
        self.run("systemctl", "reboot", check=False)
        self._wait_up(before)

    def _running(self) -> int:
        holder = self._holder
        init = self._init(holder.pid) if holder is not None else None
        if init is None:
            raise HostError("it does not run")
        return init

    def _wait_up(self, before: int | None) -> None:
        """Wait until another init than `before` has come up."""
        deadline = time.monotonic() + BOOT_TIME + (SHUTDOWN_TIME if before else 0)
        state = "none"
        while time.monotonic() < deadline:
            time.sleep(0.1)
            holder = self._holder
            if holder is None or holder.poll() is not None:
                raise HostError("its namespaces can't be made here")
            init = self._init(holder.pid)
            if init is None or init == before:
                continue
            said = self.run("systemctl", "is-system-running", within=10, check=False).stdout
            state = said.strip()
            if state in {"running", "degraded"}:
                return
        raise HostError(f"systemd did not come up: {state}")

    @staticmethod
    def _init(holder: int) -> int | None:
        """Return the process that is PID 1 in it: the child of the holder's child."""
        process = holder
        for _ in range(2):
            try:
                children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
            except OSError:
                return None
            if not children:
                return None
            process = int(children[0])
        return process


if __name__ == "__main__":
    with SystemdHost() as host:
        subprocess.run(
            ["nsenter", f"--target={host._running()}", *ENTER, "bash"],  # noqa: SLF001 # it is us
            check=False,
        )
