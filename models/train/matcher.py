"""The matcher: how well every word of a text finds its place in an image, by a few small members that vote.

Everything that belongs to one side alone is computed by the towers, once per image and once per text; what is left for a
pair is two small matrix products (`Matcher.pairs`). Members differ by their seed alone. Their scores are averaged.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

CELLS = 49
MEMBERS = 4
DIM = 96  # of a token, for one member
HIDDEN = 224
NEVER = -1e4  # instead of minus infinity, which would turn a row of nothing but padding into NaN


class Projection(nn.Module):
    """Layer norm, hidden layer, unit vectors of `DIM` dimensions."""

    def __init__(self, inputs, dropout):
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.up = nn.Linear(inputs, HIDDEN)
        self.down = nn.Linear(HIDDEN, DIM)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        hidden = F.gelu(self.up(self.dropout(self.norm(x.float()))))
        return F.normalize(self.down(self.dropout(hidden)).float(), dim=-1)


class Member(nn.Module):
    """One late interaction: words against cells, and the sentence against the whole image."""

    def __init__(self, dropout=0.0, width=384, channels=1280):
        super().__init__()
        self.cell = Projection(channels, dropout)
        self.scene = Projection(channels, dropout)
        self.word = Projection(2 * width, dropout)
        self.sentence = Projection(width, dropout)
        self.gate = nn.Linear(2 * width, 1)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(10.0)))
        self.log_share = nn.Parameter(torch.tensor(0.0))  # of sentence against scene, relative to words against cells
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))  # inverse temperature of the loss

    def words(self, states, caption, first):
        """Unit rows [tokens, DIM] and weights [tokens] that sum to 1 in each caption; packed as `Captions.pick` gives them.

        The row of [CLS], the first of each caption, stands for the sentence and has no weight among the words.
        """
        count = int(caption[-1]) + 1
        last = states[:, states.shape[1] // 2 :].float()
        mean = torch.zeros(count, last.shape[1]).index_add_(0, caption, last) / torch.bincount(caption)[:, None]
        rows = self.word(states).masked_scatter(first[:, None], self.sentence(mean))
        weight = self.gate(states.float()).squeeze(1).float().clamp(-8, 8).exp() * ~first
        return rows, weight / torch.zeros(count).index_add_(0, caption, weight)[caption]

    def regions(self, cells):
        """Unit rows [B, cells + 1, DIM] from [B, cells, channels]: the cells, then the whole image."""
        return torch.cat([self.cell(cells), self.scene(cells.mean(1))[:, None]], dim=1)

    def forward(self, rows, weights, caption, first, regions):
        """Scores [captions, images] of packed words and `regions` [images, cells + 1, DIM].

        A word scores the soft maximum of its cosines with the cells: log mean exp.
        """
        images, dim = len(regions), regions.shape[2]
        cells = regions[:, :-1].reshape(-1, dim)
        sharpness = self.log_sharpness.exp()
        with torch.autocast("cpu", enabled=False):
            close = ((rows.bfloat16() @ cells.bfloat16().T - 1) * sharpness.bfloat16()).exp()
            found = 1 + close.view(len(rows), images, -1).mean(2, dtype=torch.float32).clamp(min=1e-12).log() / sharpness
            by_word = torch.zeros(int(first.sum()), images).index_add_(0, caption, found * weights[:, None])
            return by_word + self.log_share.exp() * rows[first] @ regions[:, -1].T


class Matcher(nn.Module):
    """All members, and the line that makes their mean score the log-odds of a match."""

    def __init__(self, members, slope=1.0, offset=0.0):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.slope, self.offset = slope, offset

    def image_features(self, cells):
        """[B, members * (cells + 1), DIM] from [B, cells, channels], member after member."""
        return torch.cat([member.regions(cells) for member in self.members], dim=1)

    def pairs(self, text_features, mask, image_features):
        """Log-odds [B] of pairs of a text and an image; the arithmetic of the exported graph, for tests."""
        count = len(self.members)
        rows, gates = text_features.split([count * DIM, count], dim=2)
        rows = rows.unflatten(2, (count, DIM)).transpose(1, 2)
        regions = image_features.unflatten(1, (count, CELLS + 1)).transpose(2, 3)
        cosine = rows @ regions  # [B, members, sequence, cells + 1]
        sharpness = torch.stack([member.log_sharpness.exp() for member in self.members])[:, None]
        share = torch.stack([member.log_share.exp() for member in self.members])
        found = 1 + ((cosine[..., :-1] - 1) * sharpness[..., None]).exp().mean(3).clamp(min=1e-12).log() / sharpness
        gates = gates.transpose(1, 2) + (1 - mask[:, None].float()) * NEVER
        score = (found * gates.softmax(2)).sum(2) + share * cosine[:, :, 0, -1]
        return self.slope * score.mean(1) + self.offset

