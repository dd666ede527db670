"""The matcher in ONNX: what the towers' graphs compute for it, and the graph of its pairs. See `matcher.py`."""

import numpy as np
import torch
from onnx import TensorProto

from features import MIDDLE
from graph import Graph
from matcher import CELLS, DIM, NEVER
from tokenizer import CONTEXT_LENGTH


def projection(g, x, module):
    hidden = g.gelu(g.linear(g.norm(x, module.norm), module.up))
    return g.unit(g.linear(hidden, module.down))


def joined(g, parts, axis, name=None):
    return g.op("Concat", *parts, axis=axis, name=name) if len(parts) > 1 else g.op("Identity", *parts, name=name)


def add_image_features(matcher, g, cells, mean):
    """Appends `image_features` [batch, members * (cells + 1), DIM], member after member; returns (name, shape)."""
    parts = []
    for member in matcher.members:
        parts += [projection(g, cells, member.cell), g.op("Unsqueeze", projection(g, mean, member.scene), g.ints(1))]
    g.op("Concat", *parts, axis=1, name="image_features")
    return "image_features", ["batch", len(matcher.members) * (CELLS + 1), DIM]


def add_text_features(matcher, g, states, mean, length):
    """Appends `text_features` [batch, sequence, members * DIM + members]; returns (name, shape).

    The row of [CLS] is the sentence's; the last columns are the gates, of which [CLS] has none. `states` are those after
    every layer, `mean` is the mean of the last, `length` that of the sequence.
    """
    first = np.zeros((CONTEXT_LENGTH, 1), dtype=np.float32)
    first[0] = 1
    first = g.op("Slice", g.constant(first), g.ints(0), length, g.ints(0))  # [sequence, 1]
    others = g.op("Sub", g.floats(1.0), first)
    both = g.op("Concat", states[MIDDLE - 1], states[-1], axis=2)
    rows = joined(g, [projection(g, both, member.word) for member in matcher.members], 2)
    sentence = joined(g, [projection(g, mean, member.sentence) for member in matcher.members], 1)
    rows = g.op("Add", g.op("Mul", rows, others), g.op("Mul", g.op("Unsqueeze", sentence, g.ints(1)), first))
    gates = joined(g, [g.linear(both, member.gate) for member in matcher.members], 2)
    gates = g.op("Clip", gates, g.floats(-8.0), g.floats(8.0))
    gates = g.op("Add", gates, g.op("Mul", first, g.floats(NEVER)))
    g.op("Concat", rows, gates, axis=2, name="text_features")
    return "text_features", ["batch", "sequence", (DIM + 1) * len(matcher.members)]


def matcher_graph(matcher):
    """`text_features`, `attention_mask` int64 [batch, sequence], `image_features` -> `logits` [batch, 2].

    The batch axis counts pairs. The first logit, no match, is 0: softmax then makes the sigmoid of the second.
    """
    g, count = Graph(False), len(matcher.members)
    g.split("text_features", (DIM * count, count), 2, ("rows", "gates"))
    rows = g.op("Transpose", g.op("Reshape", "rows", g.ints(0, -1, count, DIM)), perm=[0, 2, 3, 1])
    regions = g.op("Reshape", "image_features", g.ints(0, count, CELLS + 1, DIM))  # the large side stays where it is
    g.split(g.op("MatMul", regions, rows), (CELLS, 1), 2, ("by_cell", "by_scene"))  # [batch, members, cells, sequence]

    sharpness = torch.stack([member.log_sharpness.exp() for member in matcher.members]).reshape(-1, 1, 1)
    close = g.op("Exp", g.op("Mul", g.op("Sub", "by_cell", g.floats(1.0)), g.weight(sharpness)))
    close = g.op("Max", g.op("ReduceMean", close, axes=[2], keepdims=0), g.floats(1e-12))
    found = g.op("Div", g.op("Log", close), g.weight(sharpness[..., 0]))  # [batch, members, sequence]; 1 is added below
    mask = g.op("Unsqueeze", g.op("Cast", "attention_mask", to=TensorProto.FLOAT), g.ints(1))
    hidden = g.op("Mul", g.op("Sub", g.floats(1.0), mask), g.floats(NEVER))
    gates = g.op("Softmax", g.op("Add", g.op("Transpose", "gates", perm=[0, 2, 1]), hidden), axis=2)
    by_word = g.op("ReduceSum", g.op("Mul", found, gates), g.ints(2), keepdims=0)

    share = torch.stack([member.log_share.exp() for member in matcher.members])
    whole = g.op("Slice", "by_scene", g.ints(0), g.ints(1), g.ints(3))
    whole = g.op("Mul", g.op("Reshape", whole, g.ints(0, count)), g.weight(share))
    score = g.op("ReduceMean", g.op("Add", by_word, whole), axes=[1], keepdims=1)
    offset = matcher.slope + matcher.offset  # the 1 of every word's score, times the slope
    logit = g.op("Add", g.op("Mul", score, g.floats(matcher.slope)), g.floats(offset))
    g.op("Concat", g.op("Mul", logit, g.floats(0.0)), logit, axis=1, name="logits")
    inputs = [
        ("text_features", TensorProto.FLOAT, ["batch", "sequence", (DIM + 1) * count]),
        ("attention_mask", TensorProto.INT64, ["batch", "sequence"]),
        ("image_features", TensorProto.FLOAT, ["batch", count * (CELLS + 1), DIM]),
    ]
    return g.model("matcher", inputs, [("logits", ["batch", 2])])
