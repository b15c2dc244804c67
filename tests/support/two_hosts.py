"""Two hosts on one machine: network namespaces with names and addresses of their own, a cable
between them, one disk. Needs root and iproute2.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

NAMES = ("host-a", "host-b")
ADDRESSES = ("10.87.0.1", "10.87.0.2")


def can_be_had() -> bool:
    """Return whether this process may make namespaces and a cable between two."""
    name = f"dcr-{os.getpid()}-try"
    if not shutil.which("ip"):
        return False
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        return False
    cable = ["ip", "-n", name, "link", "add", "one", "type", "veth", "peer", "name", "other"]
    found = subprocess.run(cable, capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "del", name], check=True)
    return found


@dataclass(frozen=True)
class Host:
    """One of the hosts.

    Attributes:
        name: by which the other reaches it.
        namespace: its own.
        address: likewise.
        names: a file that stands for /etc/hosts on it.
    """

    name: str
    namespace: str
    address: str
    names: Path

    def start(self, *command: str, cwd: Path, log: Path, **variables: str) -> subprocess.Popen:
        """Start a command of this environment on this host, its words added to a log."""
        names = f"mount --bind {self.names} /etc/hosts && hostname {self.name}"
        inside = f"{names} && exec {shlex.join(command)}"
        # Not `ip netns exec`, under which /sys lacks the groups that Slurm controls its jobs by.
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        words = [*enter, "unshare", "--mount", "--uts", "sh", "-c", inside]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
            **variables,
        }
        with open(log, "ab") as file:
            return subprocess.Popen(words, cwd=cwd, env=environment, stdout=file, stderr=file)

    def processes(self) -> list[int]:
        """Return the ids of all processes that run on this host."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.namespace], capture_output=True, text=True
        )
        return [int(word) for word in found.stdout.split()]

    def die(self) -> None:
        """Pull the cable, so that nobody is told, and kill whatever runs here."""
        self._cable("down")
        self.kill_all()

    def kill_all(self) -> None:
        """Kill whatever runs here."""
        while found := self.processes():
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def boot(self) -> None:
        """Put the cable back."""
        self._cable("up")

    def _cable(self, state: str) -> None:
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "eth0", state], check=True)


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Open two hosts that reach each other by name; all that runs on them is killed in the end.

    Args:
        folder: for the file of names.
    """
    names = folder / "hosts"
    lines = [f"{address} {name}" for name, address in zip(NAMES, ADDRESSES, strict=True)]
    names.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
    one, other = (
        Host(name, f"dcr-{os.getpid()}-{name[-1]}", address, names)
        for name, address in zip(NAMES, ADDRESSES, strict=True)
    )
    try:
        for host in (one, other):
            subprocess.run(["ip", "netns", "add", host.namespace], check=True)
            subprocess.run(["ip", "-n", host.namespace, "link", "set", "lo", "up"], check=True)
        ends = ["name", "eth0", "netns", one.namespace, "type", "veth", "peer", "name", "eth0"]
        subprocess.run(["ip", "link", "add", *ends, "netns", other.namespace], check=True)
        for host in (one, other):
            address = ["address", "add", f"{host.address}/24", "dev", "eth0"]
            subprocess.run(["ip", "-n", host.namespace, *address], check=True)
            host.boot()
        yield one, other
    finally:
        for host in (one, other):
            host.kill_all()
        for host in (one, other):
            subprocess.run(["ip", "netns", "del", host.namespace])
