from dcr.data.shards import name_shards


def test_shards_are_called_by_their_stem():
    assert name_shards(["/data/00000.tar", "/data/00001.tar", "/data/2.TAR"]) == {
        "/data/00000.tar": "00000",
        "/data/00001.tar": "00001",
        "/data/2.TAR": "2",
    }


def test_equal_stems_are_told_apart_by_their_folders():
    shards = ["/x/a/00000.tar", "/x/b/00000.tar"]
    assert list(name_shards(shards).values()) == ["a-00000", "b-00000"]
