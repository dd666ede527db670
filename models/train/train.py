"""Trains the towers of pictor-mini: cache, frozen stage, fine-tuned stages, averaging. `train_matcher.py` goes on from there."""

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from data import VIEWS, cache_maps, in_memory, load_split, mobilenet_session
from evaluate import recall
from model import DualEncoder, FIRST_UPPER, ImageTower, TextTower, Trunk
from texts import Tokens, bf16, sentence_vectors
from tokenizer import CONTEXT_LENGTH, minilm_folder, prune, whole_words

SEED = 7
LAYERS = 6  # of MiniLM: all of them
FIRST_TRAINED = 3  # layers 3-5 are trained in the text stage
CAPTIONS = 5  # per image
STAGES = ("frozen", "tuned", "text")
# shares of the stages tried for the average
SHARES = ((1.0, 0.0, 0.0), (0.6, 0.4, 0.0), (0.5, 0.0, 0.5), (0.4, 0.3, 0.3), (0.2, 0.5, 0.3), (0.2, 0.3, 0.5))
SCORED_EVERY = 2  # epochs between two looks at dev


@dataclass
class Recipe:
    """The settings of a run."""

    vocab: int = 10000
    batch: int = 400
    frozen_epochs: int = 24
    tuned_epochs: int = 4
    text_epochs: int = 3
    lr_head: float = 1.5e-3
    lr_conv: float = 1e-4
    lr_text: float = 1e-4
    tuned_scale: float = 0.4  # learning rate of the heads after the first stage, relative to it
    weight_decay: float = 0.05
    soft: float = 0.15  # share of the target that follows MiniLM caption similarity
    soft_temperature: float = 0.05
    drop_cells: float = 0.25
    drop_text: float = 0.2
    drop_words: float = 0.1
    ema: float = 0.98


class Log:
    """Prints lines with the minutes since the start."""

    def __init__(self):
        self.start = time.time()

    def __call__(self, text):
        print(f"[{(time.time() - self.start) / 60:6.2f} min] {text}", flush=True)


@torch.no_grad()
def evaluate(model, texts, tokens, maps, stage):
    """Dev recall of the torch model (bfloat16 arithmetic; the exported files are measured separately).

    `stage` says what has left its pretrained weights: cached vectors and maps stand for the rest.
    """
    model.eval()
    count = maps["block16"].shape[1]
    with bf16():
        chunks = torch.arange(count).split(200)
        deep = stage in ("tuned", "final")
        images = torch.cat([image_batch(model, maps, torch.zeros_like(c), c, deep) for c in chunks])
        if stage in ("text", "final"):
            texts = tokens.pooled(model.text, np.arange(len(texts)), groups=len(texts) // 200)
        vectors = model.text.head(texts)
    model.train()
    return recall(images.numpy(), vectors.numpy(), np.repeat(np.arange(count), CAPTIONS))


def image_batch(model, maps, views, index, tuned, drop_cells=0.0):
    """Embeds cached maps; the second stage starts from block 12, the first from block 16."""
    if not tuned:
        return model.image(maps["block16"][views, index], drop_cells)
    block12 = maps["block12"][views, index].permute(0, 3, 1, 2)  # channels last in memory
    return model.image(model.image.trunk.upper(block12).flatten(2).transpose(1, 2), drop_cells)


def contrastive_loss(logits, own_images, own_texts, recipe):
    """Symmetric InfoNCE of the scores [texts, images] of images and their texts, all texts of an image positive.

    A share of the targets is soft: the softmax of the similarity of captions, `own_texts` to `own_images` (the mean
    caption of each image), both as MiniLM sees them.
    """
    texts, images = logits.shape
    each = texts // images
    hard = F.one_hot(torch.arange(images).repeat_interleave(each)).float()
    soft = own_texts @ own_images.T / recipe.soft_temperature
    to_image = (1 - recipe.soft) * hard + recipe.soft * soft.softmax(1)
    to_text = (1 - recipe.soft) * hard.T / each + recipe.soft * soft.T.softmax(1)
    loss = -(to_image * logits.log_softmax(1)).sum(1).mean() - (to_text * logits.T.log_softmax(1)).sum(1).mean()
    return loss / 2


def parameter_groups(model, recipe, stage):
    """Heads, convolutions and text layers, each with its peak learning rate; what a stage trains gets gradients."""
    trunk = [model.image.trunk.last]
    if stage == "tuned":
        trunk.append(model.image.trunk.blocks[FIRST_UPPER:])
    conv = [p for module in trunk for p in module.requires_grad_(True).parameters()]
    upper = model.text.layers[FIRST_TRAINED:] if stage == "text" else []
    body = [p for layer in upper for p in layer.requires_grad_(True).parameters()]
    taken = {id(p) for p in conv + body}
    head = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    scale = 1.0 if stage == "frozen" else recipe.tuned_scale
    rates = ((head, recipe.lr_head * scale), (conv, recipe.lr_conv), (body, recipe.lr_text))
    return [{"params": params, "lr": rate, "peak": rate} for params, rate in rates if params]


def run_stage(name, model, train, dev, recipe, epochs, log, cache):
    """Trains for `epochs`; returns the moving average of the weights and the curve.

    Both are kept in `cache`, after each epoch and at the end; a stage that is complete there is not trained again.
    """
    average = copy.deepcopy(model).requires_grad_(False)
    done = cache / f"{name}.pt"
    if done.exists():
        saved = torch.load(done)
        average.load_state_dict(saved["weights"])
        log(f"{name} stage found in {done}")
        return average, saved["curve"]
    texts, tokens, maps = train
    tuned, textual = name == "tuned", name == "text"
    rng = np.random.default_rng([SEED, STAGES.index(name)])
    torch.manual_seed(SEED + STAGES.index(name))
    groups = parameter_groups(model, recipe, name)
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, betas=(0.9, 0.98), fused=True)
    views, count = maps["block16"].shape[:2]
    steps, step, seconds, curve = epochs * (count // recipe.batch), 0, 0.0, []
    texts = texts.view(count, CAPTIONS, -1)
    means = F.normalize(texts.mean(1), dim=1)
    model.train()
    for epoch in range(epochs):
        started, losses = time.time(), []
        order = rng.permutation(count)
        for start in range(0, count - recipe.batch + 1, recipe.batch):
            step += 1
            warm = min(1.0, step / 30) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * warm
            index = torch.from_numpy(order[start : start + recipe.batch])
            chosen = torch.from_numpy(rng.integers(0, views, len(index)))
            captions = texts[index].flatten(0, 1)
            if textual:
                picks = rng.integers(0, CAPTIONS, len(index))
                captions = texts[index, picks]
            with bf16():
                images = image_batch(model, maps, chosen, index, tuned, recipe.drop_cells)
                pooled = captions
                if textual:
                    pooled = tokens.pooled(model.text, index.numpy() * CAPTIONS + picks, recipe.drop_words, rng)
                vectors = model.text.head(pooled, recipe.drop_text)
            scale = model.log_scale.exp().clamp(max=100)
            loss = contrastive_loss(scale * vectors @ images.T, means[index], captions, recipe)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            losses.append(loss.item())
            decay = min(recipe.ema, step / (step + 10))
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), model.parameters()):
                    if fast.requires_grad:
                        slow.lerp_(fast, 1 - decay)
        log(f"{name} {epoch + 1}/{epochs} loss {np.mean(losses):.3f} scale {scale.item():.1f} "
            f"{time.time() - started:.0f} s")
        seconds += time.time() - started
        if (epochs - epoch - 1) % SCORED_EVERY == 0:
            scores = evaluate(average, *dev, name)
            curve.append({"stage": name, "epoch": epoch + 1, "loss": float(np.mean(losses)), "seconds": seconds, **scores})
            t, i = scores["text_to_image"], scores["image_to_text"]
            log(f"{name} {epoch + 1}/{epochs} dev t2i {list(t.values())} i2t {list(i.values())}")
            torch.save({"weights": average.state_dict(), "curve": curve}, cache / f"{name}.epoch.pt")
    (cache / f"{name}.epoch.pt").rename(done)
    return average, curve


