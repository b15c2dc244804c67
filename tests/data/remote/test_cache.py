"""The cache of remote files: bounded, shared by many processes, and whole after any kill."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcr.data.remote import look_up
from dcr.data.remote.cache import Cache
from dcr.errors import UserError
from dcr.locks import hold, hold_if_free

SIZE = 200_000


@pytest.fixture
def store(serve, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.tar").write_bytes(os.urandom(SIZE))
    return serve("http", folder)


def objects(store, *numbers):
    return [look_up(f"{store.url}/{number}.tar") for number in numbers]


def kept(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".copy", ".part"))


def stored(store, found):
    return (store.server.folder / found.url.rpartition("/")[2]).read_bytes()


def test_what_was_used_longest_ago_leaves(store, tmp_path):
    cache = Cache(tmp_path / "cache", 3 * SIZE)
    found = objects(store, 0, 1, 2, 3)
    for one in (*found[:3], found[0], found[3]):
        cache.open(one).close()
    there = [one for one in found if cache.open_if_there(one)]
    assert there == [found[0], found[2], found[3]]


def test_the_folder_never_holds_more_than_it_may_and_what_is_open_stays_readable(store, tmp_path):
    cache = Cache(tmp_path / "cache", 2 * SIZE)
    found = objects(store, *range(6))
    files = [cache.open(one) for one in found]
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 2 * SIZE
    for one, file in zip(found, files, strict=True):
        assert file.read() == stored(store, one)
        file.close()


def test_many_at_a_time_fetch_each_file_once_and_stay_within_bounds(store, tmp_path):
    cache = Cache(tmp_path / "cache", 3 * SIZE)
    found = objects(store, 0, 1, 2) * 5
    store.server.requests.clear()

    def read(one):
        with cache.open(one) as file:
            return file.read() == stored(store, one)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, found))
    assert sum(asked is not None for _, _, asked in store.server.requests) == 3
    assert len(kept(cache.folder)) == 3


def test_where_all_room_is_being_filled_the_next_waits(store, tmp_path):
    """Each of eight has to wait for one of two; nobody waits for who waits."""
    cache = Cache(tmp_path / "cache", 2 * SIZE)
    found = objects(store, *range(6)) * 3

    def read(one):
        with cache.open(one) as file:
            return file.read() == stored(store, one)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, found))
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 2 * SIZE


def test_a_file_that_is_larger_than_the_cache_is_refused(store, tmp_path):
    (found,) = objects(store, 0)
    with pytest.raises(UserError, match=r"cache_gigabytes is 0\.0001, and http.*alone has 0\.0002"):
        Cache(tmp_path / "cache", SIZE // 2).open(found)


FETCH = """
import sys
from dcr.data.remote import look_up, objects
from dcr.data.remote.cache import Cache
objects._LONGEST = 50_000
Cache(sys.argv[1], int(sys.argv[3])).open(look_up(sys.argv[2])).close()
"""


@contextmanager
def fetching(store, cache, name):
    """Have another process stand in the middle of fetching a file; kill it at the end."""
    store.server.stalling.add(f"/{name}")
    given = [str(cache.folder), f"{store.url}/{name}", str(cache.max_bytes)]
    process = subprocess.Popen([sys.executable, "-c", FETCH, *given])
    try:
        while not any(path.stat().st_size for path in cache.folder.glob("*.part")):
            assert process.poll() is None
        yield
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
        store.server.go_on.set()


def test_a_kill_leaves_a_part_that_nobody_sees_and_the_next_goes_on_with(store, tmp_path):
    cache = Cache(tmp_path / "cache", 10**9)
    with fetching(store, cache, "0.tar"):
        pass
    (found,) = objects(store, 0)
    assert cache.open_if_there(found) is None
    (part,) = cache.folder.glob("*.part")
    done = part.stat().st_size
    assert 0 < done < SIZE
    store.server.requests.clear()
    with cache.open(found) as file:
        assert file.read() == stored(store, found)
    assert next(asked for _, _, asked in store.server.requests if asked).startswith(
        f"bytes={done}-"
    )
    assert kept(cache.folder) == [part.with_suffix(".copy").name]


def test_no_part_becomes_a_copy_while_it_is_decided_what_leaves(store, tmp_path, monkeypatch):
    """Who decides would count neither, and let more in than there is room for."""
    cache = Cache(tmp_path / "cache", SIZE)
    replace, was_free = os.replace, []

    def look(source, target):
        with hold_if_free(cache.folder / ".room") as is_free:
            was_free.append(is_free)
        replace(source, target)

    monkeypatch.setattr("dcr.data.remote.cache.os.replace", look)
    for found in objects(store, 0, 1):
        cache.open(found).close()
    assert was_free == [False, False]


READ_AT_RANDOM = """
import random, sys
from dcr.data.remote import look_up
from dcr.data.remote.cache import Cache
folder, url, files, seed, most = sys.argv[1:]
draw = random.Random(int(seed))
found = {number: look_up(f"{url}/{number}.tar") for number in range(6)}
print("ready", flush=True)
for number in draw.choices(range(6), k=40):
    with Cache(folder, int(most)).open(found[number]) as file:
        assert file.read() == open(f"{files}/{number}.tar", "rb").read(), number
