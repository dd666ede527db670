"""What the matcher's members learn from: maps and token states of the finished dual encoder, cached once.

The dual encoder does not change any more, so every view of every image passes through blocks 13-16 once, and every
caption through the text tower once.
"""

from dataclasses import dataclass

import numpy as np
import torch

from evaluate import pad
from texts import bf16
from tokenizer import encode

MIDDLE = 3  # the token states are those after this layer and after the last


@dataclass
class Captions:
    """Token states of captions, one after the other without padding."""

    states: torch.Tensor  # [tokens, 2 * 384] bfloat16: after the middle and after the last layer
    starts: np.ndarray  # [captions + 1]

    def pick(self, captions, drop=0.0, rng=None):
        """(rows of `states`, caption of each row, whether it is the caption's first) of `captions`.

        Each token but the first and last is dropped with probability `drop`.
        """
        starts, lengths = self.starts[captions], np.diff(self.starts)[captions]
        owner = np.repeat(np.arange(len(captions)), lengths)
        firsts = np.cumsum(lengths) - lengths
        rows = np.arange(len(owner)) - firsts[owner] + starts[owner]
        first = np.zeros(len(owner), dtype=bool)
        first[firsts] = True
        if drop > 0:
            last = np.zeros(len(owner), dtype=bool)
            last[firsts + lengths - 1] = True
            keep = (rng.random(len(owner)) >= drop) | first | last
            rows, owner, first = rows[keep], owner[keep], first[keep]
        return self.states[torch.from_numpy(rows)], torch.from_numpy(owner), torch.from_numpy(first)


@torch.no_grad()
def cell_maps(trunk, block12, cache, chunk=250):
    """Block-16 maps [views, N, 49, 320] bfloat16 of the dual encoder, kept in `cache`.

    `block12()` gives the maps after block 12 view by view, [N, 14, 14, 96] bfloat16.
    """
    if not cache.exists():
        views = []
        with bf16():
            for view in block12():
                parts = [trunk.upper(some.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2) for some in view.split(chunk)]
                views.append(torch.cat(parts).to(torch.bfloat16))
        torch.save(torch.stack(views), cache)
    return torch.load(cache)


@torch.no_grad()
def token_states(tower, tokenizer, texts, cache, chunk=200):
    """`Captions` of `texts`, kept in `cache`; batches are of similar length to pad little."""
    if not cache.exists():
        rows = [encode(tokenizer, text) for text in texts]
        starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        states = torch.empty(starts[-1], 2 * tower.tokens.embedding_dim, dtype=torch.bfloat16)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        with bf16():
            for some in (order[i : i + chunk] for i in range(0, len(order), chunk)):
                ids, mask = pad([rows[i] for i in some])
                middle, last = tower.states(torch.from_numpy(ids), torch.from_numpy(mask), MIDDLE)
                both = torch.cat([middle, last], dim=2).to(torch.bfloat16)
                for i, row in zip(some, both):
                    states[starts[i] : starts[i + 1]] = row[: len(rows[i])]
        torch.save({"states": states, "starts": torch.from_numpy(starts)}, cache)
    saved = torch.load(cache)
    return Captions(saved["states"], saved["starts"].numpy())