def blend(models, shares):
    """A model whose weights are the mean of those of `models`, weighted by `shares` (which sum to 1)."""
    mixed = copy.deepcopy(models[0])
    with torch.no_grad():
        for ours, *others in zip(mixed.parameters(), *(model.parameters() for model in models)):
            ours.copy_(sum(share * other for share, other in zip(shares, others)))
    return mixed


def choose_blend(models, dev, log):
    """The shares of the stages with the best mean R@10 on dev, and the scores of all shares tried."""
    curve = []
    for shares in SHARES:
        scores = evaluate(blend(models, shares), *dev, "final")
        t, i = scores["text_to_image"], scores["image_to_text"]
        log(f"blend {shares} t2i {list(t.values())} i2t {list(i.values())}")
        curve.append({"shares": shares, **scores})
    best = max(curve, key=lambda row: row["text_to_image"]["R@10"] + row["image_to_text"]["R@10"])
    return best["shares"], curve


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("models/train/cache"), help="2 GB of feature maps")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    log, recipe = Log(), Recipe()
    args.cache.mkdir(parents=True, exist_ok=True)

    names, captions = load_split(args.data, "train")
    dev_names, dev_captions = load_split(args.data, "dev")
    images = args.data / "flickr8k" / "images"
    keras = args.data / "mobilenet_v2" / "mobilenetv2_float32.onnx"
    mobilenet = mobilenet_session(keras, args.threads)
    maps = in_memory(cache_maps(mobilenet, [images / n for n in names], VIEWS, args.cache / "train", SEED, log))
    dev_maps = in_memory(cache_maps(mobilenet, [images / n for n in dev_names], 1, args.cache / "dev", SEED, log))
    flat = [text for group in captions for text in group]
    dev_flat = [text for group in dev_captions for text in group]
    tokenizer, kept = prune(flat, whole_words(), recipe.vocab)
    torch.manual_seed(SEED)
    text = TextTower.from_minilm(minilm_folder(), kept, LAYERS, CONTEXT_LENGTH)
    train = (sentence_vectors(text, tokenizer, flat, args.cache / "train-texts.pt"), Tokens(tokenizer, flat), maps)
    dev = (sentence_vectors(text, tokenizer, dev_flat, args.cache / "dev-texts.pt"), Tokens(tokenizer, dev_flat), dev_maps)
    model = DualEncoder(ImageTower(Trunk.from_onnx(keras)), text)
    log("data ready")

    frozen, curve = run_stage("frozen", model, train, dev, recipe, recipe.frozen_epochs, log, args.cache)
    models = [frozen]
    for name, epochs in (("tuned", recipe.tuned_epochs), ("text", recipe.text_epochs)):
        branch = copy.deepcopy(model)  # both start from the first stage, with its settings of what is trained
        branch.load_state_dict(frozen.state_dict())
        average, more = run_stage(name, branch, train, dev, recipe, epochs, log, args.cache)
        models.append(average)
        curve += more
    shares, blends = choose_blend(models, dev, log)
    final = blend(models, shares)
    torch.save(final.state_dict(), args.cache / "final.pt")
    about = {"curve": curve, "shares": shares, "blends": blends}
    (args.cache / "towers.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main()
