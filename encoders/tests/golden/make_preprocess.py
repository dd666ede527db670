"""Writes preprocess.json: the 8-bit rasters that reference pipelines make, as hashes and a few pixels.

Run with Pillow 13 or newer (older ones take the passes of some sizes in the other order), open_clip, transformers 5, numpy and
blake3 installed, after make_decode.py: python make_preprocess.py

The references are open_clip's own `image_transform` (which is torchvision's Resize and CenterCrop on Pillow images, then
convert("RGB")) and transformers' image processors with the Pillow backend (`CLIPImageProcessorPil`, `SiglipImageProcessorPil`).
transformers' torchvision backend resizes tensors and differs from both by a level here and there. Nothing turns by EXIF.

Images are the files of decode/, and pictures made by a formula in integers, so that they need not be stored.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import open_clip
import PIL
import transformers
from blake3 import blake3
from open_clip.transform import image_transform
from PIL import Image, ImageOps
from torchvision.transforms import Compose, InterpolationMode, Resize
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

HERE = Path(__file__).parent
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
SIZES = [
    (224, 224), (320, 200), (90, 333), (640, 480), (1, 1), (2, 1), (1, 7), (3, 2), (17, 5), (31, 33),
    (1000, 3), (3, 1000), (225, 223), (223, 449), (640, 427), (227, 640), (448, 224), (1025, 769),
]
HUGE = [(6000, 4501), (20000, 3), (3, 20000)]
# Pairs about the edge between the two orders of the passes: the height loses 2 x what the width loses, less one, or more one.
EDGES = [((57, 52), (53, 44)), ((57, 52), (53, 45)), ((57, 52), (53, 43)), ((17, 122), (16, 120)), ((17, 122), (16, 119)),
         ((60, 70), (60, 69)), ((60, 70), (61, 70)), ((60, 70), (61, 69)), ((60, 70), (90, 71))]
CHANNELS = {"L": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}


def picture(mode, width, height, seed):
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    planes = [(x * (3 + c) + y * (5 + 2 * c) + seed * 7 + ((x * y) >> (3 + c))) & 255 for c in range(CHANNELS[mode])]
    planes = np.stack(planes, axis=2).astype(np.uint8)
    if CHANNELS[mode] == 1:
        planes = planes[..., 0]
    if mode != "P":
        return Image.frombytes(mode, (width, height), np.ascontiguousarray(planes).tobytes())
    image = Image.frombytes("P", (width, height), planes.tobytes())
    image.putpalette([(index * factor) & 255 for index in range(256) for factor in (3, 5, 7)])
    return image


class Group:
    """Cases of one preprocessing: its `image.preprocess` object, and the reference that stands for it."""

    def __init__(self, reference, run, width, height, resize, filter, **optional):
        self.run = run
        self.preprocess = {"height": height, "width": width, "resize": resize, "filter": filter,
                           "mean": [0, 0, 0], "std": [1, 1, 1], **optional}
        self.reference = reference
        self.cases = []

    def add(self, source, image=None):
        """`source` is a file name, or mode, width, height and seed of a picture."""
        if image is None:
            image = Image.open(HERE / "decode" / source) if isinstance(source, str) else picture(*source)
        raster = np.asarray(self.run(image))
        assert raster.shape == (self.preprocess["height"], self.preprocess["width"], 3) and raster.dtype == np.uint8
        at = [0, raster.size // 6 * 3, raster.size - 3]
        probes = [int(level) for start in at for level in raster.reshape(-1)[start : start + 3]]
        self.cases.append([source, blake3(raster.tobytes()).hexdigest()[:16], probes])

    def json(self):
        cases = ",\n".join(json.dumps(case, separators=(",", ":")) for case in self.cases)
        head = json.dumps({"reference": self.reference, "preprocess": self.preprocess})[:-1]
        return f'{head}, "cases": [\n{cases}\n]}}'


def by_open_clip(resize, filter, width, height, edge=None):
    mode = "squash" if resize == "squash" else "shortest"
    steps = image_transform((height, width), is_train=False, resize_mode=mode, interpolation=filter).transforms[:-2]
    if edge:  # as torchvision has it: Resize(edge), CenterCrop(side)
        steps[0] = Resize(edge, interpolation=InterpolationMode(filter))
    optional = {"shortest_edge": edge} if edge else {}
    return Group("open_clip", Compose(steps), width, height, resize, filter, convert_rgb="after-resize", **optional)


def by_transformers(processor, size, crop, filter, **extra):
    width, height = crop
    raw = processor(size=size, resample=FILTERS[filter], do_rescale=False, do_normalize=False,
                    **({"crop_size": {"height": height, "width": width}} if "shortest_edge" in size else {}))
    run = lambda image: np.moveaxis(raw(image, return_tensors="np")["pixel_values"][0], 0, -1)
    resize = "shortest-edge-center-crop" if "shortest_edge" in size else "squash"
    return Group("transformers", run, width, height, resize, filter, convert_rgb="over-white", **extra)


def groups():
    crop = "shortest-edge-center-crop"
    files = sorted(path.name for path in (HERE / "decode").iterdir()
                   if not path.name.endswith((".rgb.png", ".white.png")) and "truncated" not in path.name
                   # Pillow clips 16-bit grey to white.
                   and path.name != "grey-16.png")
    modes = [(mode, *size, 3) for mode in CHANNELS for size in [(61, 90), (90, 61), (20, 20), (1, 1), (400, 7), (32, 32)]]
    for filter in FILTERS:
        for resize, width, height in [("squash", 224, 224), ("squash", 64, 40), ("squash", 7, 1), (crop, 224, 224), (crop, 33, 33)]:
            group = by_open_clip(resize, filter, width, height)
            for seed, size in enumerate(SIZES):
                group.add(("RGB", *size, seed))
            if (width, height) == (224, 224):
                for size in HUGE:
                    group.add(("RGB", *size, 1))
            yield group
        # From a size to another, whatever the mode.
        for source, target in EDGES:
            group = by_open_clip("squash", filter, *target)
            group.add(("RGB", *source, 7))
            yield group
        for group in [by_open_clip("squash", filter, 32, 32), by_open_clip(crop, filter, 32, 32), by_open_clip(crop, filter, 32, 32, edge=41),
                      by_transformers(CLIPImageProcessorPil, {"shortest_edge": 41}, (32, 32), filter, shortest_edge=41, crop_offset="floor"),
                      by_transformers(CLIPImageProcessorPil, {"shortest_edge": 32}, (32, 32), filter, crop_offset="floor"),
                      by_transformers(SiglipImageProcessorPil, {"height": 32, "width": 32}, (32, 32), filter)]:
            for source in modes:
                group.add(source)
            if filter == "bicubic":
                for name in files:
                    group.add(name)
            yield group
    # What BLIP and transformers 4 do: convert("RGB") first.
    before = by_open_clip("squash", "bicubic", 32, 32)
    before.preprocess["convert_rgb"] = "before-resize"
    before.reference = "Pillow"
    after = before.run
    before.run = lambda image: after(image.convert("RGB"))
    for source in modes + files:
        before.add(source)
    yield before


def main():
    warnings.simplefilter("ignore")
    versions = f"open_clip {open_clip.__version__}, transformers {transformers.__version__}, Pillow {PIL.__version__}"
    text = ",\n".join(group.json() for group in groups())
    (HERE / "preprocess.json").write_text(f'{{"made_by": "{versions}", "groups": [\n{text}\n]}}\n')


main()
