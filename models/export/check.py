"""Exported files on ONNX Runtime against the golden values, and their speed."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

from bundle import Bundle, unit

FLOOR = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.99}  # least cosine to the reference by precision


def session(path: Path, threads: int = 0) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@dataclass
class Worst:
    """Least cosine to the golden values, of inputs alone."""

    image: float
    text: float
    match: float | None = None  # largest difference of an ITM logit, or of an ITC cosine that the matcher gives

    def holds(self, precision: str) -> bool:
        return min(self.image, self.text) >= FLOOR[precision]


def worst(bundle: Bundle, folder: Path, files: dict, golden: dict) -> Worst:
    """`files`: image, text and perhaps matcher, to file names in `folder`."""
    image, text = session(folder / files["image"]), session(folder / files["text"])
    features = {}

    def cosine(vector, expected):
        return float(np.dot(unit(vector).astype(np.float64), unit(np.array(expected)).astype(np.float64)))

    images, texts = [], []
    for entry in golden["images"]:
        pixels = bundle.pixels(Image.open(folder / entry["file"]))[None]
        embedding, *features[entry["file"]] = image.run(None, {"pixel_values": pixels})
        images.append(cosine(embedding[0], entry["embedding"]))
    for entry in golden["texts"]:
        assert bundle.ids(entry["text"]) == entry["ids"]
        ids, mask = bundle.tokens(entry["text"])
        texts.append(cosine(text.run(None, feed(text, ids, mask))[0][0], entry["embedding"]))
    if "matcher" not in files:
        return Worst(min(images), min(texts))
    matcher, differences = session(folder / files["matcher"]), []
    for entry in golden["matches"]:
        ids, mask = bundle.tokens(entry["text"])
        if bundle.matcher.first_id is not None:
            ids[0, 0] = bundle.matcher.first_id
        inputs = feed(matcher, ids, mask) | {"image_features": features[entry["image"]][0]}
        logits, *cosine = matcher.run(None, inputs)
        differences.append(abs(float(logits[0, 1]) - entry["itm_logit"]))
        differences += [abs(float(of[0, 0]) - entry["itc_cosine"]) for of in cosine]
    return Worst(min(images), min(texts), max(differences))


def feed(graph: ort.InferenceSession, ids, mask) -> dict:
    names = {value.name for value in graph.get_inputs()}
    return {"input_ids": ids} | ({"attention_mask": mask} if "attention_mask" in names else {})


def images_per_second(paths: dict[str, Path], shape, batch: int, threads: int, rounds: int = 5) -> dict[str, float]:
    """Best of `rounds`, the files taken in turn so that a busy machine is unfair to all alike."""
    sessions = {name: session(path, threads) for name, path in paths.items()}
    pixels = np.random.default_rng(0).normal(size=(batch, *shape)).astype(np.float32)
    best = dict.fromkeys(paths, float("inf"))
    for _ in range(rounds):
        for name, graph in sessions.items():
            start = time.perf_counter()
            graph.run(None, {"pixel_values": pixels})
            best[name] = min(best[name], time.perf_counter() - start)
    return {name: batch / seconds for name, seconds in best.items()}