"""


def test_processes_share_the_folder_though_one_of_them_is_killed(store, tmp_path):
    """Two read six files in any order where three have room, one of which a third was fetching."""
    cache = Cache(tmp_path / "cache", 3 * SIZE)
    given = [str(cache.folder), store.url, str(store.server.folder)]
    with fetching(store, cache, "0.tar"):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", READ_AT_RANDOM, *given, str(seed), str(3 * SIZE)],
                stdout=subprocess.PIPE,
            )
            for seed in range(2)
        ]
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
    assert [process.wait(60) for process in processes] == [0, 0]
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 3 * SIZE
    with cache.open(found := objects(store, 5)[0]) as file:
        assert file.read() == stored(store, found)


def test_a_copy_that_is_cut_short_is_fetched_again(store, tmp_path):
    cache = Cache(tmp_path / "cache", 10**9)
    (found,) = objects(store, 0)
    cache.open(found).close()
    (copy,) = cache.folder.glob("*.copy")
    os.truncate(copy, 5)
    with cache.open(found) as file:
        assert file.read() == stored(store, found)


def test_a_file_that_changed_since_it_was_looked_up_is_refused(store, tmp_path):
    cache = Cache(tmp_path / "cache", 10**9)
    (found,) = objects(store, 0)
    (store.server.folder / "0.tar").write_bytes(os.urandom(SIZE))
    with pytest.raises(UserError, match=r"0\.tar changed while it was read"):
        cache.open(found)
    assert kept(cache.folder) == []
    (new,) = objects(store, 0)
    with cache.open(new) as file:
        assert file.read() == stored(store, new)


def test_a_part_that_a_kill_left_makes_room(store, tmp_path):
    cache = Cache(tmp_path / "cache", SIZE)
    found, other = objects(store, 0, 1)
    cache.open(found).close()
    (copy,) = cache.folder.glob("*.copy")
    copy.rename(copy.with_suffix(".part"))
    cache.open(other).close()
    assert len(kept(cache.folder)) == 1


def test_a_folder_that_cannot_be_written_is_named(store, tmp_path):
    (tmp_path / "file").touch()
    (found,) = objects(store, 0)
    with pytest.raises(UserError, match=r"remote\.cache_folder .*file/cache cannot be used"):
        Cache(Path(tmp_path / "file" / "cache"), 10**9).open(found)


def test_a_lock_is_given_back_though_a_fork_has_its_file_open(tmp_path):
    with hold(tmp_path / "lock"):
        child = os.fork()
        if child == 0:
            signal.pause()
    with hold(tmp_path / "lock"):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
