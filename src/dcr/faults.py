"""What goes wrong outside the code, as the sentence that a user reads.

That is disk, memory, processes and damaged files. Libraries and the system raise errors of their
own. `explain` knows those that say something about the machine, a file or a setting; anything else
is a mistake in the code and keeps its traceback. Errors are known by the names of their classes, so
that none of the libraries is imported for it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dcr.errors import UserError
from dcr.fault_kinds import AGAIN, CODES, PROCESSES, SYSTEM


@dataclass
class Place:
    """What is being done at this moment; Kedro's hooks keep it (`dcr.framework.hooks.Whereabouts`).

    Attributes:
        node: that runs.
        dataset: that is read or written, or None.
        path: of the dataset.
        maker: command that makes it.
        writing: whether it is written.
    """

    node: str | None = None
    dataset: str | None = None
    path: str | None = None
    maker: str | None = None
    writing: bool = False

    def become(self, other: Place) -> None:
        """Take over all that ``other`` says: whoever has this object sees it."""
        vars(self).update(vars(other))


NOW = Place()
"""What this process is doing."""


def explain(exc: BaseException, place: Place = NOW) -> UserError | None:
    """Return the user's error that an exception is or stands for; None for a mistake in the code.

    Args:
        exc: what was raised; its causes are looked at, too.
        place: what was being done.
    """
    if found := next((one for one in _chain(exc) if isinstance(one, UserError)), None):
        told = UserError(_plain(found))
        told.exit_code = found.exit_code
        return told
    if match := next((path for one in _chain(exc) if (path := _DATASET.search(str(one)))), None):
        place = replace(place, path=match[1])  # of the one partition among many
    for one in _causes(exc):
        if (
            sentence := _of_the_system(one, place)
            or _of_a_process(one, place)
            or _of_a_file(one, place)
        ):
            return UserError(sentence)
    return next((UserError(sentence) for one in _causes(exc) if (sentence := _of_kedro(one))), None)


_DATASET = re.compile(
    r"Failed while \w+ data (?:from|to) dataset .*?filepath=(?:\w+\()?'([^'\n]+)'"
)


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, what it was raised from, and what was being handled then."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or exc.__context__


def _causes(exc: BaseException) -> list[BaseException]:
    """Return an exception and its explicit causes, innermost first."""
    causes = [exc]
    while (cause := causes[-1].__cause__) is not None and cause not in causes:
        causes.append(cause)
    return causes[::-1]


# ---- the system ----

_CODE_IN_WORDS = re.compile(r"\[[Ee]rrno (\d+)\]|\(os error (\d+)\)|\bOs \{ code: (\d+)")
_PATH_IN_WORDS = re.compile(r"'((?:[^'\n]*/)[^'\n]*)'")


def _of_the_system(exc: BaseException, place: Place) -> str | None:
    """Return the sentence on what the system refused; a reader that went away is no fault."""
    code = _code(exc)
    if code is None or code == errno.EPIPE:
        return None
    reason, advice = SYSTEM.get(code, (os.strerror(code).lower(), f"mend that, {AGAIN}"))
    if code == errno.ENOENT and place.maker and not place.writing:
        advice = f"make it with `{place.maker}`"
    return f"{_where(exc, place)}: {reason}{_doing(place)}; {advice}"


def _code(exc: BaseException) -> int | None:
    """Return the system's error number, also where a library has put it into words."""
    if isinstance(exc, OSError) and isinstance(exc.errno, int):
        return exc.errno
    if found := _CODE_IN_WORDS.search(str(exc)):
        return int(next(filter(None, found.groups())))
    return next((code for cls, code in CODES.items() if isinstance(exc, cls)), None)


def _where(exc: BaseException, place: Place) -> str:
    for name in (getattr(exc, "filename", None), getattr(exc, "filename2", None)):
        if isinstance(name, str | bytes | os.PathLike) and os.fspath(name):
            return os.fsdecode(name)
    found = _PATH_IN_WORDS.search(str(exc))
    return found[1] if found else place.path or place.dataset or place.node or os.getcwd()


def _doing(place: Place) -> str:
    """Return what was being done, as a clause."""
    if place.dataset:
        return f" while `{place.dataset}` was {'written' if place.writing else 'read'}"
    return f" while node {place.node} ran" if place.node else ""


# ---- memory and processes ----


def _of_a_process(exc: BaseException, place: Place) -> str | None:
    """Return the sentence on exhausted memory, a killed process or a failed accelerator."""
    message = str(exc)
    for kind in PROCESSES:
        is_named = any(re.fullmatch(kind.name, cls.__name__) for cls in type(exc).__mro__)
        if is_named and re.search(kind.message, message, re.DOTALL):
            detail = f" ({_first_line(message)})" if message and kind.message else ""
            return f"{kind.reason}{_doing(place)}{detail}; {kind.advice}"
    return None


