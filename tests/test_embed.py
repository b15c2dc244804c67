"""A folder of images to a table of embeddings."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from dcr.embed import embed_folder, image_paths, main
from dcr.errors import UserError
from dcr.models.encoder import load_encoder
from models import images, tiny_hf_clip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_hf_clip(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name, image in zip(("b.png", "a.PNG", "sub/c.png"), images(3), strict=True):
        image.save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    return tmp_path / "in"


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_every_image_has_the_encoders_embedding(model, folder, tmp_path, batch_size):
    encoder = load_encoder(model)
    assert embed_folder(encoder, folder, tmp_path / "out.parquet", batch_size) == (3, {})
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["path"].to_pylist() == ["a.PNG", "b.png", "sub/c.png"]
    in_order = [images(3)[index] for index in (1, 0, 2)]
    expected = encoder.encode_image(in_order)
    result = torch.from_numpy(np.stack(table["embedding"].to_numpy()))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_read_is_named_and_left_out(model, folder, tmp_path):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 not a JPEG")
    result = CliRunner().invoke(
        main, [str(folder), str(tmp_path / "out.parquet"), "--encoder", str(model)]
    )
    assert result.exit_code == 0
    assert "3 embeddings" in result.output
    assert "not an image that can be read: broken.jpg" in result.output
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 3


def test_links_out_of_the_folder_are_not_followed(folder, tmp_path):
    images(1)[0].save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    assert "link.png" not in list(image_paths(folder))


def test_a_folder_without_images_leaves_no_table(model, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="no image that can be read"):
        embed_folder(load_encoder(model), tmp_path / "in", tmp_path / "out.parquet", 8)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_missing_encoder_is_one_sentence(folder, tmp_path):
    result = CliRunner().invoke(
        main, [str(folder), str(tmp_path / "o.parquet"), "--encoder", str(tmp_path / "nowhere")]
    )
    assert result.exit_code == 1
    assert result.output.startswith("Error: Encoder folder")
