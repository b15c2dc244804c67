"""The faults of machine and system that are known: what each is called, and what to do."""

from __future__ import annotations

import errno
from typing import NamedTuple

AGAIN = "then run the same command again: what is finished is kept"


# error number: what happened, what to do
SYSTEM = {
    errno.ENOSPC: ("the disk is full", f"free space there, {AGAIN}"),
    errno.EDQUOT: ("the disk quota is used up", f"free space there, {AGAIN}"),
    errno.EROFS: ("the file system is read-only", "make it writable, or work in a folder that is"),
    errno.EACCES: ("permission is denied", "give this user the right to it"),
    errno.EPERM: ("the system does not permit it", "give this user the right to it"),
    errno.EMFILE: (
        "too many files are open",
        f"raise the limit (ulimit -n) or lower num_workers and n_jobs of the parameters, {AGAIN}",
    ),
    errno.ENFILE: ("too many files are open on this machine", f"close other programs, {AGAIN}"),
    errno.EFBIG: (
        "the file would be larger than this process or file system may write",
        f"raise ulimit -f, {AGAIN}",
    ),
    errno.EIO: ("the disk reports an input/output error", "check the disk or the mount"),
    errno.ENAMETOOLONG: ("the name is too long for the file system", "choose shorter names"),
    errno.ENOTDIR: ("there is a file where a folder is needed", "move it away"),
    errno.EISDIR: ("there is a folder where a file is needed", "move it away"),
    errno.EEXIST: ("something else is in its place", "move it away"),
    errno.ENOTEMPTY: ("the folder holds what another program writes", f"stop that, {AGAIN}"),
    errno.ENOENT: ("there is no such file or folder", "check the path"),
    errno.ELOOP: ("its links lead in a circle", "mend the links"),
    errno.ESTALE: ("the network file system has lost it", f"mount it again, {AGAIN}"),
    errno.ENOMEM: (
        "memory does not suffice",
        f"free memory or lower batch_size, num_workers and n_jobs, {AGAIN}",
    ),
    errno.EAGAIN: (
        "no further process can be started",
        f"raise the limit (ulimit -u) or lower num_workers, {AGAIN}",
    ),
    errno.EBUSY: ("it is in use", f"stop the program that uses it, {AGAIN}"),
    errno.ETXTBSY: ("it is in use", f"stop the program that uses it, {AGAIN}"),
    errno.ECONNREFUSED: ("the connection is refused", "check that the other side runs"),
    errno.ETIMEDOUT: ("there is no answer", "check the network"),
    errno.EADDRINUSE: ("the address is in use", "choose another port"),
}
CODES = {
    FileNotFoundError: errno.ENOENT,
    PermissionError: errno.EACCES,
    IsADirectoryError: errno.EISDIR,
    NotADirectoryError: errno.ENOTDIR,
    FileExistsError: errno.EEXIST,
    TimeoutError: errno.ETIMEDOUT,
    ConnectionRefusedError: errno.ECONNREFUSED,
}

_MEMORY = (
    "lower batch_size, rows_per_chunk, num_workers or n_jobs of the parameters, or free memory,"
    f" {AGAIN}"
)
_KILLED = (
    "most often for lack of memory: lower n_jobs or num_workers of the parameters, or free memory,"
    f" {AGAIN}"
)
_ENDED = f"the log tells of it, {AGAIN}"


class Kind(NamedTuple):
    """Class and message of an exception, as patterns, what happened, and what to do."""

    name: str
    message: str
    reason: str
    advice: str


PROCESSES = [
    Kind("MemoryError|OutOfMemoryError", "", "memory does not suffice", _MEMORY),
    Kind(
        ".*",
        "CUDA (error: )?out of memory|DefaultCPUAllocator: .*memory",
        "memory does not suffice",
        _MEMORY,
    ),
    Kind("TerminatedWorkerError|BrokenProcessPool", "", "a worker process was killed", _KILLED),
    Kind(
        "RuntimeError",
        "DataLoader worker .*(shared memory|Bus error)",
        "a loader process ran out of shared memory",
        f"give /dev/shm more room (docker run --shm-size) or set num_workers: 0, {AGAIN}",
    ),
    Kind("RuntimeError", "DataLoader worker ", "a loader process was killed", _KILLED),
    Kind(
        "RuntimeError",
        "can't start new thread",
        "no further thread can be started",
        f"raise ulimit -u, {AGAIN}",
    ),
    Kind(
        "ChildFailedError|SignalException",
        "",
        "the processes that train together were ended from outside",
        _ENDED,
    ),
    Kind(
        "Dist(Backend|Network|Store)Error",
        "",
        "the processes that work together lost each other",
        _ENDED,
    ),
    Kind(
        ".*",
        "CUDA error: (?!device-side assert|an illegal memory)|cuDNN error|NCCL error|CUDA driver|No"
        " CUDA GPUs",
        "the accelerator failed",
        f"check it with nvidia-smi, or set `device: cpu` in globals.yml, {AGAIN}",
    ),
]
