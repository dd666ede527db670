"""Writes the model folder: both towers, tokenizer, pictor.json with its fingerprint, golden pairs."""

import json
from pathlib import Path

import numpy as np
from blake3 import blake3
from PIL import Image

from data import to_tensor
from evaluate import Exported
from graph import image_graph, text_graph
from tokenizer import CONTEXT_LENGTH, encode

LICENSE = (
    "Weights: free for research and evaluation. Derived from MobileNetV2 (Keras Applications, Apache-2.0) and "
    "all-MiniLM-L6-v2 (Apache-2.0), trained on Flickr8k, whose images are for research use only."
)
GOLDEN_TEXTS = [
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
GOLDEN_SIZES = [(224, 224), (320, 200), (90, 333), (640, 480), (17, 5), (1, 1)]


def golden_image(width, height, seed):
    """The generated test picture of the golden file: integer arithmetic only, so any language can repeat it."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    planes = [(x * (3 + c) + y * (5 + 2 * c) + seed * 7 + ((x * y) >> (3 + c))) & 255 for c in range(3)]
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def golden(folder):
    """Inputs and outputs of the exported files on ONNX Runtime, for other runtimes to be held against."""
    model, texts, images = Exported(folder), [], []
    for text in GOLDEN_TEXTS:
        vector = model.embed_texts([text])[0]
        texts.append({"text": text, "ids": encode(model.tokenizer, text), "embedding": rounded(vector)})
    for seed, (width, height) in enumerate(GOLDEN_SIZES):
        image = golden_image(width, height, seed)
        tensor = to_tensor(image)
        stats = {"shape": list(tensor.shape), "first16": rounded(tensor.ravel()[:16]),
                 "mean": round(float(tensor.mean(dtype=np.float64)), 7), "std": round(float(tensor.std(dtype=np.float64)), 7)}
        images.append({
            "make": {"width": width, "height": height, "seed": seed},
            "pixels_sum": int(np.asarray(image, dtype=np.int64).sum()),
            "tensor": stats,
            "embedding": rounded(model.embed_images([image])[0]),
        })
    return {"texts": texts, "images": images}


def rounded(values):
    return [round(float(v), 7) for v in values]


def description():
    """pictor.json without its fingerprint."""
    half = [0.5, 0.5, 0.5]
    return {
        "format": 1,
        "name": "pictor-mini",
        "family": "pictor-mini",
        "dim": 256,
        "license": LICENSE,
        "image": {
            "file": "image.onnx", "input": "pixel_values", "output": "image_embeds",
            "preprocess": {"height": 224, "width": 224, "resize": "squash", "filter": "bicubic", "mean": half, "std": half},
        },
        "text": {
            "file": "text.onnx", "input_ids": "input_ids", "attention_mask": "attention_mask", "output": "text_embeds",
            "tokenizer": "tokenizer.json", "context_length": CONTEXT_LENGTH, "pad_id": 0, "pad": "longest",
        },
        "golden": "golden.json",
    }


def fingerprint(folder, model):
    """blake3 over the named files and over what turns their outputs into embeddings."""
    hasher = blake3()
    for name in (model["image"]["file"], model["text"]["file"], model["text"]["tokenizer"]):
        hasher.update(name.encode() + b"\0" + blake3((folder / name).read_bytes()).digest())
    core = {key: model[key] for key in ("dim", "image", "text")}
    hasher.update(json.dumps(core, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    return hasher.hexdigest()


def write(path, content):
    """Writes beside and renames, so that a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
    temporary.rename(path)


def export(model, tokenizer, folder, int8=True):
    """Writes everything but the model card; returns the sizes in bytes of the files that search needs."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = model.eval()
    write(folder / "image.onnx", image_graph(model.image, int8).SerializeToString())
    write(folder / "text.onnx", text_graph(model.text, int8).SerializeToString())
    write(folder / "tokenizer.json", json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")))
    about = description()
    about["fingerprint"] = fingerprint(folder, about)
    write(folder / "pictor.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    write(folder / "golden.json", json.dumps(golden(folder), ensure_ascii=False, separators=(",", ":")) + "\n")
    return {name: (folder / name).stat().st_size for name in ("image.onnx", "text.onnx", "tokenizer.json")}
