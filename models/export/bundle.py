"""What the exporter needs of a model, whichever library it comes from."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from torch import nn


@dataclass
class Bundle:
    """A dual encoder taken apart: two towers to export, and the library's own way from inputs to outputs.

    The `reference_*` functions run the library's code in float32 on one input; golden files hold what they return. The
    towers share the model's weights but are written for export (`towers.py`), so agreement of the exported files with the
    golden values is evidence and not a tautology. `reference_*` must run before `towers.plain` changes the model.
    """

    name: str
    family: str  # `family` of pictor.json
    source: str  # where the weights came from, for people
    reference: str  # libraries and versions behind the reference functions
    license: str
    dim: int
    activation: str | None  # quick-gelu, gelu, gelu-tanh; None when the towers differ
    preprocess: dict  # `image.preprocess` of pictor.json
    clean: str  # `text.clean` of pictor.json
    context_length: int
    pad_id: int
    tokenizer_json: str
    image_tower: nn.Module  # f32 [B, 3, H, W] -> f32 [B, dim]; with a matcher also f32 [B, tokens, width]
    text_tower: nn.Module  # i64 [B, L], and a mask of the same shape if text_mask, -> f32 [B, dim]
    text_mask: bool  # whether the text tower takes an attention mask
    any_length: bool  # whether L may be shorter than context_length without a change of the answer
    raster: Callable[[Image.Image], np.ndarray]  # u8 [H, W, 3], resized and cropped, before normalisation
    ids: Callable[[str], list[int]]  # token ids with special tokens, without padding
    reference_image: Callable[[Image.Image], np.ndarray]  # f32 [dim]
    reference_text: Callable[[str], np.ndarray]  # f32 [dim]
    matcher: "Matcher | None" = None
    library: dict = field(default_factory=dict)  # the library's own descriptions of the model, for layouts other than Pictor's

    def pixels(self, image: Image.Image) -> np.ndarray:
        """f32 [3, H, W]: the reference's raster, normalised as pictor.json says."""
        mean, std = (np.array(self.preprocess[key], dtype=np.float32) for key in ("mean", "std"))
        scaled = self.raster(image).astype(np.float32) / np.float32(255)
        return np.ascontiguousarray(((scaled - mean) / std).transpose(2, 0, 1))

    def tokens(self, text: str, length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """i64 ids and mask [1, L], padded to `length`, or as far as the text tower needs."""
        ids = self.ids(text)
        length = length or (len(ids) if self.any_length else self.context_length)
        row = np.full((1, length), self.pad_id, dtype=np.int64)
        row[0, : len(ids)] = ids
        mask = np.zeros((1, length), dtype=np.int64)
        mask[0, : len(ids)] = 1
        return row, mask


@dataclass
class Matcher:
    """An image-text matching head over the text encoder with cross-attention to the image tower's tokens."""

    module: nn.Module  # i64 ids [B, L], i64 mask [B, L], f32 features [B, tokens, width] -> f32 [B, 2], and with `itc` f32 [B, 1]
    first_id: int | None  # replaces the first id of a text
    itc: bool  # whether the module gives the ITC cosine too; otherwise it is that of the two towers
    reference: Callable[[Image.Image, list[str]], tuple[list[float], list[float]]]  # "match" logits and ITC cosines of an image with each text


def unit(vector: np.ndarray) -> np.ndarray:
    """`vector` at length 1, in float64 for the division."""
    vector = np.asarray(vector, dtype=np.float64)
    return (vector / max(np.linalg.norm(vector), 1e-12)).astype(np.float32)
