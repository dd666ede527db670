"""The two towers: MobileNetV2 with an attention-pool head, and a pruned MiniLM with a linear head."""

import math

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from safetensors.torch import load_file
from torch import nn

DIM = 256
# (expansion, output channels, repeats, first stride): table 2 of Sandler et al. 2018 (MobileNetV2)
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
FIRST_UPPER = 13  # blocks 13-16 are fine-tuned in the second stage; 0-12 stay frozen


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: with stride 2 the extra row and column go below and right."""

    def forward(self, x):
        if self.stride == (2, 2):
            return super().forward(F.pad(x, (0, 1, 0, 1)))
        return super().forward(x)


def conv(inputs, outputs, kernel=1, stride=1, groups=1):
    padding = kernel // 2 if stride == 1 else 0
    return SameConv(inputs, outputs, kernel, stride, padding, groups=groups)


class Block(nn.Module):
    """Inverted residual; batch normalisation is already folded into the convolutions."""

    def __init__(self, inputs, outputs, expansion, stride):
        super().__init__()
        hidden = inputs * expansion
        self.expand = conv(inputs, hidden) if expansion > 1 else None
        self.depthwise = conv(hidden, hidden, 3, stride, groups=hidden)
        self.project = conv(hidden, outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class Trunk(nn.Module):
    """MobileNetV2 1.0 without its classifier: [B, 3, 224, 224] in [-1, 1] -> block-16 map [B, 320, 7, 7]."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 32, 3, 2)
        blocks, channels = [], 32
        for expansion, outputs, repeats, stride in STAGES:
            for i in range(repeats):
                blocks.append(Block(channels, outputs, expansion, stride if i == 0 else 1))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.last = conv(320, 1280)

    def lower(self, pixels):
        x = F.relu6(self.stem(pixels))
        for block in self.blocks[:FIRST_UPPER]:
            x = block(x)
        return x

    def upper(self, x):
        for block in self.blocks[FIRST_UPPER:]:
            x = block(x)
        return x

    @classmethod
    def from_onnx(cls, path):
        """Copies the folded Keras weights; both sides list their convolutions in execution order."""
        graph = onnx.load(path).graph
        arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        for node in graph.node:
            if node.op_type == "DequantizeLinear" and node.input[0] in arrays:
                w, scale, zero = (arrays[name].astype(np.float32) for name in node.input)
                shape = (-1,) + (1,) * (w.ndim - 1) if scale.ndim else ()
                arrays[node.output[0]] = (w - zero.reshape(shape)) * scale.reshape(shape)
        trunk = cls().eval()
        ours = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
        theirs = [n for n in graph.node if n.op_type == "Conv"]
        for module, node in zip(ours, theirs, strict=True):
            module.weight.data = torch.from_numpy(arrays[node.input[1]].copy())
            module.bias.data = torch.from_numpy(arrays[node.input[2]].copy())
        return trunk.requires_grad_(False)


def some_cells(cells, drop):
    """[B, cells, channels] without a random share `drop` of the cells, others for every image."""
    keep = torch.rand(cells.shape[:2]).topk(round(cells.shape[1] * (1 - drop)), dim=1).indices
    return cells[torch.arange(len(cells))[:, None], keep]


class ImageTower(nn.Module):
    """MobileNetV2 map -> [B, 256] unit vectors, by 8-head attention pooling beside mean pooling."""

    HEADS = 8

    def __init__(self, trunk, hidden=640, dropout=0.4):
        super().__init__()
        self.trunk = trunk
        self.score = nn.Linear(1280, self.HEADS)
        self.norm = nn.LayerNorm(2560)
        self.hidden = nn.Linear(2560, hidden)
        self.out = nn.Linear(hidden, DIM)
        self.dropout = nn.Dropout(dropout)

    def channels(self, cells):
        """Block-16 map [B, cells, 320] -> [B, cells, 1280], through the last convolution."""
        last = self.trunk.last  # a 1x1 convolution: the same as a linear layer over the cells
        return F.relu6(F.linear(cells, last.weight.flatten(1), last.bias))

    def forward(self, cells, drop_cells=0.0):
        """`cells`: block-16 map as [B, 49, 320]. `drop_cells`: share of the cells hidden from both pools (training)."""
        if drop_cells > 0:
            cells = some_cells(cells, drop_cells)
        cells = self.channels(cells)
        attention = self.score(cells).float().softmax(dim=1).to(cells.dtype)  # [B, cells, 8]
        by_head = cells.unflatten(2, (self.HEADS, -1))  # every head pools its own 160 channels
        pooled = torch.einsum("bch,bchd->bhd", attention, by_head).flatten(1)
        features = self.norm(torch.cat([pooled, cells.mean(1)], dim=1).float())
        hidden = F.gelu(self.hidden(self.dropout(features)))
        return F.normalize(self.out(self.dropout(hidden)).float(), dim=1)


