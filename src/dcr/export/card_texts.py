"""The fixed texts of an encoder's card: how it is used, and what its user must know."""

from __future__ import annotations

USE = """\
## Use

```python
import dcr
from PIL import Image

encoder = dcr.load_encoder("path/to/this/folder")
features = encoder.encode_image([Image.open("image.jpg")])  # (1, d) float32, not normalised
text_features = encoder.encode_text(["a photo of a fish"])  # (1, d) float32, not normalised
```
"""
USE_TRANSFORMERS = """
transformers, and LLaVA through `--vision_tower path/to/this/folder` if the model is a CLIPModel:

```python
from transformers import AutoModel

model = AutoModel.from_pretrained("path/to/this/folder")  # CLIPModel or SiglipModel
tower = model.vision_model  # hidden_states[-2] is what LLaVA reads
```
"""
USE_OPEN_CLIP = """
open_clip:

```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:path/to/this/folder")
```
"""
CROP = """
Where the side that is left over beside the centre crop is odd,
transformers crops one pixel from where open_clip and `dcr.load_encoder` do: it rounds down,
torchvision to an even number. Features then differ a little; the scores below were measured with
open_clip's crop.
"""
PICTURES = """
In training and evaluation pictures stood upright as EXIF says, lay on white where transparent, and
had 16 bits scaled to 8; `dcr.load_encoder` sees them so, too. open_clip and transformers call PIL's
`convert("RGB")`, which leaves a rotated picture lying, shows what is under transparency (often
black), and clips 16-bit grey to white. Give them `dcr.data.decoding.to_rgb(image)`.
"""
REFITTED = ", with its last linear layer refitted"
ALIGNMENTS = {
    "image": (
        "the image tower's embeddings were mapped to the base model's by a linear map, in closed"
        " form and without captions; it is folded into the tower's last linear layer. Patch tokens"
        " are those of the trained tower."
    ),
    "text": (
        "the text tower's last linear layer was refitted to the new image embeddings by the model's"
        " own contrastive loss and the captions of the training images. Image embeddings are those"
        " of the trained tower, to the last bit."
    ),
    "blend": (
        "the image tower's embeddings were mapped a share of the way to the base model's by a"
        " linear map; it is folded into the tower's last linear layer. Patch tokens are those of"
        " the trained tower."
    ),
}
MAPPED = {  # by form: the map's name in its file, and the layer behind which it goes
    "image": ("image_map", "`model.visual_projection` of a CLIPModel"),
    "text": (
        "text_map",
        "`model.text_projection` of a CLIPModel, `model.text_model.head` of a SiglipModel",
    ),
    "blend": ("image_map", "`model.visual_projection` of a CLIPModel"),
}
USE_ADAPTER = """
The weights in this folder hold the alignment. `adapter/`, where there is one, does not: who puts
the adapter on the base model multiplies a layer, too ({layer}):

```python
from safetensors.torch import load_file

matrix = load_file("path/to/this/folder/adapter/alignment.safetensors")["{name}"]
layer.weight.data = matrix.T @ layer.weight.data
if layer.bias is not None:
    layer.bias.data = matrix.T @ layer.bias.data
```
"""
