"""Recall before and after reranking the top k of the dual encoder by the matcher, of an exported folder.

Score of a candidate: match logit + itc_weight x cosine; what is not among the top k stays behind, in its first order.
Any positive in the top K counts, ties in its favour, as in `evaluate.recall`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

from data import load_coco_sample, load_split, to_tensor
from evaluate import Exported, pad
from tokenizer import encode

KS = (1, 5, 10)
K_TEST = 64  # more candidates change nothing on dev
RESAMPLES = 2000


class Reranker(Exported):
    """An exported model folder with a matcher on ONNX Runtime."""

    def __init__(self, folder, threads=1):
        super().__init__(folder)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.matcher = ort.InferenceSession(Path(folder) / "matcher.onnx", options, providers=["CPUExecutionProvider"])
        self.itc_weight = json.loads((Path(folder) / "pictor.json").read_text())["matcher"]["itc_weight"]

    def images(self, images, batch=50):
        """PIL images -> unit rows [N, 256] and features [N, T, W]."""
        images, rows = iter(images), []
        while chunk := [to_tensor(image) for _, image in zip(range(batch), images)]:
            inputs = {"pixel_values": np.stack(chunk).astype(np.float32)}
            rows.append(self.image.run(["image_embeds", "image_features"], inputs))
        return (np.concatenate(parts) for parts in zip(*rows))

    def texts(self, texts, batch=100):
        """Unit rows [N, 256] and a list of features [S, V], without padding."""
        rows, features = [], []
        for start in range(0, len(texts), batch):
            ids, mask = pad([encode(self.tokenizer, text) for text in texts[start : start + batch]])
            vectors, states = self.text.run(["text_embeds", "text_features"], {"input_ids": ids, "attention_mask": mask})
            rows.append(vectors)
            features += [state[:length] for state, length in zip(states, mask.sum(1))]
        return np.concatenate(rows), features

    def logits(self, text, images, batch=128):
        """Match logits of one text's features [S, V] with features [N, T, W] of images."""
        parts = []
        for start in range(0, len(images), batch):
            some = images[start : start + batch]
            inputs = {
                "text_features": np.repeat(text[None], len(some), axis=0),
                "attention_mask": np.ones((len(some), len(text)), dtype=np.int64),
                "image_features": some,
            }
            parts.append(self.matcher.run(["logits"], inputs)[0][:, 1])
        return np.concatenate(parts)


def candidates(scores, k):
    """[N, M] bool: the k best of every row."""
    chosen = np.zeros(scores.shape, dtype=bool)
    k = min(k, scores.shape[1])
    np.put_along_axis(chosen, np.argpartition(-scores, k - 1, axis=1)[:, :k], True, axis=1)
    return chosen


def ranks(first, second, positive, k):
    """Rank from 0 of the best positive of each row, before and after: `first` scores all, `second` reorders the top k."""
    best = np.where(positive, first, -np.inf).max(1)
    before = (first > best[:, None]).sum(1)
    among = candidates(first, k)
    best = np.where(positive & among, second, -np.inf).max(1)
    after = np.where(np.isinf(best), before, (among & (second > best[:, None])).sum(1))
    return before, after


def recalls(ranks):
    return [float((ranks < k).mean() * 100) for k in KS]


def interval(before, after, image, seed=0):
    """95 % interval of the change of the mean of R@1/5/10, paired; rows are drawn by `image`, each with all its rows."""
    change = sum((after < k).astype(float) - (before < k) for k in KS) * 100 / len(KS)
    total, rows = np.bincount(image, weights=change), np.bincount(image)
    draws = np.random.default_rng(seed).integers(0, len(rows), (RESAMPLES, len(rows)))
    return [float(x) for x in np.percentile(total[draws].sum(1) / rows[draws].sum(1), (2.5, 97.5))]


def change(before, after, image):
    """R@1/5/10 of the ranks before and after, the change of their mean and its interval."""
    lift = float(np.mean(recalls(after)) - np.mean(recalls(before)))
    return {"before": recalls(before), "after": recalls(after), "lift": lift, "lift_95": interval(before, after, image)}


def both_ways(cosine, second, owner, k):
    """Figures from scores [texts, images] of both stages; `owner` [texts] the image of each text."""
    images = np.arange(cosine.shape[1])
    positive = owner[:, None] == images
    report = {}
    for way, turned, image in (("text_to_image", False, owner), ("image_to_text", True, images)):
        scores = (x.T if turned else x for x in (cosine, second, positive))
        before, after = ranks(*scores, k)
        report[way] = change(before, after, image)
    return report


def measure(model, paths, captions, k=K_TEST):
    """Figures of an exported folder on images `paths` and their `captions`, and what a pair costs."""
    vectors, regions = model.images(Image.open(path).convert("RGB") for path in paths)
    texts, features = model.texts([text for group in captions for text in group])
    owner = np.repeat(np.arange(len(captions)), [len(group) for group in captions])
    cosine = texts @ vectors.T
    chosen = candidates(cosine, k) | candidates(cosine.T, k).T
    logits = np.full(cosine.shape, -np.inf, dtype=np.float32)
    started = time.perf_counter()
    for i, text in enumerate(features):
        logits[i, chosen[i]] = model.logits(text, regions[chosen[i]])
    seconds = time.perf_counter() - started
    second = logits + model.itc_weight * cosine
    report = both_ways(cosine, second, owner, k)
    return {**report, "images": len(paths), "captions": len(texts), "k_test": k, "pairs_per_second": chosen.sum() / seconds}


def report(folder, data, k=K_TEST):
    """Flickr8k dev and the COCO val2017 sample."""
    model = Reranker(folder)
    names, captions = load_split(data, "dev")
    return {
        "flickr8k-dev": measure(model, [Path(data) / "flickr8k/images" / name for name in names], captions, k),
        "coco-val2017-sample": measure(model, *load_coco_sample(data), k),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--model", default="models/pictor-mini")
    parser.add_argument("--k-test", type=int, default=K_TEST)
    args = parser.parse_args()
    print(json.dumps(report(args.model, args.data, args.k_test), indent=2))
