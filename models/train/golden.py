"""Golden pairs of the model folder: inputs and outputs on ONNX Runtime, for `pictor model verify`.

`python golden.py FOLDER` writes them again for towers that are there already.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import PIL
from PIL import Image

from data import SIDE
from evaluate import Exported
from tokenizer import encode

TEXTS = [
    "a dog runs through the snow",
    "Two children are playing on a swing .",
    "A RED CAR PARKED ON THE STREET",
    "",
    "   ",
    "caf\u00e9 na\u00efve r\u00e9sum\u00e9 \u2014 \u201cquoted\u201d",
    "\u5317\u4eac\u306e\u732b",
    "party time \U0001f389\U0001f389",
    "unquestionably electroencephalographic helicopters",
    "x" * 150,
    " ".join(f"dog number {i}" for i in range(67))[:-3],
    " ".join(["mountain"] * 200),
]
# Shapes that a wrong resize mode cannot pass; a square picture passes them all.
PICTURES = {"wide": (149, 83), "tall": (67, 181), "large": (451, 307), "dot": (1, 1)}


def picture(width, height):
    """Blocks of colour, whose edges show every slip of a resize and which compress well."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x // (19 + 4 * c) * 61 + y // (17 + 6 * c) * 97 + 60 * c + 40) & 255 for c in range(3)]
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def rounded(values):
    return [round(float(v), 7) for v in values]


def write(folder):
    """Writes golden.json and golden/ into the folder."""
    folder = Path(folder)
    (folder / "golden").mkdir(exist_ok=True)
    model, texts, images = Exported(folder), [], []
    for text in TEXTS:
        texts.append({"text": text, "ids": encode(model.tokenizer, text), "embedding": rounded(model.embed_texts([text])[0])})
    for name, (width, height) in PICTURES.items():
        image, file, raster = picture(width, height), f"golden/{name}.png", f"golden/{name}.raster.png"
        image.save(folder / file, optimize=True)
        image.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / raster, optimize=True)
        images.append({"file": file, "raster": raster, "embedding": rounded(model.embed_images([image])[0])})
    reference = f"the exported graphs on ONNX Runtime {ort.__version__}, Pillow {PIL.__version__}, NumPy {np.__version__}"
    golden = {"reference": reference, "images": images, "texts": texts}
    (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write(sys.argv[1])
