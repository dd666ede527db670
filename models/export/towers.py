"""Towers rewritten for export: the same numbers from fewer and plainer operators.

`torch.nn.MultiheadAttention` exports as sequence-first reshapes with a slice and a gather for each of query, key and value,
and its fused form does not export at all. `plain` puts in its place one linear layer for the three, batch-first, with the
factor 1/sqrt(depth) inside the query's weights. What must stay true: the outputs agree with the model's own to float32
rounding, which every export checks against the golden values.
"""

import torch
from torch import nn


class PlainAttention(nn.Module):
    """Multi-head attention of `nn.MultiheadAttention`'s weights, batch-first; its calling convention, less the rare options."""

    batch_first = True

    def __init__(self, of: nn.MultiheadAttention):
        super().__init__()
        if of.in_proj_weight is None or of.bias_k is not None or of.add_zero_attn:
            raise ValueError("attention with separate projections or added keys does not occur in the families known here")
        self.heads, width = of.num_heads, of.embed_dim
        weight, bias = of.in_proj_weight.detach().clone(), of.in_proj_bias.detach().clone()
        scale = (width // of.num_heads) ** -0.5
        weight[:width] *= scale
        bias[:width] *= scale
        self.qkv = linear(weight, bias)
        self.out_proj = of.out_proj

    def split(self, x):
        """[B, L, heads * depth] -> [B, heads, L, depth]"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def project(self, query, key):
        if query is key:
            return self.qkv(query).chunk(3, dim=-1)
        width = self.out_proj.in_features
        weight, bias = self.qkv.weight, self.qkv.bias
        q = nn.functional.linear(query, weight[:width], bias[:width])
        return q, *nn.functional.linear(key, weight[width:], bias[width:]).chunk(2, dim=-1)

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None, **_):
        if key_padding_mask is not None or key is not value:
            raise ValueError("attention with a padding mask or values apart from keys does not occur in the families known here")
        q, k, v = (self.split(x) for x in self.project(query, key))
        scores = q @ k.transpose(-1, -2)
        if attn_mask is not None:
            scores = scores + attn_mask
        mixed = scores.softmax(dim=-1) @ v
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


def linear(weight, bias):
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return layer


def plain(model: nn.Module) -> None:
    """Replaces every `nn.MultiheadAttention` inside `model`, and puts the scale of timm's attention into its weights.

    All of the known families run `nn.MultiheadAttention` batch-first.
    """
    for name, child in list(model.named_children()):
        if isinstance(child, nn.MultiheadAttention):
            setattr(model, name, PlainAttention(child))
        else:
            plain(child)
    queries = getattr(model, "qkv", None) or getattr(model, "q", None)
    if type(model).__module__.startswith("timm.") and isinstance(queries, nn.Linear) and isinstance(getattr(model, "scale", None), float):
        scale_queries(model, queries)


def scale_queries(attention: nn.Module, queries: nn.Linear) -> None:
    """One product less a layer; ONNX Runtime 1.32 moreover fails on it when it is float16 and a transpose follows."""
    if not isinstance(getattr(attention, "q_norm", None), (nn.Identity, type(None))):
        return
    rows = queries.weight.shape[0] // 3 if hasattr(attention, "qkv") else queries.weight.shape[0]
    with torch.no_grad():
        for parameter in (queries.weight, queries.bias):
            if parameter is not None:
                parameter[:rows] *= attention.scale
    attention.scale = 1.0


class ClipText(nn.Module):
    """Text tower of open_clip (`CLIP.encode_text`, `TextTransformer.forward`) for texts of any length up to the context.

    Under a causal mask the token that is pooled, the end of text, attends to nothing after it, so padding and its length
    change nothing and may be left out. Without the mask every position counts and the text must be padded to the context.
    """

    def __init__(self, text: nn.Module, pool: str, eos_id: int | None):
        super().__init__()
        if getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", False):
            raise ValueError("text towers with a class token or a padding mask (CoCa) are not exported")
        if pool not in ("argmax", "eos", "last", "first"):
            raise ValueError(f"text pooling '{pool}' is not exported; first, last, argmax and eos are")
        self.text, self.pool, self.eos_id = text, pool, eos_id
        self.causal = text.attn_mask is not None
        if not self.causal:
            return
        if pool == "last":
            raise ValueError("a causal text tower pooled at its last position depends on padding in a way not known here")
        self.register_buffer("mask", text.attn_mask.clone(), persistent=False)

    def forward(self, ids):
        text, length = self.text, ids.shape[1]
        x = text.token_embedding(ids) + text.positional_embedding[:length]
        x = text.transformer(x, attn_mask=self.mask[:length, :length] if self.causal else None)
        x = text.ln_final(self.pooled(x, ids))
        projection = text.text_projection
        if projection is None:
            return x
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection

    def pooled(self, x, ids):
        """[B, L, width] -> [B, width]; layer norm works row by row and may as well come after."""
        if self.pool == "first":
            return x[:, 0]
        if self.pool == "last":
            return x[:, -1]
        at = (ids if self.pool == "argmax" else (ids == self.eos_id).int()).argmax(dim=-1)
        return take_rows(x, at)


def take_rows(x, at):
    """Row `at[b]` of every `x[b]`: [B, L, width], [B] -> [B, width]."""
    return x.gather(1, at[:, None, None].expand(-1, 1, x.shape[2]))[:, 0]


class ImageTower(nn.Module):
    """A library's way from pixels to an embedding (and to token features), as a module that owns the model."""

    def __init__(self, model: nn.Module, encode):
        super().__init__()
        self.model, self.encode = model, encode

    def forward(self, pixel_values):
        return self.encode(self.model, pixel_values)


ACTIVATIONS = {  # class name -> name in pictor.json; nn.GELU is told by its argument
    "QuickGELU": "quick-gelu", "QuickGELUActivation": "quick-gelu",
    "GELUActivation": "gelu",
    "GELUTanh": "gelu-tanh", "PytorchGELUTanh": "gelu-tanh", "NewGELUActivation": "gelu-tanh",
}


def activation(model: nn.Module) -> str | None:
    """The activation of `model`'s blocks, if there is one; None when the towers differ or use something else."""
    found = set()
    for module in model.modules():
        name = type(module).__name__
        if name == "GELU":
            found.add("gelu-tanh" if getattr(module, "approximate", "none") == "tanh" else "gelu")
        elif name in ACTIVATIONS:
            found.add(ACTIVATIONS[name])
    return found.pop() if len(found) == 1 else None
