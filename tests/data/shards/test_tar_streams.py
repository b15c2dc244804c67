"""A stream is read from front to back, whatever compresses it, and expands within bounds."""

import bz2
import gzip
import io
import lzma
import random
import zlib

import pytest

from dcr.data.shards.tar_fields import TarDamaged
from dcr.data.shards.tar_streams import TarStream

NOISE = random.Random(1).randbytes(300_000)
PACKERS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress,
           "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE)}  # fmt: skip
COMPRESSED = [name for name in PACKERS if name != "plain"]
WHOLE = 1 << 40


class Download(io.BytesIO):
    """Gives a few bytes at a time and cannot go back."""

    def read(self, size=-1):
        return super().read(min(size, 5))

    def seek(self, *_):
        raise AssertionError("a download cannot go back")


def read(content: bytes, size: int = WHOLE) -> bytes:
    return TarStream(io.BytesIO(content)).read(0, size)


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("opened", [io.BytesIO, Download])
def test_places_are_read_in_ascending_order_and_the_last_again(packer, opened):
    stream = TarStream(opened(PACKERS[packer](NOISE)))
    for place, size in [
        (0, 512),
        (0, 512),
        (512, 10),
        (600, 150_000),
        (200_000, 512),
        (200_000, 1000),
    ]:
        assert stream.read(place, size) == NOISE[place : place + size]
    assert stream.read(299_990, 512) == NOISE[299_990:]
    assert stream.read(WHOLE, 512) == b""


@pytest.mark.parametrize("content", [b"", b"a", b"\x1f\x8a" * 9, b"BZhou.png" * 9])
def test_what_no_program_compressed_is_read_as_it_is(content):
    assert read(content) == content


@pytest.mark.parametrize("packer", COMPRESSED)
def test_compression_that_is_cut_short_or_damaged_is_told(packer):
    content = PACKERS[packer](NOISE)
    for length in (12, 20, 100_000, len(content) - 1):
        if packer != "lzma" or length < len(content) - 1:  # whose last byte nobody needs
            with pytest.raises(TarDamaged, match="compression"):
                read(content[:length])
    with pytest.raises(TarDamaged, match="compression is damaged"):
        read(content[:10] + b"\xff" * 200_000)


@pytest.mark.parametrize("packer", COMPRESSED)
def test_a_second_compressed_file_is_not_lost_in_silence(packer):
    with pytest.raises(TarDamaged, match="several compressed files"):
        read(PACKERS[packer](NOISE) * 2)
    assert read(PACKERS[packer](NOISE) + b"\0" * 1000) == NOISE  # as tapes pad


@pytest.mark.parametrize("packer", COMPRESSED)
def test_zeros_expand_to_a_bound(packer):
    assert len(read(PACKERS[packer](bytes(60 << 20)))) == 60 << 20
    with pytest.raises(TarDamaged, match="expands to more than 100 times"):
        read(PACKERS[packer](bytes(80 << 20)))


def test_a_dictionary_of_gigabytes_is_not_made():
    content = bytearray(lzma.compress(b"x"))
    end = 12 + 4 * content[12]
    content[16] = 40  # its size, 4 GiB, in the block's header
    content[end : end + 4] = zlib.crc32(content[12:end]).to_bytes(4, "little")
    with pytest.raises(TarDamaged, match="Memory usage limit"):
        read(bytes(content))
    assert len(read(lzma.compress(NOISE, preset=9))) == len(NOISE)


def test_a_disk_that_fails_is_no_damage_of_the_tar():
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 70_000:
                raise OSError("the disk fails")
            return super().read(size)

    for pack in PACKERS.values():
        with pytest.raises(OSError, match="the disk fails"):
            TarStream(Failing(pack(NOISE))).read(0, WHOLE)
