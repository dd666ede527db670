"""The matcher's graph against torch, and the measures of reranking against slow obvious twins. Needs no data."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F

from calibrate import logistic
from matcher import CELLS, DIM, Matcher, Member
from matcher_graph import matcher_graph
from rerank import ranks


def random_pairs(count, length, members, seed=0):
    """Features as the towers give them: unit rows, gates."""
    torch.manual_seed(seed)
    words = F.normalize(torch.randn(count, length, members, DIM), dim=-1).flatten(2)
    text = torch.cat([words, torch.randn(count, length, members)], dim=2)
    image = F.normalize(torch.randn(count, members * (CELLS + 1), DIM), dim=-1)
    return text, torch.ones(count, length, dtype=torch.int64), image


@pytest.mark.parametrize("count, length, members", [(1, 2, 1), (5, 17, 4), (3, 48, 2)])
def test_the_graph_computes_what_torch_does_and_padding_changes_nothing(count, length, members):
    matcher = Matcher([Member() for _ in range(members)], slope=3.0, offset=-2.0).requires_grad_(False)
    session = ort.InferenceSession(matcher_graph(matcher).SerializeToString())
    text, mask, image = random_pairs(count, length, members)

    def logits(text, mask):
        names = ("text_features", "attention_mask", "image_features")
        return session.run(None, dict(zip(names, (text.numpy(), mask.numpy(), image.numpy()))))[0]

    received = logits(text, mask)
    assert received.shape == (count, 2) and (received[:, 0] == 0).all()
    np.testing.assert_allclose(received[:, 1], matcher.pairs(text, mask, image).numpy(), atol=1e-5)
    longer = torch.cat([text, torch.randn(count, 3, text.shape[2])], dim=1)
    padded = torch.cat([mask, torch.zeros(count, 3, dtype=torch.int64)], dim=1)
    np.testing.assert_allclose(logits(longer, padded), received, atol=1e-5)


def slow_rank(first, second, positive, k):
    """The first stage's order, its top k sorted again, ties in favour of positives."""
    order = sorted(range(len(first)), key=lambda i: -first[i])
    top = sorted(order[:k], key=lambda i: (-second[i], not positive[i]))
    return next(rank for rank, i in enumerate(top + order[k:]) if positive[i])


def test_ranks_are_those_of_sorting():
    rng = np.random.default_rng(0)
    for k in (1, 3, 7, 20):
        first, positive = rng.permuted(np.tile(np.arange(12.0), (30, 1)), axis=1), rng.random((30, 12)) < 0.2
        positive[:, 0] = True
        second = rng.integers(0, 4, first.shape).astype(float)
        before, after = ranks(first, second, positive, k)
        for row in range(len(first)):
            assert before[row] == slow_rank(first[row], first[row], positive[row], len(first[row]))
            assert after[row] == slow_rank(first[row], second[row], positive[row], k)


def test_logistic_finds_the_line_that_made_the_labels():
    rng = np.random.default_rng(0)
    scores = rng.normal(2, 0.5, 200_000)
    matches = rng.random(len(scores)) < 1 / (1 + np.exp(-(4 * scores - 9)))
    slope, offset = logistic(scores, matches, np.ones(len(scores)))
    assert abs(slope - 4) < 0.1 and abs(offset + 9) < 0.2
