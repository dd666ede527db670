"""Asks CLIP_benchmark's own code for its figures: ask_clip_benchmark.py FOLDER TEXTS IMAGES DIM

FOLDER holds images.f32 and texts.f32 (row-major, little-endian) and image_of_text.u32. Printed, as JSON:
  evaluate  what `evaluate` returns for a model whose encoders look the vectors up, where the captions are grouped by image
            and each image has one (its data loader can say nothing else); null elsewhere
  plain     of each query whether `recall_at_k` > 0, by direction and K, over float32 scores
  by_index  the same where equal scores are first told apart: float64 inner products, less a trifle for each index. `torch.topk`
            leaves the order of equal scores open; this makes it the order of the data set.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from clip_benchmark.metrics.zeroshot_retrieval import batchify, evaluate, recall_at_k

KS = [1, 5, 10]
# Far below the distance of unequal scores of the test's data (multiples of 1/4), far above what float64 rounds away.
TRIFLE = 1e-9

folder = Path(sys.argv[1])
n_texts, n_images, dim = map(int, sys.argv[2:5])


def read(name, shape, dtype):
    return torch.from_numpy(np.fromfile(folder / name, dtype=dtype).reshape(shape))


images = read("images.f32", (n_images, dim), "<f4")
texts = read("texts.f32", (n_texts, dim), "<f4")
image_of_text = read("image_of_text.u32", n_texts, "<u4").long()


class Model:
    def encode_image(self, indices):
        return images[indices]

    def encode_text(self, indices):
        return texts[indices]


def through_evaluate():
    if image_of_text.unique().tolist() != list(range(n_images)) or (image_of_text.diff() < 0).any():
        return None
    captions = [[str(t) for t in (image_of_text == i).nonzero().flatten().tolist()] for i in range(n_images)]
    batches = [
        (torch.arange(start, min(start + 64, n_images)), captions[start : start + 64])
        for start in range(0, n_images, 64)
    ]
    tokenizer = lambda texts: torch.tensor([int(text) for text in texts])
    return evaluate(Model(), batches, tokenizer, "cpu", amp=False, recall_k_list=KS)


def hits(scores, positives):
    return {k: (batchify(recall_at_k, scores, positives, 64, "cpu", k=k) > 0).tolist() for k in KS}


def both(text_scores, image_scores):
    positives = torch.zeros((n_texts, n_images), dtype=bool)
    positives[torch.arange(n_texts), image_of_text] = True
    return {"text_to_image": hits(text_scores, positives), "image_to_text": hits(image_scores, positives.T)}


scores = texts @ images.t()
exact = texts.double() @ images.double().t()
answer = {
    "evaluate": through_evaluate(),
    "plain": both(scores, scores.T),
    "by_index": both(exact - TRIFLE * torch.arange(n_images), exact.T - TRIFLE * torch.arange(n_texts)),
}
json.dump(answer, sys.stdout)
