"""Files to a hub on this machine, by the real client; large ones by Git LFS, for which the client's
other way, Xet, is off here: of its storage the stand-in has only what goes wrong.
"""

import errno
import time

import pytest
from huggingface_hub import ModelCard, snapshot_download

from dcr.errors import UserError
from dcr.export.publishing import parse_target, publish
from dcr.files import sha256_file
from hub_server import TOKEN, hub_server, point_client_at

CONTENTS = {
    "README.md": b"---\nlicense: mit\n---\n# A model\n",
    "model.safetensors": b"weights" * 1000,
    "vision/model.safetensors": b"tower" * 1000,
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_server() as server:
        point_client_at(server.endpoint, monkeypatch)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture
def files(tmp_path):
    for name, content in CONTENTS.items():
        path = tmp_path / "encoder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return {name: tmp_path / "encoder" / name for name in CONTENTS}


def send(files, to="lab/clip", **options):
    return publish(files, parse_target(to), "a message", **options)


def holds(hub, repo_id="lab/clip", branch="main"):
    """What a branch holds, but for the hub's own file."""
    return {n: d for n, d in hub.files(repo_id, branch).items() if n != ".gitattributes"}


def test_every_file_arrives_in_one_commit_of_a_new_repository(hub, files, tmp_path):
    result = send(files)
    assert (result.is_new, result.others) == (True, [])
    assert result.url.startswith(f"{hub.endpoint}/lab/clip/commit/")
    assert (holds(hub), hub.num_commits("lab/clip")) == (CONTENTS, 2)
    assert hub.messages == ["a message"]
    assert not hub.repositories["lab/clip"].private
    folder = snapshot_download("lab/clip", cache_dir=tmp_path / "cache")
    assert ModelCard.load(f"{folder}/README.md").data.license == "mit"


def test_a_call_that_changes_nothing_makes_no_commit(hub, files):
    url = send(files).url
    again = send(files)
    assert (again.is_new, again.url) == (False, url)
    assert hub.num_commits("lab/clip") == 2


def test_only_what_changed_is_sent_and_what_is_of_others_stays(hub, files):
    send(files)
    hub.repositories["lab/clip"].branches["main"][-1]["teaser.png"] = b"a picture"
    files["model.safetensors"].write_bytes(b"other weights")
    hub.requests.clear()
    result = send(files)
    assert (result.is_new, result.others) == (True, ["teaser.png"])
    assert sum(request.startswith("PUT") for request in hub.requests) == 1
    assert holds(hub)["model.safetensors"] == b"other weights"
    assert holds(hub)["teaser.png"] == b"a picture"


def test_a_branch_is_made_where_it_is_named(hub, files):
    send(files, "lab/clip@trial")
    assert holds(hub, branch="trial") == CONTENTS
    assert holds(hub) == {}


def test_a_new_branch_begins_with_what_the_repository_holds(hub, files):
    send(files)
    hub.repositories["lab/clip"].branches["main"][-1]["teaser.png"] = b"a picture"
    files["README.md"].write_bytes(b"# Another model")
    assert send(files, "lab/clip@trial").others == ["teaser.png"]
    trial = CONTENTS | {"README.md": b"# Another model", "teaser.png": b"a picture"}
    assert holds(hub, branch="trial") == trial
    assert holds(hub) == CONTENTS | {"teaser.png": b"a picture"}


def test_a_repository_is_private_if_asked_and_a_public_one_is_not_filled(hub, files):
    send(files, "lab/hidden", private=True)
    assert hub.repositories["lab/hidden"].private
    send(files, "lab/open")
    files["README.md"].write_bytes(b"not for everyone")
    with pytest.raises(UserError, match="lab/open is there already and is public"):
        send(files, "lab/open", private=True)
    assert holds(hub, "lab/open") == CONTENTS


def test_a_refused_token_and_none_are_one_sentence(hub, files, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_yesterday")
    with pytest.raises(UserError, match=r"answers 401: is this machine's token .*a valid"):
        send(files)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="no token of the hub: log in with `hf auth login`"):
        send(files)
    assert not hub.repositories


@pytest.mark.parametrize("owner", ["readers", "nobody"])
def test_an_owner_without_rights_is_told_with_those_that_have_them(hub, files, owner):
    with pytest.raises(UserError, match=rf"answers 403 .*is {owner} one .*\(ann, lab, readers\)"):
        send(files, f"{owner}/clip")
    assert not hub.repositories


def test_a_broken_connection_is_one_sentence_and_the_next_call_goes_on(hub, files, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client waits between its trials
    digest = sha256_file(files["vision/model.safetensors"])
    hub.break_at = f"PUT /lfs/{digest}"
    with pytest.raises(UserError, match=r"connection to http.* failed .*: run the same command"):
        send(files)
    assert holds(hub) == {}
    hub.break_at = None
    hub.requests.clear()
    assert send(files).is_new
    assert [r for r in hub.requests if r.startswith("PUT")] == [f"PUT /lfs/{digest}"]
    assert holds(hub) == CONTENTS


def test_a_connection_that_breaks_at_the_commit_leaves_the_branch_as_it_was(hub, files):
    hub.break_at = "POST .*/commit/"
    with pytest.raises(UserError, match="failed"):
        send(files)
    assert holds(hub) == {}
    hub.break_at = None
    send(files)
    assert holds(hub) == CONTENTS


def test_a_hub_that_is_not_there_is_one_sentence(hub, files):
    hub.break_at = "whoami"
    with pytest.raises(UserError, match=r"connection to .* failed"):
        send(files)


@pytest.mark.parametrize(
    ("token", "storage", "sentence"),
    [
        (401, 200, r"refuses \(.*401 Unauthorized.*\): is lab one of the names .* \(ann, lab"),
        (200, 403, r"refuses \(.*403 Forbidden.*\): is lab one of the names"),
        (200, 404, r"connection to http.* failed \(.*404 Not Found.*\): run the same command"),
        (200, 200, r"connection to http.* failed \(.+\): run the same command"),
    ],
)
def test_what_goes_wrong_in_xets_storage_is_one_sentence(
    hub, files, monkeypatch, token, storage, sentence
):
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    hub.xet_token, hub.xet_storage = token, storage
    with pytest.raises(UserError, match=sentence):
        send(files)
    assert holds(hub) == {}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TimeoutError("no answer"), r"connection to .* failed \(no answer\): run the same command"),
        (RuntimeError("a task was lost"), r"connection to .* failed \(a task was lost\): run the"),
        (PermissionError("token expired"), r"refuses \(token expired\): is lab one of the names"),
    ],
)
def test_errors_of_the_library_that_sends_large_files_are_one_sentence(
    hub, files, monkeypatch, error, sentence
):
    monkeypatch.setattr("huggingface_hub.HfApi.create_commit", raising(error, "hf_xet"))
    with pytest.raises(UserError, match=sentence):
        send(files)


