"""Trains pictor-mini and writes the model folder: cache, frozen stage, fine-tuned stage, averaging, export."""

import argparse
import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from data import VIEWS, cache_maps, load_split, mobilenet_session
from evaluate import pad, recall
from model import DualEncoder, ImageTower, TextTower, Trunk
from tokenizer import CONTEXT_LENGTH, encode, minilm_folder, prune

SEED = 7


@dataclass
class Recipe:
    """What the experiments vary; the defaults are what was shipped."""

    vocab: int = 10000
    layers: int = 6
    batch: int = 400
    texts: int = 2  # captions per image and step
    frozen_epochs: int = 24
    tuned_epochs: int = 10
    lr_head: float = 1.5e-3
    lr_text: float = 2e-4
    lr_conv: float = 1e-4
    tuned_scale: float = 0.3  # learning rates of the second stage relative to the first
    weight_decay: float = 0.05
    soft: float = 0.2  # share of the target that follows MiniLM caption similarity
    soft_temperature: float = 0.05
    drop_cells: float = 0.25
    drop_tokens: float = 0.1
    ema: float = 0.98
    freeze_layers: int = 0


class Log:
    def __init__(self):
        self.start = time.time()

    def __call__(self, text):
        print(f"[{(time.time() - self.start) / 60:6.2f} min] {text}", flush=True)


class Texts:
    """Tokenised captions [N][5] and batches of them in a few groups of similar length, to pad little."""

    def __init__(self, tokenizer, captions):
        self.rows = [[encode(tokenizer, text) for text in group] for group in captions]

    def embed(self, tower, rows, groups=4):
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        parts = []
        for chunk in np.array_split(order, groups):
            ids, mask = pad([rows[i] for i in chunk])
            parts.append(tower(torch.from_numpy(ids), torch.from_numpy(mask)))
        return torch.cat(parts)[torch.from_numpy(np.argsort(order))]


def drop_tokens(row, share, rng):
    """Drops each inner token with probability `share`; [CLS] and [SEP] stay."""
    keep = rng.random(len(row)) >= share
    keep[0] = keep[-1] = True
    return [token for token, k in zip(row, keep) if k]


def bf16():
    return torch.autocast("cpu", torch.bfloat16)


@torch.no_grad()
def caption_vectors(texts, kept, cache):
    """Unit MiniLM sentence embeddings of all captions, [N, 5, 384]: the teacher of the soft targets."""
    if not cache.exists():
        tower = TextTower.from_minilm(minilm_folder(), kept, 6, CONTEXT_LENGTH).eval()
        flat = [row for group in texts.rows for row in group]
        with bf16():
            parts = [texts.embed(tower.pooled, flat[i : i + 1000], 8) for i in range(0, len(flat), 1000)]
        np.save(cache, F.normalize(torch.cat(parts), dim=1).numpy())
    return torch.from_numpy(np.load(cache)).view(len(texts.rows), 5, -1)


@torch.no_grad()
def evaluate(model, texts, maps, tuned):
    """Dev recall of the torch model (bfloat16 arithmetic; the exported files are measured separately)."""
    model.eval()
    images = []
    with bf16():
        for start in range(0, len(texts.rows), 200):
            images.append(image_batch(model, maps, np.zeros(200, int), np.arange(start, start + 200), tuned))
        flat = [row for group in texts.rows for row in group]
        vectors = torch.cat([texts.embed(model.text, flat[i : i + 1000]) for i in range(0, len(flat), 1000)])
    model.train()
    return recall(torch.cat(images).numpy(), vectors.numpy(), np.repeat(np.arange(len(texts.rows)), 5))


def image_batch(model, maps, views, index, tuned, drop_cells=0.0):
    """Embeds cached maps; the second stage starts from block 12, the first from block 16."""
    source = maps["block12" if tuned else "block16"]
    batch = torch.from_numpy(np.stack([source[v][i] for v, i in zip(views, index)])).float()
    if tuned:
        batch = model.image.trunk.upper(batch.contiguous(memory_format=torch.channels_last))
    return model.image(batch, drop_cells)


