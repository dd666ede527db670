"""Writes the model folder: both towers, tokenizer, pictor.json with its fingerprint, golden pairs."""

import json
from pathlib import Path

from blake3 import blake3

import golden
from graph import image_graph, text_graph
from tokenizer import CONTEXT_LENGTH

LICENSE = (
    "Weights: free for research and evaluation. Derived from MobileNetV2 (Keras Applications, Apache-2.0) and "
    "all-MiniLM-L6-v2 (Apache-2.0), trained on Flickr8k, whose images are for research use only."
)


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
    golden.write(folder)
    return {name: (folder / name).stat().st_size for name in ("image.onnx", "text.onnx", "tokenizer.json")}