@pytest.mark.parametrize(
    ("error", "module"),
    [
        (RuntimeError("a mistake"), "dcr.export.somewhere"),
        (PermissionError(errno.EACCES, "denied", "model.safetensors"), "huggingface_hub"),
    ],
)
def test_errors_of_this_machine_are_not_told_as_the_hubs(hub, files, monkeypatch, error, module):
    monkeypatch.setattr("huggingface_hub.HfApi.create_commit", raising(error, module))
    with pytest.raises(type(error)) as caught:
        send(files)
    assert caught.value is error


def raising(error, module):
    """A function of a module that raises."""
    names = {"__name__": module, "error": error}
    exec("def act(*_, **__):\n    raise error", names)
    return names["act"]


def test_metadata_that_the_hub_refuses_are_one_sentence(hub, files):
    hub.metadata_errors.append('"license" must be one of a list')
    with pytest.raises(UserError, match=r'answers 400 .*"license" must be one of a list\): mend'):
        send(files)
    assert holds(hub) == {}


@pytest.mark.parametrize("name", ["clip", "a/b/c", "/a/b", "", f"lab/clip@{'0' * 40}"])
def test_a_target_that_is_no_repository_or_branch_is_refused(name):
    with pytest.raises(UserError, match="write org/name, or org/name@branch"):
        parse_target(name)


def test_a_name_that_the_hub_does_not_take_is_refused_before_anything_is_sent(hub, files):
    with pytest.raises(UserError, match="the hub takes no such name"):
        send(files, "lab/..clip..")
    assert not hub.repositories
