"""Trains pictor-mini and writes the model folder: cache, frozen stage, fine-tuned stage, averaging, export."""

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

from card import write_card
from data import VIEWS, cache_maps, load_split, mobilenet_session
from evaluate import recall, report
from export import export
from model import DualEncoder, ImageTower, TextTower, Trunk
from states import States, bf16
from tokenizer import CONTEXT_LENGTH, full_tokenizer, minilm_folder, prune, whole_words

SEED = 7


@dataclass
class Recipe:
    """The settings of a run."""

    vocab: int = 12000
    layers: int = 6
    batch: int = 400
    texts: int = 1  # captions per image and step
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


class Log:
    def __init__(self):
        self.start = time.time()

    def __call__(self, text):
        print(f"[{(time.time() - self.start) / 60:6.2f} min] {text}", flush=True)


def teach(captions, cache):
    """(captions as states, their MiniLM sentence vectors [N * 5, 384], whole words nearest to the captions first).

    The vectors give the soft targets; the order of the words fills up the pruned vocabulary with words that
    captions of photographs are likely to use. Nearness is the mean cosine to the ten nearest captions.
    """
    if not cache.exists():
        tokenizer, words = full_tokenizer(), whole_words()
        everything = list(range(tokenizer.get_vocab_size()))
        teacher = TextTower.from_minilm(minilm_folder(), everything, 6, CONTEXT_LENGTH).eval()
        states = States(tokenizer, teacher, captions)
        vectors = F.normalize(states.embed_all(teacher.pooled), dim=1)
        word_vectors = F.normalize(States(tokenizer, teacher, words).embed_all(teacher.pooled), dim=1)
        near = (word_vectors @ vectors[::5].T).topk(10, dim=1).values.mean(1)
        torch.save((states, vectors, [words[i] for i in near.argsort(descending=True)]), cache)
    return torch.load(cache, weights_only=False)


@torch.no_grad()
def evaluate(model, texts, maps, tuned):
    """Dev recall of the torch model (bfloat16 arithmetic; the exported files are measured separately)."""
    model.eval()
    count = len(maps["block16"][0])
    with bf16():
        chunks = np.array_split(np.arange(count), count // 200)
        images = torch.cat([image_batch(model, maps, np.zeros_like(c), c, tuned) for c in chunks])
    vectors = texts.embed_all(model.text)
    model.train()
    return recall(images.numpy(), vectors.numpy(), np.repeat(np.arange(count), 5))


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
    for module in (text.tokens, text.positions, text.norm, *text.layers[: text.FROZEN]):
        module.requires_grad_(False)
    body = [p for n, p in text.named_parameters() if not n.startswith("out.") and p.requires_grad]
    taken = {id(p) for p in conv + body}
    head = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    pairs = ((head, recipe.lr_head), (body, recipe.lr_text), (conv, recipe.lr_conv))
    return [{"params": params, "lr": lr * scale, "peak": lr * scale} for params, lr in pairs]


def run_stage(name, model, train, dev, recipe, epochs, tuned, log, curve, cache):
    """Trains in place for `epochs` and returns the exponential moving average of the weights, saved after each."""
    texts, maps, teacher = train
    rng = np.random.default_rng([SEED, int(tuned)])
    torch.manual_seed(SEED + int(tuned))
    groups = parameter_groups(model, recipe, recipe.tuned_scale if tuned else 1.0, tuned)
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    count = len(maps["block16"][0])
    steps, step = epochs * (count // recipe.batch), 0
    average = copy.deepcopy(model).requires_grad_(False)
    teacher_image = F.normalize(teacher.view(count, 5, -1).mean(1), dim=1)
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
            rows = (index[:, None] * 5 + picks).ravel()
            views = rng.integers(0, len(maps["block16"]), len(index))
            with bf16():
                images = image_batch(model, maps, views, index, tuned, recipe.drop_cells)
                vectors = texts.embed(model.text, rows, recipe.drop_tokens, rng)
            scale = model.log_scale.exp().clamp(max=100)
            loss = contrastive_loss(images, vectors, scale, teacher_image[index], teacher[rows], recipe)
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
        torch.save(average.state_dict(), cache / f"{name}.pt")
        seconds = time.time() - started
        curve.append({"stage": name, "epoch": epoch + 1, "loss": float(np.mean(losses)), "seconds": seconds, **scores})
        t, i = scores["text_to_image"], scores["image_to_text"]
        log(f"{name} {epoch + 1}/{epochs} loss {np.mean(losses):.3f} t2i {list(t.values())} i2t {list(i.values())} "
            f"scale {model.log_scale.exp().item():.1f} {seconds:.0f} s")
    return average


def blend(first, second, share):
    """A model whose weights are (1 - share) * first + share * second."""
    mixed = copy.deepcopy(first)
    with torch.no_grad():
        for ours, other in zip(mixed.parameters(), second.parameters()):
            ours.lerp_(other, share)
    return mixed


def choose_blend(frozen, tuned, dev, log):
    """The share of the fine-tuned weights with the best mean R@10 on dev, out of eleven."""
    curve = []
    for share in np.linspace(0, 1, 11):
        scores = evaluate(blend(frozen, tuned, float(share)), *dev, tuned=True)
        t, i = scores["text_to_image"], scores["image_to_text"]
        log(f"blend {share:.1f} t2i {list(t.values())} i2t {list(i.values())}")
        curve.append({"share": round(float(share), 1), **scores})
    best = max(curve, key=lambda row: row["text_to_image"]["R@10"] + row["image_to_text"]["R@10"])
    return best["share"], curve


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("models/pictor-mini"))
    parser.add_argument("--cache", type=Path, default=Path("models/train/cache"), help="6 GB of feature maps")
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
    maps = cache_maps(mobilenet, [images / n for n in names], VIEWS, args.cache / "train", SEED, log)
    dev_maps = cache_maps(mobilenet, [images / n for n in dev_names], 1, args.cache / "dev", SEED, log)
    flat = [text for group in captions for text in group]
    states, vectors, words = teach(flat, args.cache / "teacher.pt")
    tokenizer, kept = prune(flat, words, recipe.vocab)
    torch.manual_seed(SEED)
    text = TextTower.from_minilm(minilm_folder(), kept, recipe.layers, CONTEXT_LENGTH)
    model = DualEncoder(ImageTower(Trunk.from_onnx(keras)), text)
    dev_states = States(tokenizer, text, [text for group in dev_captions for text in group])
    train, dev = (states, maps, vectors), (dev_states, dev_maps)
    log("data ready")
    curve = []
    frozen = run_stage("frozen", model, train, dev, recipe, recipe.frozen_epochs, False, log, curve, args.cache)
    model = copy.deepcopy(frozen).requires_grad_(True)
    model.image.trunk.requires_grad_(False)
    tuned = run_stage("tuned", model, train, dev, recipe, recipe.tuned_epochs, True, log, curve, args.cache)
    share, blends = choose_blend(frozen, tuned, dev, log)
    final = blend(frozen, tuned, share)
    torch.save(final.state_dict(), args.cache / "final.pt")

    export(final, tokenizer, args.cache / "float32", int8=False)
    sizes = export(final, tokenizer, args.out)
    reports = {"float32": report(args.cache / "float32", args.data), "int8": report(args.out, args.data)}
    log(f"exported {sizes} {json.dumps(reports)}")
    write_card(args.out, recipe, curve, share, blends, reports, sizes, (time.time() - log.start) / 60)


if __name__ == "__main__":
    main()
