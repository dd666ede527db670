"""The two numbers that make the matcher's mean score a probability, and the weight of the cosine in the ranking.

Both are chosen on Flickr8k dev, which the members have not seen. `halves` says what the choice of the weight alone is worth
on images it was not made on.
"""

import numpy as np

from rerank import both_ways, candidates, change, ranks, recalls

# tried for the ranking: cosine + share x score
SHARES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.3, 1.6)


def logistic(scores, matches, weights, steps=50):
    """Slope and offset of the logistic regression of `matches` (bool) on `scores`, by Newton's method; weighted."""
    centre, spread = scores.mean(), scores.std()
    x = np.stack([(scores - centre) / spread, np.ones_like(scores)], axis=1).astype(np.float64)
    w = np.zeros(2)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-x @ w))
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x
        w += np.linalg.solve(hessian, x.T @ (weights * (matches - p)))
    return float(w[0] / spread), float(w[1] - w[0] * centre / spread)


def probability(cosine, score, owner, k):
    """Slope and offset over the pairs among the top k images of every caption, matches as heavy as all others together."""
    chosen = candidates(cosine, k)
    matches = (owner[:, None] == np.arange(cosine.shape[1]))[chosen]
    weights = np.where(matches, 0.5 / matches.sum(), 0.5 / (~matches).sum())
    return logistic(score[chosen], matches, weights * len(matches))


def tried(cosine, score, owner, k):
    """For every share the ranks (text to image, image to text), and those before reranking."""
    positive = owner[:, None] == np.arange(cosine.shape[1])
    rows = {}
    for share in SHARES:
        second = cosine + share * score
        texts, images = ranks(cosine, second, positive, k), ranks(cosine.T, second.T, positive.T, k)
        rows[share], before = (texts[1], images[1]), (texts[0], images[0])
    return rows, before


def best(rows, texts, images):
    """The share with the best mean of R@1/5/10 over the chosen `texts` and `images` (masks), every query counting the same."""
    return max(rows, key=lambda share: sum(recalls(np.concatenate([rows[share][0][texts], rows[share][1][images]]))))


def choose(cosine, score, owner, k):
    """(share, report): the share chosen on everything, which ships; the report has the lift of one chosen on the other half."""
    rows, before = tried(cosine, score, owner, k)
    images = np.arange(cosine.shape[1])
    after = [np.empty_like(x) for x in before]
    for half in (0, 1):
        here, there = images % 2 == half, images % 2 != half
        share = best(rows, there[owner], there)
        after[0][here[owner]], after[1][here] = rows[share][0][here[owner]], rows[share][1][here]
    share = best(rows, np.full(len(owner), True), np.full(len(images), True))
    halves = {
        way: change(old, new, of)
        for way, old, new, of in zip(("text_to_image", "image_to_text"), before, after, (owner, images))
    }
    everything = len(images)
    return share, {
        "halves": halves,
        "shares": {s: [recalls(r) for r in rows[s]] for s in SHARES},
        "alone": both_ways(score, score, owner, everything),
        "all": both_ways(cosine, cosine + share * score, owner, everything),
    }
