"""Embeddings of a folder of images as a Parquet table; see ``python -m dcr.embed --help``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcr.errors import UserError
from dcr.extras import needs_extra
from dcr.files import atomic_path

if TYPE_CHECKING:
    from PIL import Image

    from dcr.models.encoder import Encoder


def embed_folder(
    encoder: Encoder, images: Path, output: Path, batch_size: int
) -> tuple[int, dict[str, str]]:
    """Write one row an image, ``path`` and ``embedding``.

    The path is relative to the folder, the embedding is d float32, not normalised. Images come in
    the order of their paths; one batch at a time is in memory, and the table is whole or absent.

    Args:
        encoder: whose image tower embeds them.
        images: the folder, read with all that lies in it.
        output: the Parquet file, replaced if it exists.
        batch_size: images in one pass of the tower.

    Returns:
        The number of rows, and the paths of images that could not be read with the reasons.

    Raises:
        UserError: the folder has no image that can be read, or pyarrow is not installed.
    """
    with needs_extra("pipeline", "a table of embeddings"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    from dcr.progress import show_progress

    paths = list(image_paths(images))
    unread: dict[str, str] = {}
    rows = 0
    embedding = pa.list_(pa.float32(), encoder.backbone.embed_dim)
    schema = pa.schema([("path", pa.string()), ("embedding", embedding)])
    with atomic_path(output) as temporary:
        progress = show_progress(total=len(paths), desc="embed", unit="image")
        with pq.ParquetWriter(temporary, schema) as writer, progress:
            for batch in _batches(paths, batch_size):
                read = read_pictures(images, batch, unread)
                features = encoder.encode_image(list(read.values())).numpy()
                column = pa.FixedSizeListArray.from_arrays(
                    pa.array(features.reshape(-1)), type=embedding
                )
                writer.write_table(pa.table([list(read), column], schema=schema))
                rows += len(read)
                progress.update(len(batch))
        if not rows:
            first = f" ({paths[0]}: {unread[paths[0]]})" if paths else ""
            raise UserError(
                f"{images} has no image that can be read{first}: name a folder of images"
            )
    return rows, unread


def image_paths(folder: Path) -> Iterator[str]:
    """Yield the image files in ``folder``, sorted, relative to it; links out of it are left out."""
    from dcr.data.shards.sample import IMAGE_EXTENSIONS

    root = folder.resolve()
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(files):
            path = Path(directory, name)
            is_image = path.suffix.lower().lstrip(".") in IMAGE_EXTENSIONS
            if is_image and path.resolve().is_relative_to(root):
                yield path.relative_to(root).as_posix()


def _batches(paths: list[str], size: int) -> Iterator[list[str]]:
    return (paths[start : start + size] for start in range(0, len(paths), size))


def read_pictures(folder: Path, paths: list[str], unread: dict[str, str]) -> dict[str, Image.Image]:
    """Return images by path.

    Args:
        folder: that the paths are relative to.
        paths: of the pictures.
        unread: takes the reasons of those that cannot be read, by path.
    """
    from dcr.data.decoding import decode_rgb
    from dcr.data.shards.reading import MAX_IMAGE_BYTES

    images = {}
    for path in paths:
        try:
            with open(folder / path, "rb") as file:
                content = file.read(MAX_IMAGE_BYTES + 1)
            if len(content) > MAX_IMAGE_BYTES:
                raise UserError("the file is larger than any image should be")
            images[path] = decode_rgb(content)
        except (OSError, UserError) as error:
            unread[path] = str(error)
    return images


@click.command()
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--encoder", required=True, help="An exported folder, or any model folder.")
@click.option(
    "--batch-size",
    default=64,
    show_default=True,
    type=click.IntRange(min=1),
    help="Images at once.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
def main(images: Path, output: Path, encoder: str, batch_size: int, device: str) -> None:
    """Write the embeddings of all IMAGES in a folder to the Parquet file OUTPUT."""
    from dcr.models.encoder import load_encoder

    try:
        rows, unread = embed_folder(load_encoder(encoder, device), images, output, batch_size)
    except UserError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{rows} embeddings in {output}")
    for path, reason in unread.items():
        click.echo(f"not an image that can be read: {path} ({reason})", err=True)


if __name__ == "__main__":
    main()
