"""The cache of remote files: bounded, shared by many processes, and whole after any kill."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dcr.data.remote import look_up
from dcr.data.remote.cache import Cache
from dcr.errors import UserError
from dcr.locks import hold

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
from dcr.data.remote import look_up
from dcr.data.remote.cache import Cache
Cache(sys.argv[1], 10**9).open(look_up(sys.argv[2])).close()
"""


def test_a_kill_leaves_a_part_that_nobody_sees_and_the_next_goes_on_with(serve, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "0.tar").write_bytes(os.urandom(50_000_000))
    store = serve("http", folder)
    cache = Cache(tmp_path / "cache", 10**9)
    url = f"{store.url}/0.tar"
    process = subprocess.Popen([sys.executable, "-c", FETCH, str(cache.folder), url])
    while not any(path.stat().st_size for path in cache.folder.glob("*.part")):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = look_up(url)
    assert cache.open_if_there(found) is None
    (part,) = cache.folder.glob("*.part")
    done = part.stat().st_size
    store.server.requests.clear()
    with cache.open(found) as file:
        assert file.read() == (folder / "0.tar").read_bytes()
    assert next(asked for _, _, asked in store.server.requests if asked).startswith(
        f"bytes={done}-"
    )
    assert kept(cache.folder) == [part.with_suffix(".copy").name]


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
    """Three read six files in any order where three have room; the rest go on without the dead."""
    folder = tmp_path / "cache"
    given = [str(folder), store.url, str(store.server.folder)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", READ_AT_RANDOM, *given, str(seed), str(3 * SIZE)],
            stdout=subprocess.PIPE,
        )
        for seed in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    processes[0].kill()
    assert [process.wait(60) for process in processes] == [-signal.SIGKILL, 0, 0]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3 * SIZE
    with Cache(folder, 3 * SIZE).open(found := objects(store, 5)[0]) as file:
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
