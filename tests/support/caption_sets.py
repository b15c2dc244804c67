"""Small sets of caption selection in their outside layouts.

Images have one colour, and captions name it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmark_folders import COLOURS, image_bytes, write_split

NAMES = list(COLOURS)


def wrong(name: str, by: int = 1) -> str:
    """Return another colour's name."""
    return NAMES[(NAMES.index(name) + by) % len(NAMES)]


def write_image(path: Path, name: str, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image_bytes(COLOURS[name], seed))


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_lines(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def write_groups(folder: Path, num_groups: int = 6) -> Path:
    """Write groups of two images and two captions, of two types in turn, as ``groups.jsonl``."""
    rows = []
    for number in range(num_groups):
        own = [NAMES[number % 6], NAMES[(number + 2) % 6]]
        for name in own:
            write_image(folder / "images" / f"{name}.png", name)
        rows.append(
            {
                "group": f"g{number}",
                "images": [f"images/{name}.png" for name in own],
                "captions": [f"all is {name}" for name in reversed(own)],
                "pairs": [[0, 1], [1, 0]],
                "type": ("first kind", "second kind")[number % 2],
            }
        )
    write_lines(folder / "groups.jsonl", rows)
    return folder


def write_sugar_crepe(folder: Path) -> Path:
    """Write two of SugarCrepe's files; every image is in both of them."""
    for name in NAMES:
        write_image(folder / "val2017" / f"{name}.png", name)
    for kind in ("swap_obj", "add_att"):
        entries = {
            str(10 * number): {
                "filename": f"{name}.png",
                "caption": f"a {name} thing",
                "negative_caption": f"a {wrong(name)} thing",
            }
            for number, name in enumerate(NAMES)
        }
        write_json(folder / f"{kind}.json", entries)
    return folder


def write_sugar_crepe_pp(folder: Path) -> Path:
    """Write one of SugarCrepe++'s files: two right captions and a wrong one."""
    entries = []
    for number, name in enumerate(NAMES):
        write_image(folder / "images" / f"{name}.png", name)
        entries.append(
            {
                "id": number,
                "filename": f"{name}.png",
                "caption": f"a {name} thing",
                "caption2": f"something {name}",
                "negative_caption": f"a {wrong(name)} thing",
            }
        )
    write_json(folder / "data" / "replace_object.json", entries)
    return folder


def write_aro(folder: Path) -> Path:
    """Write ARO's relations: the halves of an image have two colours, and a box each."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    entries = []
    for number, name in enumerate(NAMES):
        pixels = np.zeros((8, 16, 3), np.uint8)
        pixels[:, :8] = COLOURS[name]
        pixels[:, 8:] = COLOURS[wrong(name)]
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        path = folder / "images" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
        for side in (0, 8):
            here, there = (name, wrong(name)) if side == 0 else (wrong(name), name)
            entries.append(
                {
                    "image_id": number,
                    "image_path": f"{number}.png",
                    "bbox_x": side,
                    "bbox_y": 0,
                    "bbox_w": 8,
                    "bbox_h": 8,
                    "relation_name": "in",
                    "true_caption": f"the {here} is in the box",
                    "false_caption": f"the {there} is in the box",
                }
            )
    write_json(folder / "visual_genome_relation.json", entries)
    return folder


def write_whats_up(folder: Path) -> Path:
    """Write What'sUp's controlled images and its questions on COCO."""
    controlled, numbered = [], []
    for number, name in enumerate(NAMES):
        write_image(folder / "controlled_images" / f"{name}.png", name)
        captions = [f"A thing on a {wrong(name, by)} table" for by in range(4)]
        controlled.append(
            {"image_path": f"data/controlled_images/{name}.png", "caption_options": captions}
        )
        path = folder / "val2017" / f"{number:012d}.jpg"
        write_image(path, name)
        numbered.append([number, f"A photo of a {name} thing", f"A photo of a {wrong(name)} thing"])
    write_json(folder / "controlled_images_dataset.json", controlled)
    write_json(folder / "coco_qa_one_obj.json", numbered)
    return folder


def write_winoground(folder: Path, num_rows: int = 20) -> Path:
    """Write Winoground's columns as Parquet, images as the structs of its table on the hub."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for number in range(num_rows):
        own = [NAMES[number % 6], wrong(NAMES[number % 6])]
        row: dict[str, Any] = {"id": number, "tag": "Noun", "secondary_tag": ""}
        for place, name in enumerate(own):
            row[f"image_{place}"] = {"bytes": image_bytes(COLOURS[name], number), "path": None}
            row[f"caption_{place}"] = f"all is {name}"
        row["collapsed_tag"] = ("Object", "Relation")[number % 2]
        rows.append(row)
    path = folder / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    return folder


def write_caption_tars(folder: Path, kind: str = "image_caption_selection") -> Path:
    """Write CLIP_benchmark's layout, two tars; the first line of ``txt`` is the right caption."""
    shards: list[dict[str, bytes]] = [{}, {}]
    for number, name in enumerate(NAMES):
        lines = [f"all is {name}", f"all is {wrong(name)}", f"all is {wrong(name, 2)}"]
        shards[number % 2] |= {
            f"{number:04d}.png": image_bytes(COLOURS[name], number),
            f"{number:04d}.txt": "\n".join(lines).encode(),
        }
    write_split(folder / "test", shards)
    (folder / "dataset_type.txt").write_text(f"{kind}\n")
    return folder
