"""Writes preprocess.json: what Pillow makes of generated pictures, as hashes of the 8-bit rasters.

Run with Pillow 13 or newer (older ones take the passes of some sizes in the other order), numpy and blake3 installed:
python make_preprocess.py
The pictures are a formula in integers, so that they need not be stored; a case that fails is looked at by running both sides.
"""

import json
from pathlib import Path

import numpy as np
import PIL
from blake3 import blake3
from PIL import Image

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
SIZES = [
    (224, 224), (320, 200), (90, 333), (640, 480), (1, 1), (2, 1), (1, 7), (3, 2), (17, 5), (31, 33),
    (1000, 3), (3, 1000), (225, 223), (223, 449), (640, 427), (227, 640), (448, 224), (1025, 769),
]
TARGETS = [("squash", 224, 224), ("squash", 64, 40), ("squash", 7, 1), ("shortest-edge-center-crop", 224, 224),
           ("shortest-edge-center-crop", 33, 33)]
# Pairs about the edge between the two orders of the passes: the height loses 2 x what the width loses, less one, or more one.
EDGES = [((57, 52), (53, 44)), ((57, 52), (53, 45)), ((57, 52), (53, 43)), ((17, 122), (16, 120)), ((17, 122), (16, 119)),
         ((60, 70), (60, 69)), ((60, 70), (61, 70)), ((60, 70), (61, 69)), ((60, 70), (90, 71))]


def picture(width, height, seed):
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    planes = [(x * (3 + c) + y * (5 + 2 * c) + seed * 7 + ((x * y) >> (3 + c))) & 255 for c in range(3)]
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def prepare(image, mode, width, height, filter):
    if mode == "squash":
        return image.resize((width, height), filter)
    # torchvision/transforms/functional.py: _compute_resized_output_size, then center_crop
    short, long = sorted(image.size)
    new_long = int(width * long / short)
    full = (width, new_long) if image.width <= image.height else (new_long, width)
    image = image.resize(full, filter)
    left, top = int(round((image.width - width) / 2.0)), int(round((image.height - height) / 2.0))
    return image.crop((left, top, left + width, top + height))


def main():
    cases = []

    def add(size, seed, mode, width, height):
        image = picture(*size, seed)
        for name, filter in FILTERS.items():
            raster = np.asarray(prepare(image, mode, width, height, filter)).tobytes()
            cases.append({"image": [*size, seed], "resize": mode, "size": [width, height], "filter": name,
                          "first": list(raster[:6]), "blake3": blake3(raster).hexdigest()})

    for seed, size in enumerate(SIZES):
        for target in TARGETS:
            add(size, seed, *target)
    for size, target in EDGES:
        add(size, 7, "squash", *target)
    lines = ",\n".join(json.dumps(case) for case in cases)
    text = f'{{"pillow": "{PIL.__version__}", "cases": [\n{lines}\n]}}\n'
    Path(__file__).with_name("preprocess.json").write_text(text)


main()
