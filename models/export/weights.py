"""Seeded random weights that make a network whose output depends on its input.

Default initialisations keep a fresh network close to a constant function (small embeddings under unit layer norms, layer
scales of 1e-5, zeroed projections), and a test of cosines between two constants proves nothing. Here every matrix is drawn
at the scale that preserves the variance of a signal, with `GAIN` above it, and everything that a default starts at 0, 1 or 1e-5 is drawn
around a value that lets the signal through. Batch norms get the statistics of what really passes through them.
"""

import math
import re

import torch
from torch import nn

GAIN = 1.4  # of matrices over 1/sqrt(fan in): at 1.0 pooled outputs of different photographs still have cosines near 0.99
BRANCH = 0.25  # of the last matrix of a residual branch in BERT's blocks, over the others: see `randomize`
SPREAD = 0.1  # standard deviation of gains around 1, and of biases around 0
SCALE = 0.5  # around which layer scales are drawn
BRANCH_END = re.compile(r"\boutput(_query)?\.dense\.weight$")
LOGITS = ("logit_scale", "logit_bias")  # scores only; left alone


def randomize(model: nn.Module, seed: int) -> None:
    """Draws every parameter of `model` anew; the same seed gives the same weights.

    BERT's blocks normalise after the sum, so that a branch as strong as its input halves what the input said, three times a layer.
    Under cross-attention, whose answer is nearly the same for every query, nothing was left of the text after twelve layers: BLIP's ITM
    logits then differed by 3e-4 between texts and by 3e-4 with and without `[ENC]`, and agreement to 1e-3 proved nothing.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor, mean, std):
        tensor.copy_(torch.empty(tensor.shape).normal_(mean, std, generator=generator))

    norms = (nn.LayerNorm, nn.BatchNorm2d, nn.GroupNorm)
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    gains = {id(m.weight) for m in model.modules() if isinstance(m, norms) and m.weight is not None}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            leaf = name.rsplit(".", 1)[-1]
            if leaf in LOGITS:
                continue
            if id(parameter) in gains:
                normal(parameter, 1.0, SPREAD)
            elif leaf in ("gamma", "layer_scale", "ls"):
                normal(parameter, SCALE, SPREAD)
            elif id(parameter) in embeddings:
                normal(parameter, 0.0, 1.0)
            elif "bias" in leaf or parameter.ndim < 2:
                normal(parameter, 0.0, SPREAD)
            elif any(part in leaf for part in ("embed", "token", "query", "probe", "latent")):
                normal(parameter, 0.0, SCALE)
            elif "proj" == leaf or leaf == "text_projection":  # stored [in, out]
                normal(parameter, 0.0, GAIN / math.sqrt(parameter.shape[0]))
            else:
                branch = BRANCH if BRANCH_END.search(name) else 1.0
                normal(parameter, 0.0, branch * GAIN / math.sqrt(parameter[0].numel()))


def settle(vision: nn.Module, pixels: torch.Tensor) -> None:
    """Sets batch-norm statistics of a vision tower to those of `pixels`, layer after layer, as training would have.

    With drawn statistics the dozens of residual sums of a convolutional network grow its signal to 1e16, and float32 fails.
    """
    norms = [module for module in vision.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    vision.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        vision(pixels)
    for norm, momentum in zip(norms, momenta):
        norm.eval()
        norm.momentum = momentum
