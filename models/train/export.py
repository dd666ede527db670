"""Writes the model folder: both towers, matcher, tokenizer, pictor.json with its fingerprint, golden pairs."""

import io
import json
import shutil
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

from blake3 import blake3
from PIL import Image

from data import to_raster
from graph import image_graph, text_graph
from matcher_graph import add_image_features, add_text_features, matcher_graph
from rerank import Reranker
from tokenizer import CONTEXT_LENGTH, encode

# The exporter's golden pictures; its other modules share names with those here and stay unimported.
sys.path.append(str(Path(__file__).resolve().parent.parent / "export"))
from pictures import pictures  # noqa: E402

REFERENCE = {"Pillow": "pillow", "tokenizers": "tokenizers", "ONNX Runtime": "onnxruntime"}

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
GOLDEN_MATCHES = 4  # texts, of which each is matched with every golden picture
SEARCH_FILES = ("image.onnx", "text.onnx", "tokenizer.json", "matcher.onnx")
GOLDEN_PICTURES = ("wide.jpg", "tall.png", "dot.png", "sliver.png", "alpha.png", "palette.png")


def golden(folder):
    """Inputs and outputs of the exported files on ONNX Runtime, for other runtimes to be held against; writes the pictures."""
    model, texts, images, rasters = Reranker(folder), [], [], []
    for text in GOLDEN_TEXTS:
        vector = model.embed_texts([text])[0]
        texts.append({"text": text, "ids": encode(model.tokenizer, text), "embedding": rounded(vector)})
    shutil.rmtree(folder / "golden", ignore_errors=True)
    (folder / "golden").mkdir()
    for name, content in pictures().items():
        if name not in GOLDEN_PICTURES:
            continue
        (folder / "golden" / name).write_bytes(content)
        raster = to_raster(Image.open(io.BytesIO(content)).convert("RGB"))
        raster_name = f"golden/{Path(name).stem}.raster.png"
        raster.save(folder / raster_name, optimize=True)
        rasters.append(raster)
        images.append({"file": f"golden/{name}", "raster": raster_name, "embedding": rounded(model.embed_images([raster])[0])})
    libraries = ", ".join(f"{label} {version(package)}" for label, package in REFERENCE.items())
    matches = golden_matches(model, [image["file"] for image in images], rasters)
    return {"reference": libraries, "images": images, "texts": texts, "matches": matches}


def golden_matches(model, files, rasters):
    """The first golden texts, each with every picture."""
    vectors, regions = model.images(rasters)
    pairs = []
    for text in GOLDEN_TEXTS[:GOLDEN_MATCHES]:
        rows, (features,) = model.texts([text])
        for file, logit, cosine in zip(files, model.logits(features, regions), vectors @ rows[0]):
            pairs.append({"image": file, "text": text, "itm_logit": rounded([logit])[0], "itc_cosine": rounded([cosine])[0]})
    return pairs


def rounded(values):
    return [round(float(v), 7) for v in values]


def description(itc_weight):
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
            "features": "image_features",
            "preprocess": {"height": 224, "width": 224, "resize": "squash", "filter": "bicubic", "mean": half, "std": half},
        },
        "text": {
            "file": "text.onnx", "input_ids": "input_ids", "attention_mask": "attention_mask", "output": "text_embeds",
            "features": "text_features",
            "tokenizer": "tokenizer.json", "context_length": CONTEXT_LENGTH, "pad_id": 0, "pad": "longest",
        },
        "matcher": {
            "file": "matcher.onnx", "text_features": "text_features", "attention_mask": "attention_mask",
            "image_features": "image_features", "output": "logits", "itc_weight": itc_weight,
        },
        "golden": "golden.json",
    }


def fingerprint(folder, model):
    """blake3 over the named files and over what turns their outputs into embeddings and scores."""
    hasher = blake3()
    for name in SEARCH_FILES:
        hasher.update(name.encode() + b"\0" + blake3((folder / name).read_bytes()).digest())
    core = {key: model[key] for key in ("dim", "image", "text", "matcher")}
    hasher.update(json.dumps(core, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    return hasher.hexdigest()


def write(path, content):
    """Writes beside and renames, so that a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
    temporary.rename(path)


def write_golden(folder):
    write(folder / "golden.json", json.dumps(golden(folder), ensure_ascii=False, separators=(",", ":")) + "\n")


def export(model, matcher, itc_weight, tokenizer, folder, int8=True):
    """Writes everything but the model card; returns the sizes in bytes of the files that search needs."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model, matcher = model.eval(), matcher.eval()
    image = image_graph(model.image, int8, partial(add_image_features, matcher))
    text = text_graph(model.text, int8, partial(add_text_features, matcher))
    write(folder / "image.onnx", image.SerializeToString())
    write(folder / "text.onnx", text.SerializeToString())
    write(folder / "matcher.onnx", matcher_graph(matcher).SerializeToString())
    write(folder / "tokenizer.json", json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")))
    about = description(itc_weight)
    about["fingerprint"] = fingerprint(folder, about)
    write(folder / "pictor.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    write_golden(folder)
    return {name: (folder / name).stat().st_size for name in SEARCH_FILES}


if __name__ == "__main__":
    # The golden pairs of a folder again, without training: python models/train/export.py models/pictor-mini
    write_golden(Path(sys.argv[1]))
