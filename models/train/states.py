"""Captions as the states that the frozen lower half of the text tower makes of them.

Those layers never change, so every caption passes through them once; training starts from the states.
"""

import numpy as np
import torch

from evaluate import pad
from tokenizer import encode


def bf16():
    return torch.autocast("cpu", torch.bfloat16)


class States:
    """All states in one ragged float16 array [tokens, 384]; caption i owns rows start[i] to start[i + 1]."""

    def __init__(self, tokenizer, tower, captions, chunk=250):
        rows = [encode(tokenizer, text) for text in captions]
        self.start = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        self.states = np.empty((self.start[-1], 384), dtype=np.float16)
        training = tower.training
        tower.eval()
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for some in (order[i : i + chunk] for i in range(0, len(order), chunk)):
            ids, mask = pad([rows[i] for i in some])
            with torch.no_grad(), bf16():
                out = tower.lower(torch.from_numpy(ids), torch.from_numpy(mask)).float().numpy()
            for i, row in zip(some, out):
                self.states[self.start[i] : self.start[i + 1]] = row[: len(rows[i])]
        tower.train(training)

    def batch(self, picks, drop, rng):
        """Padded states and mask; each token but the first and last is dropped with probability `drop`."""
        rows = []
        for i in picks:
            row = self.states[self.start[i] : self.start[i + 1]]
            if drop > 0:
                keep = rng.random(len(row)) >= drop
                keep[[0, -1]] = True
                row = row[keep]
            rows.append(row)
        states = np.zeros((len(rows), max(map(len, rows)), 384), dtype=np.float32)
        mask = np.zeros(states.shape[:2], dtype=np.int64)
        for i, row in enumerate(rows):
            states[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return torch.from_numpy(states), torch.from_numpy(mask)

    def embed(self, function, picks, drop=0.0, rng=None, groups=4):
        """`function(states, mask)` over `picks`, in a few groups of similar length to pad little."""
        order = np.argsort(np.diff(self.start)[picks], kind="stable")
        with bf16():
            parts = [function(*self.batch(picks[some], drop, rng)) for some in np.array_split(order, groups)]
        return torch.cat(parts)[torch.from_numpy(np.argsort(order))]

    @torch.no_grad()
    def embed_all(self, function, chunk=1000):
        picks = np.arange(len(self.start) - 1)
        return torch.cat([self.embed(function, picks[i : i + chunk]) for i in range(0, len(picks), chunk)])