class Layer(nn.Module):
    """One BERT encoder layer (post-norm)."""

    HEADS = 12

    def __init__(self, width=384, inner=1536):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, bias):
        q, k, v = self.qkv(x).unflatten(2, (3, self.HEADS, -1)).permute(2, 0, 3, 1, 4)
        # by hand: at 14 tokens the fused kernel's backward pass takes twice as long
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(2, 3) + bias.to(q.dtype)).softmax(-1)
        y = weights.to(v.dtype) @ v
        x = self.norm1(x + self.attended(y.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class TextTower(nn.Module):
    """Token ids -> [B, 256] unit vectors: MiniLM layers, mean over real tokens, a head of a linear map plus a small MLP.

    The embeddings and the lower layers always keep their MiniLM weights, so that words which no training caption uses
    keep their meaning.
    """

    WIDE = 768  # hidden units of the head's MLP
    GAIN = 8.0  # of its input: components of a unit vector of 384 are small for a GELU

    def __init__(self, vocab, layers, context, width=384):
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(context, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.out = nn.Linear(width, DIM)
        self.widen = nn.Linear(width, self.WIDE)
        self.narrow = nn.Linear(self.WIDE, DIM)

    def states(self, ids, mask, middle):
        """Hidden states [B, S, 384] after `middle` layers and after all of them."""
        x = self.norm(self.tokens(ids) + self.positions.weight[: ids.shape[1]])
        bias = (1.0 - mask[:, None, None, :].float()) * -1e4
        for i, layer in enumerate(self.layers):
            if i == middle:
                half = x
            x = layer(x, bias)
        return half, x

    def pooled(self, ids, mask):
        """Mean of the last hidden states over the real tokens: [B, 384]."""
        x = self.states(ids, mask, 0)[1]
        real = mask.unsqueeze(2).float()
        return (x.float() * real).sum(1) / real.sum(1)

    def head(self, pooled, drop=0.0):
        """Unit vectors [B, 256] from `pooled`, whose length does not matter."""
        x = F.normalize(pooled, dim=1)
        hidden = F.gelu(self.widen(x * self.GAIN))
        mapped = self.out(F.dropout(x, drop)) + self.narrow(F.dropout(hidden, drop))
        return F.normalize(mapped.float(), dim=1)

    @classmethod
    def from_minilm(cls, folder, kept, layers, context):
        """First `layers` of MiniLM with its embedding rows `kept` (original ids, in the new order)."""
        w = load_file(folder / "model.safetensors")
        tower = cls(len(kept), layers, context)
        with torch.no_grad():
            kind = w["embeddings.token_type_embeddings.weight"][0]  # always type 0: folded into the positions
            tower.tokens.weight.copy_(w["embeddings.word_embeddings.weight"][kept])
            tower.positions.weight.copy_(w["embeddings.position_embeddings.weight"][:context] + kind)
            copy_norm(tower.norm, w, "embeddings.LayerNorm")
            for i, layer in enumerate(tower.layers):
                p = f"encoder.layer.{i}"
                for part in ("weight", "bias"):
                    qkv = [w[f"{p}.attention.self.{n}.{part}"] for n in ("query", "key", "value")]
                    getattr(layer.qkv, part).copy_(torch.cat(qkv))
                    getattr(layer.attended, part).copy_(w[f"{p}.attention.output.dense.{part}"])
                    getattr(layer.up, part).copy_(w[f"{p}.intermediate.dense.{part}"])
                    getattr(layer.down, part).copy_(w[f"{p}.output.dense.{part}"])
                copy_norm(layer.norm1, w, f"{p}.attention.output.LayerNorm")
                copy_norm(layer.norm2, w, f"{p}.output.LayerNorm")
        tower.requires_grad_(False)
        for part in (tower.out, tower.widen, tower.narrow):
            part.requires_grad_(True)
        return tower


def copy_norm(norm, weights, name):
    norm.weight.copy_(weights[f"{name}.weight"])
    norm.bias.copy_(weights[f"{name}.bias"])


class DualEncoder(nn.Module):
    """Both towers and the learned temperature of the contrastive loss."""

    def __init__(self, image, text):
        super().__init__()
        self.image, self.text = image, text
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))