# ---- files ----

_DAMAGED = re.compile(
    r"json\.decoder\.JSONDecodeError|UnicodeDecodeError|EOFError|zipfile\.BadZipFile|tarfile\.\w+|zlib\.error|lzma\.LZMAError"
    r"|gzip\.BadGzipFile|pyarrow\.lib\.Arrow\w+|pandas\.errors\.(EmptyData|Parser)Error|yaml\.\w+\.\w+|csv\.Error|_csv\.Error"
    r"|safetensors_rust\.SafetensorError|plotly\.\w+\.PlotlyError|binascii\.Error"
)


def _of_a_file(exc: BaseException, place: Place) -> str | None:
    """Return the sentence on a file that cannot be read."""
    names = [
        f"{cls.__module__}.{cls.__name__}".removeprefix("builtins.") for cls in type(exc).__mro__
    ]
    if any(re.fullmatch(r"huggingface_hub\..*HFValidationError", name) for name in names):
        return f"{_first_line(str(exc))}: write models of the hub as org/name@revision"
    reading = place.dataset is not None and not place.writing
    # a library's reader finds fault with bytes by plain errors, too
    is_readers = reading and isinstance(exc, OSError | ValueError) and raised_in(exc, _READERS)
    if not is_readers and not any(_DAMAGED.fullmatch(name) for name in names):
        return None
    advice = (
        f"remove it and make it again with `{place.maker}`" if place.maker else "mend or replace it"
    )
    mark = getattr(exc, "problem_mark", None)
    reason = getattr(exc, "problem", None) or _first_line(str(exc)) or "it ends too early"
    reason = f"line {mark.line + 1}: {reason}" if mark else reason
    found = _PATH_IN_WORDS.search(str(exc))
    if found or (reading and place.path):
        return (
            f"{found[1] if found else place.path} is damaged or half-written ({reason}); {advice}"
        )
    return (
        f"a file that {f'node {place.node}' if place.node else 'this command'} reads is damaged"
        f" ({reason}); {advice}"
    )


_READERS = ("pyarrow", "pandas", "json", "plotly", "numpy", "yaml", "zipfile", "fsspec")


# ---- Kedro ----

_CATALOG = ("kedro.io.catalog_config_resolver",)
_UNDEFINED = ("Failed while", "Saving 'None'")


def _of_kedro(exc: BaseException) -> str | None:
    """Return the sentence on a catalog or configuration that Kedro refuses."""
    name = f"{type(exc).__module__}.{type(exc).__name__}"
    message = str(exc.args[0] if exc.args else exc)
    is_refusal = name.startswith("kedro.io.core.") and not message.startswith(_UNDEFINED)
    if is_refusal or (
        isinstance(exc, KeyError | ValueError)
        and raised_in(exc, ("kedro.io.catalog_config_resolver",))
    ):
        return f"the catalog: {first_sentence(message)}; see conf/base/catalog_*.yml"
    if name.startswith(("kedro.config.", "omegaconf.errors.", "kedro.pipeline.pipeline.")):
        return _first_line(message)
    return None


# ---- words and origins ----


def raised_in(exc: BaseException, modules: tuple[str, ...]) -> bool:
    """Return whether the last frame of what was raised, ``exc``, is of these ``modules``."""
    frame = exc.__traceback__
    last = ""
    while frame is not None:
        last = frame.tb_frame.f_globals.get("__name__", "")
        frame = frame.tb_next
    return any(f"{last}.".startswith(f"{module}.") for module in modules)


_WORKERS_TRACEBACK = re.compile(
    r"Caught \w+ in .*\nOriginal Traceback.*\n(?:[\w.]+: )(.*)", re.DOTALL
)


def _plain(exc: BaseException) -> str:
    """Return a message in one line, without the traceback that a loader's process puts into it."""
    message = str(exc)
    found = _WORKERS_TRACEBACK.search(message)
    return " ".join((found[1] if found else message).split())


def _first_line(message: str) -> str:
    found = _WORKERS_TRACEBACK.search(message)
    lines = (found[1] if found else message).strip().splitlines()
    return lines[0].strip().removesuffix(".")[:300] if lines else ""


def first_sentence(message: str) -> str:
    """Return what Kedro's ``message`` says before its hints, in a line of up to 300 characters."""
    text = " ".join(message.partition("Hint:")[0].partition("https://")[0].split())
    text = re.sub(r"An exception occurred when parsing config for dataset '([^']*)':", r"\1:", text)
    return text.removesuffix(".")[:300]
