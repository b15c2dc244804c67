"""A Slurm cluster of two nodes: Debian's slurmctld, slurmd and munged on hosts of `two_hosts`."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from two_hosts import NAMES, Host
from waiting import GUARD, wait_for

# Patient throughout, so that a loaded machine is not taken for a lost node; a requeued job waits
# for cred_expire.
TOOLS = ("slurmctld", "slurmd", "munged", "sbatch")
_CONFIGURATION = """
ClusterName=dcr
SlurmctldHost={first}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=20
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_min_interval=500000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=30
MessageTimeout=100
TCPTimeout=30
BatchStartTimeout=600
SlurmdTimeout=0
UnkillableStepTimeout=600
MinJobAge=86400
NodeName={nodes} CPUs=2 State=UNKNOWN
PartitionName=often Nodes={nodes} Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=3600
PartitionName=urgent Nodes={nodes} PriorityTier=9 PreemptMode=OFF
"""

_GOING_WELL = {"PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "COMPLETED"} | {
    *("PREEMPTED", "REQUEUED", "REQUEUE_HOLD")
}


def is_installed() -> bool:
    """Return whether Slurm is."""
    return all(shutil.which(name) for name in TOOLS)


@dataclass
class Slurm:
    """A running cluster; commands are given on its first host, in a project's folder."""

    hosts: tuple[Host, Host]
    folder: Path
    project: Path

    def command(self, *words: str, **variables: str) -> str:
        """Run a command of Slurm, or a script that calls some, and return what it prints."""
        output = self.folder / f"out-{secrets.token_hex(4)}"
        conf = str(self.folder / "slurm.conf")
        process = self.hosts[0].start(
            *words, cwd=self.project, log=output, SLURM_CONF=conf, **variables
        )
        assert process.wait(timeout=GUARD) == 0, output.read_text()
        return output.read_text()

    def submit(self, *words: str, **variables: str) -> str:
        """Submit a script; return the job's number."""
        return self.command("sbatch", "--parsable", *words, **variables).strip()

    def job(self, number: str) -> dict[str, str]:
        """Return what Slurm tells of a job, or of a task of an array, ``7_0``."""
        told = self.command("scontrol", "show", "job", "--oneliner", number)
        return dict(re.findall(r"(\w+)=(\S*)", told))

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Wait until something has happened, for as long as no job has failed."""
        end = time.monotonic() + GUARD
        asked = time.monotonic()
        while not happened():
            time.sleep(0.02)
            if time.monotonic() - asked > 1:
                told = self.command("scontrol", "show", "job", "--oneliner")
                states = {*re.findall(r"JobState=(\S+)", told)}
                asked = time.monotonic()
                assert states <= _GOING_WELL, (told, self.logs())
                assert asked < end, (told, self.logs())

    def wait_until_completed(self, number: str) -> dict[str, str]:
        """Wait until a job has ended well; return what Slurm tells of it then."""
        self.wait_for(lambda: self.job(number)["JobState"] == "COMPLETED")
        return self.job(number)

    @contextmanager
    def paused(self, words: str) -> Iterator[None]:
        """Hold processes while open, so that what is done to their jobs meets them in their work.

        Args:
            words: of their command line.
        """
        held = [pid for host in self.hosts for pid in host.processes() if words in _words(pid)]
        assert held, f"no process runs {words}"
        for pid in held:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in held:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def logs(self) -> str:
        """Return the jobs' logs."""
        return "\n".join(path.read_text()[-4000:] for path in self.project.glob("dcr*.log"))


@contextmanager
def slurm_cluster(hosts: tuple[Host, Host], folder: Path, project: Path) -> Iterator[Slurm]:
    """Start a cluster on two hosts; it is killed with whatever else runs on them.

    Args:
        hosts: of which the first has the controller.
        folder: for keys, state and logs; its path must be short, as sockets lie in it.
        project: in whose folder jobs are submitted.
    """
    conf = folder / "slurm.conf"
    conf.write_text(_CONFIGURATION.format(first=NAMES[0], nodes=",".join(NAMES), folder=folder))
    (folder / "cgroup.conf").write_text("CgroupPlugin=autodetect\nIgnoreSystemd=yes\n")
    _start_munge(hosts[0], folder)
    (folder / "state").mkdir()
    log = folder / "daemons.log"
    hosts[0].start("slurmctld", "-D", "-f", str(conf), cwd=folder, log=log)
    for host in hosts:
        words = ["slurmd", "-D", "-N", host.name, "-f", str(conf)]
        host.start(*words, cwd=folder, log=log)
    slurm = Slurm(hosts, folder, project)
    wait_for(lambda: _is_up(slurm))
    yield slurm


def _start_munge(host: Host, folder: Path) -> None:
    """Start munged with a key of its own, which both hosts reach by its socket on their disk."""
    own = folder / "munge"
    own.mkdir()
    own.chmod(0o755)
    key = own / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
    options = [
        f"--{option}={own / name}" for option, name in (files | {"seed-file": "seed"}).items()
    ]
    host.start("munged", "--foreground", "--force", *options, cwd=own, log=own / "said")
    wait_for((own / "socket").exists)


def _words(pid: int) -> str:
    """Return a process's command line, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _is_up(slurm: Slurm) -> bool:
    try:
        return "idle 2" in slurm.command("sinfo", "--noheader", "--format=%T %D")
    except AssertionError:  # there is no controller yet
        return False
