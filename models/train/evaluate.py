"""Recall at K of exported towers, in plain numpy: any positive in the top K counts (as CLIP_benchmark does)."""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image
from tokenizers import Tokenizer

from data import load_coco_sample, load_split, to_tensor
from tokenizer import encode


def recall(images, texts, owner, ks=(1, 5, 10)):
    """`images` [N, D], `texts` [M, D] unit rows, `owner` [M] the image of each text; percentages."""
    scores = texts @ images.T
    own = scores[np.arange(len(owner)), owner]
    text_rank = (scores > own[:, None]).sum(1)
    image_rank = np.empty(len(images), dtype=int)
    for i in range(len(images)):
        best = scores[owner == i, i].max()
        image_rank[i] = (scores[:, i] > best).sum()
    return {
        "text_to_image": {f"R@{k}": round(float((text_rank < k).mean() * 100), 2) for k in ks},
        "image_to_text": {f"R@{k}": round(float((image_rank < k).mean() * 100), 2) for k in ks},
    }


def pad(rows):
    """Token id lists -> int64 ids and attention mask, padded with 0 to the longest."""
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


class Exported:
    """An exported model folder on ONNX Runtime."""

    def __init__(self, folder):
        self.image = ort.InferenceSession(Path(folder) / "image.onnx", providers=["CPUExecutionProvider"])
        self.text = ort.InferenceSession(Path(folder) / "text.onnx", providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))

    def embed_images(self, images, batch=50):
        """PIL images (any iterable) -> [N, 256]."""
        images, rows = iter(images), []
        while chunk := [to_tensor(image) for _, image in zip(range(batch), images)]:
            rows.append(self.image.run(["image_embeds"], {"pixel_values": np.stack(chunk).astype(np.float32)})[0])
        return np.concatenate(rows)

    def embed_texts(self, texts, batch=100):
        rows = []
        for start in range(0, len(texts), batch):
            ids, mask = pad([encode(self.tokenizer, t) for t in texts[start : start + batch]])
            rows.append(self.text.run(["text_embeds"], {"input_ids": ids, "attention_mask": mask})[0])
        return np.concatenate(rows)

    def recall(self, paths, captions):
        images = self.embed_images(Image.open(p).convert("RGB") for p in paths)
        texts = self.embed_texts([text for group in captions for text in group])
        owner = np.repeat(np.arange(len(captions)), [len(group) for group in captions])
        return {**recall(images, texts, owner), "images": len(images), "captions": len(texts)}


def report(folder, data):
    """Recall on Flickr8k dev and on the COCO val2017 sample."""
    model = Exported(folder)
    names, captions = load_split(data, "dev")
    return {
        "flickr8k-dev": model.recall([Path(data) / "flickr8k/images" / n for n in names], captions),
        "coco-val2017-sample": model.recall(*load_coco_sample(data)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--model", default="models/pictor-mini")
    args = parser.parse_args()
    print(json.dumps(report(args.model, args.data), indent=2))
