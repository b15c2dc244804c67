"""torch.distributed.run on one host, with the word left to the worker that failed.

    python -m dcr.training.distributed.agent <its arguments> <worker> <job>/config.json <id>

Only the end differs. Where torch.distributed.run prints a log and a traceback of its own beside
those of its workers, this leaves the word to the worker that failed; LOGLEVEL=INFO brings the log
back.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

# Read by the imports below.
os.environ.setdefault("LOGLEVEL", "CRITICAL")
# Seconds from SIGTERM to SIGKILL: a step and a save.
os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "600")

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError

from dcr.errors import UserError
from dcr.training.distributed.failures import NODE_PID, first_failure, leave_failure, read_job


def main(arguments: list[str]) -> int:
    """Start this host's workers, wait for their end and return the exit code.

    Args:
        arguments: those of torch.distributed.run; the last two are the path of the job's
            config.json and the job's id.
    """
    parsed = run.parse_args(arguments)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup; torch would handle it
        parsed.signals_to_handle = "SIGTERM,SIGINT,SIGQUIT"
    config, job_id = Path(arguments[-2]), arguments[-1]
    folder = config.parent
    try:
        run.run(parsed)
    except SignalException as exc:
        return 128 + exc.sigval
    except ChildFailedError as exc:
        rank, exit_code = first_to_fail(exc)
        if exit_code < 0 or first_failure(folder) is None:  # a peer may have left that it lost it
            told = UserError(_describe(rank, exit_code))
            leave_failure(config, job_id, rank, told, came_first=True)
    except RendezvousError as exc:
        message = (
            f"{parsed.nnodes} hosts did not meet at {parsed.rdzv_endpoint} ({exc}): start all of"
            " them within ten minutes, and see that each of them reaches this address"
        )
        leave_failure(config, job_id, "agent", UserError(message))
    else:
        return 0
    # The node says it on its own host, and of a job that was replaced nobody asks.
    if NODE_PID not in os.environ and read_job(config, job_id):
        left = first_failure(folder)
        assert left is not None  # one was left above, if not before
        print(f"Error: {left['message']}", file=sys.stderr)
    return 1


def first_to_fail(error: ChildFailedError) -> tuple[int, int]:
    """Return rank and exit code of the process that failed first.

    One that was killed and those that lost it by that may be noticed at once: then it was the one
    that was killed. SIGTERM is what torch.distributed.run ends the others with.
    """

    def order(rank: int) -> tuple[int, int]:
        failure = error.failures[rank]
        if failure.exitcode == -signal.SIGTERM:
            return failure.timestamp, 2
        return failure.timestamp, int(failure.exitcode > 0)

    rank = min(error.failures, key=order)
    return rank, error.failures[rank].exitcode


def _describe(rank: int, exit_code: int) -> str:
    if exit_code < 0:
        return f"rank {rank} was killed by signal {-exit_code}: has memory run out?"
    return f"rank {rank} ended with exit code {exit_code}; what it said stands above"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
