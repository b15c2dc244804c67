"""An encoder's files in a repository of the Hugging Face hub, by the hub's own client."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.data.sources import HubModel, parse_hub_model
from dcr.errors import UserError, first_line
from dcr.faults import raised_in

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

_REFUSED = re.compile(r"\((401|403) ")
_AGAIN = "run the same command again: what has arrived is kept"


@dataclass(frozen=True)
class Publication:
    """What a repository holds after `publish`.

    Attributes:
        url: of the commit that holds the files.
        is_new: whether this call made it; else every file was there already.
        others: files in the repository that this call knows nothing of.
    """

    url: str
    is_new: bool
    others: list[str]


def parse_target(name: str) -> HubModel:
    """Return the repository and branch that ``org/name`` or ``org/name@branch`` names.

    Raises:
        UserError: it names none, or a commit.
    """
    target = parse_hub_model(name)
    if target is None or target.is_pinned:
        raise UserError(f"--to {name}: write org/name, or org/name@branch")
    return target


def publish(
    files: Mapping[str, Path], target: HubModel, message: str, private: bool = False
) -> Publication:
    """Put files into a repository in one commit; where all are there already, none is made.

    The token is that of the hub's own environment or login.

    Args:
        files: path of each, by its name in the repository.
        target: the repository, which is made if it is not there, and its branch, likewise.
        message: of the commit.
        private: make the repository a private one; else it is what its owner's settings say.

    Raises:
        UserError: the hub refuses the token, the repository or a file, or cannot be reached; or a
            repository that should be private is public.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(library_name="dcr")
    owner = target.repo_id.partition("/")[0]
    with _told("is this machine's token (HF_TOKEN, or `hf auth login`) a valid one?"):
        user = api.whoami()
    with _told(_rights(owner, user)):
        before = _open(api, target, private)
        commit = api.create_commit(
            target.repo_id,
            [CommitOperationAdd(name, path) for name, path in files.items()],
            commit_message=message,
            revision=target.revision,
        )
    there = {sibling.rfilename for sibling in before.siblings or ()}
    others = sorted(there - files.keys() - {".gitattributes"})
    return Publication(str(commit.commit_url), commit.oid != before.sha, others)


def _open(api: HfApi, target: HubModel, private: bool) -> Any:
    """Return what the hub tells of the branch, which is there afterwards."""
    api.create_repo(target.repo_id, private=private or None, exist_ok=True)
    if target.revision != "main":
        api.create_branch(target.repo_id, branch=target.revision, exist_ok=True)
    info = api.model_info(target.repo_id, revision=target.revision)
    if private and not info.private:
        raise UserError(
            f"{target.repo_id} is there already and is public: leave --private out, or make it"
            " private on the hub first"
        )
    return info


def _rights(owner: str, user: Mapping[str, Any]) -> str:
    """Return the question that a refusal leaves, with the names that the user can write under."""
    organisations = [str(one.get("name")) for one in user.get("orgs") or ()]
    names = ", ".join([str(user.get("name")), *organisations])
    return (
        f"is {owner} one of the names that this token may write under ({names}), and may it write?"
    )


@contextmanager
def _told(question: str) -> Iterator[None]:
    """Turn what the hub's client raises into one sentence.

    Args:
        question: what to look at where the hub refuses.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    try:
        yield
    except LocalTokenNotFoundError as exc:
        raise UserError(
            "this machine has no token of the hub: log in with `hf auth login`, or set HF_TOKEN"
        ) from exc
    except HFValidationError as exc:
        raise UserError(f"the hub takes no such name: {first_line(exc)}") from exc
    except Exception as exc:
        refusal = next((one for one in _chain(exc) if isinstance(one, HfHubHTTPError)), None)
        if refusal is not None:
            raise UserError(_sentence(exc, refusal, question)) from exc
        broken = next((one for one in _chain(exc) if _is_of_the_network(one)), None)
        if broken is None:
            raise
        reason = first_line(broken)
        if isinstance(broken, PermissionError) or _REFUSED.search(reason):
            raise UserError(f"{constants.ENDPOINT} refuses ({reason}): {question}") from exc
        raise UserError(
            f"the connection to {constants.ENDPOINT} failed ({reason}): {_AGAIN}"
        ) from exc


def _sentence(exc: Exception, refusal: HfHubHTTPError, question: str) -> str:
    """Return what the hub answered, in words; a refused card's faults stand in ``exc`` itself."""
    from huggingface_hub import constants

    status = refusal.response.status_code
    said = " ".join(str(exc).split()) if isinstance(exc, ValueError) else refusal.server_message
    reason = f"{constants.ENDPOINT} answers {status}" + (f" ({said})" if said else "")
    if status in (401, 402, 403, 404):
        return f"{reason}: {question}"
    return f"{reason}: {_AGAIN if status >= 408 else 'mend that first'}"


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__


def _is_of_the_network(exc: BaseException) -> bool:
    """Whether the client could not talk to the hub.

    Its HTTP library's errors have names of their own. hf_xet, which sends large files, raises
    Python's, of which those with a number come from this machine.
    """
    is_transport = any(cls.__name__ == "TransportError" for cls in type(exc).__mro__)
    is_told = isinstance(exc, OSError | RuntimeError) and getattr(exc, "errno", None) is None
    is_sending = is_told and raised_in(exc, ("huggingface_hub", "hf_xet"))
    return is_transport or is_sending or isinstance(exc, ConnectionError | TimeoutError)
