"""Images and tars with every defect that the tests of shards and validation need."""

import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from dcr.data.shards import Sample


def encode(size=(48, 40), seed=0, kind="JPEG", mode="RGB", **options) -> bytes:
    """Return an encoded image of a smooth random gradient with some noise."""
    rng = np.random.default_rng(seed)
    gradient = (
        np.linspace(0, 1, size[0])[None, :, None] * np.linspace(0.2, 1, size[1])[:, None, None]
    )
    pixels = gradient * rng.uniform(80, 255, 3) + rng.normal(0, 6, (size[1], size[0], 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def good_samples(count: int, first: int = 0) -> list[Sample]:
    """Return samples with nothing wrong."""
    return [
        Sample(
            f"{i:09d}",
            encode(seed=i),
            "jpg",
            f"a picture number {i}",
            {"attributes": {"class": i % 3}},
        )
        for i in range(first, first + count)
    ]


def png_declaring(width: int, height: int) -> bytes:
    """Return a small PNG whose header declares any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def write_members(path: Path, members: list, tar_format: int = tarfile.GNU_FORMAT) -> Path:
    """Write a tar of (name, bytes) and of ready ``TarInfo`` members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tar_format) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def special_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Return a link or device member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info