def contrastive_loss(images, vectors, scale, teacher_images, teacher_texts, recipe):
    """Symmetric InfoNCE with every caption of an image positive, mixed with soft caption-similarity targets."""
    logits = scale * vectors @ images.T  # [T, B]
    owner = torch.arange(len(images)).repeat_interleave(len(vectors) // len(images))
    hard = F.one_hot(owner, len(images)).float()
    soft = teacher_texts @ teacher_images.T / recipe.soft_temperature
    to_image = (1 - recipe.soft) * hard + recipe.soft * soft.softmax(1)
    to_text = (1 - recipe.soft) * hard.T / hard.sum(0)[:, None] + recipe.soft * soft.T.softmax(1)
    loss = -(to_image * logits.log_softmax(1)).sum(1).mean() - (to_text * logits.T.log_softmax(1)).sum(1).mean()
    return loss / 2


def parameter_groups(model, recipe, scale, tuned):
    trunk = [model.image.trunk.last]
    if tuned:
        trunk.append(model.image.trunk.blocks[13:])
    conv = [p for module in trunk for p in module.requires_grad_(True).parameters()]
    text = model.text
    frozen = [text.tokens, text.positions, text.norm] + list(text.layers[: recipe.freeze_layers])
    if recipe.freeze_layers:
        for module in frozen:
            module.requires_grad_(False)
    body = [p for n, p in text.named_parameters() if not n.startswith("out.") and p.requires_grad]
    taken = {id(p) for p in conv + body}
    head = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    pairs = ((head, recipe.lr_head), (body, recipe.lr_text), (conv, recipe.lr_conv))
    return [{"params": params, "lr": lr * scale, "peak": lr * scale} for params, lr in pairs]


def run_stage(name, model, train, dev, recipe, epochs, tuned, log, curve):
    """Trains in place for `epochs` and returns the exponential moving average of the weights."""
    texts, maps, teacher = train
    rng = np.random.default_rng([SEED, int(tuned)])
    torch.manual_seed(SEED + int(tuned))
    groups = parameter_groups(model, recipe, recipe.tuned_scale if tuned else 1.0, tuned)
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    count = len(texts.rows)
    steps, step = epochs * (count // recipe.batch), 0
    average = copy.deepcopy(model).requires_grad_(False)
    teacher_image = F.normalize(teacher.mean(1), dim=1)
    model.train()
    for epoch in range(epochs):
        started, losses = time.time(), []
        order = rng.permutation(count)
        for start in range(0, count - recipe.batch + 1, recipe.batch):
            step += 1
            warm = min(1.0, step / 30) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * warm
            index = np.sort(order[start : start + recipe.batch])
            picks = np.array([rng.permutation(5)[: recipe.texts] for _ in index])
            rows = [drop_tokens(texts.rows[i][c], recipe.drop_tokens, rng) for i, p in zip(index, picks) for c in p]
            views = rng.integers(0, len(maps["block16"]), len(index))
            with bf16():
                images = image_batch(model, maps, views, index, tuned, recipe.drop_cells)
                vectors = texts.embed(model.text, rows)
            teacher_texts = teacher[index[:, None], picks].flatten(0, 1)
            scale = model.log_scale.exp().clamp(max=100)
            loss = contrastive_loss(images, vectors, scale, teacher_image[index], teacher_texts, recipe)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            losses.append(loss.item())
            decay = min(recipe.ema, step / (step + 10))
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), model.parameters()):
                    slow.lerp_(fast, 1 - decay)
        scores = evaluate(average, *dev, tuned)
        seconds = time.time() - started
        curve.append({"stage": name, "epoch": epoch + 1, "loss": float(np.mean(losses)), "seconds": seconds, **scores})
        t, i = scores["text_to_image"], scores["image_to_text"]
        log(f"{name} {epoch + 1}/{epochs} loss {np.mean(losses):.3f} t2i {list(t.values())} i2t {list(i.values())} "
            f"scale {model.log_scale.exp().item():.1f} {seconds:.0f} s")
    return average
