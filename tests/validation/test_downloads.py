import pytest

from dcr.data.remote import RemoteSettings, use_settings
from dcr.errors import UserError
from dcr.validation.downloads import EncodedAgain, all_failed, was_resized

SIZES = {"width": 48, "height": 40, "original_width": 48, "original_height": 40}


def test_a_download_of_another_size_was_resized():
    assert not was_resized({"width": 48, "height": 40})
    assert not was_resized(SIZES)
    assert was_resized(SIZES | {"original_height": 400})
    assert was_resized(SIZES | {"original_width": None})


def test_most_hashes_decide_whether_images_were_encoded_again():
    def found(*hashes, **metadata):
        encoded_again = EncodedAgain()
        for number, declared in enumerate(hashes):
            encoded_again.add(number, SIZES | metadata, declared, "a")
        return bool(encoded_again), encoded_again.doubtful

    assert found("a", "b", "a") == (False, [1])
    assert found("b", "b", "a") == (True, [0, 1])
    assert found(None, None) == (False, [])
    assert found("b", "b", original_width=480) == (False, [])


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        ('{"count": 3, "successes": 0}', True),
        ('{"count": 3, "successes": 1}', False),
        ("[]", False),
        ("{", False),
        ("[" * 100_000, False),
        (None, False),
        ('{"successes": 0}', False),
        ("\xff", False),
    ],
)
def test_stats_tell_of_shards_without_a_download(tmp_path, stats, expected):
    if stats is not None:
        (tmp_path / "0_stats.json").write_text(stats, encoding="latin-1")
    assert all_failed(str(tmp_path / "0.tar")) is expected


def test_stats_whose_size_the_server_does_not_tell_are_as_none(serve, tmp_path):
    """They are a hint, and the shard beside them may be read as well as any."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "0_stats.json").write_text('{"count": 3, "successes": 0}')
    store = serve("http", tmp_path / "files")
    store.server.sizeless = {"/0_stats.json"}
    assert not all_failed(f"{store.url}/0.tar")


def test_stats_at_a_busy_store_are_asked_for_again(serve, tmp_path, remote_cache):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "0_stats.json").write_text('{"count": 3, "successes": 0}')
    store = serve("http", tmp_path / "files")
    for num_busy in (1, 4, 5):  # when they are looked for, and when they are read
        store.server.busy = {"/0_stats.json": num_busy}
        assert all_failed(f"{store.url}/0.tar")
    assert not all_failed(f"{store.url}/1.tar")
    store.wire.close()
    use_settings(RemoteSettings(str(remote_cache), 10**9, 2, 0.0))
    with pytest.raises(UserError, match="tried 2 times in a row"):
        all_failed(f"{store.url}/0.tar")
