"""Trains the matcher on the finished dual encoder, calibrates it, and writes the model folder with it.

The dual encoder stays as it is. Members are trained apart, by contrast within batches; each is kept in the cache, so that
a run which was cut short goes on, and so that several processes may train one each (`--member`).
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from blake3 import blake3

import rerank
from calibrate import choose, probability
from card import write_card
from data import cached_block12, load_split
from evaluate import report
from export import export
from features import cell_maps, token_states
from matcher import MEMBERS, Matcher, Member
from model import DualEncoder, ImageTower, TextTower, Trunk, some_cells
from rerank import K_TEST
from texts import bf16
from tokenizer import CONTEXT_LENGTH, prune, whole_words
from train import CAPTIONS, LAYERS, SEED as TOWERS_SEED, Log, Recipe, contrastive_loss

SEED = 70  # of the first member; the next one has the next


@dataclass
class MatcherRecipe:
    """The settings of a run."""

    epochs: int = 12
    batch: int = 200
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    dropout: float = 0.3
    drop_cells: float = 0.25
    drop_words: float = 0.1
    soft: float = 0.15  # share of the target that follows MiniLM caption similarity
    soft_temperature: float = 0.05
    ema: float = 0.98


def finished_towers(data, cache):
    """The dual encoder as `train.py` left it in the cache, and its tokenizer."""
    _, captions = load_split(data, "train")
    tokenizer, kept = prune([text for group in captions for text in group], whole_words(), Recipe().vocab)
    model = DualEncoder(ImageTower(Trunk()), TextTower(len(kept), LAYERS, CONTEXT_LENGTH))
    model.load_state_dict(torch.load(cache / "final.pt"))
    return model.eval().requires_grad_(False), tokenizer


def derived_cache(cache):
    """The folder for what follows from the towers in the cache; other towers, another folder."""
    folder = cache / f"matcher-{blake3((cache / 'final.pt').read_bytes()).hexdigest()[:12]}"
    folder.mkdir(exist_ok=True)
    return folder


def cached(model, tokenizer, data, split, cache, derived, log):
    """Maps of the image tower [views, N, 49, 320] and token states of the captions of `split`, kept in `derived`."""
    names, captions = load_split(data, split)
    flat = [text for group in captions for text in group]
    maps = cell_maps(model.image.trunk, lambda: cached_block12(cache / split, len(names)), derived / f"{split}-cells.pt")
    tokens = token_states(model.text, tokenizer, flat, derived / f"{split}-tokens.pt")
    log(f"{split} ready")
    return maps, tokens


def train_member(number, tower, maps, captions, sentences, recipe, log, cache):
    """The moving average of a member's weights.

    `maps` [views, N, 49, 320] of the image tower `tower`, `captions` their token states, `sentences` [N, 5, 384] MiniLM's
    unit vectors, which make the soft share of the targets.
    """
    done = cache / f"member-{number}.pt"
    average = Member().requires_grad_(False).eval()
    if done.exists():
        average.load_state_dict(torch.load(done))
        log(f"member {number} found in {done}")
        return average
    torch.manual_seed(SEED + number)
    rng = np.random.default_rng(SEED + number)
    member = Member(recipe.dropout)
    average.load_state_dict(member.state_dict())
    optimizer = torch.optim.AdamW(
        member.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, betas=(0.9, 0.98), fused=True
    )
    means = F.normalize(sentences.mean(1), dim=1)
    views, count = maps.shape[:2]
    steps, step = recipe.epochs * (count // recipe.batch), 0
    for epoch in range(recipe.epochs):
        started, losses = time.time(), []
        order = rng.permutation(count)
        for start in range(0, count - recipe.batch + 1, recipe.batch):
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * min(1.0, step / 30) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            index = order[start : start + recipe.batch]
            picks, view = rng.integers(0, CAPTIONS, len(index)), rng.integers(0, views, len(index))
            states, owner, first = captions.pick(index * CAPTIONS + picks, recipe.drop_words, rng)
            with bf16():
                cells = tower.channels(some_cells(maps[view, index], recipe.drop_cells))
                rows, weights = member.words(states, owner, first)
                scores = member(rows, weights, owner, first, member.regions(cells))
            logits = member.log_scale.exp().clamp(max=100) * scores
            loss = contrastive_loss(logits, means[index], sentences[index, picks], recipe)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(member.parameters(), 5.0)
            optimizer.step()
            losses.append(loss.item())
            decay = min(recipe.ema, step / (step + 10))
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), member.parameters()):
                    slow.lerp_(fast, 1 - decay)
        log(f"member {number} {epoch + 1}/{recipe.epochs} loss {np.mean(losses):.3f} {time.time() - started:.0f} s")
    torch.save(average.state_dict(), done)
    return average


@torch.no_grad()
def dev_scores(model, members, maps, captions, chunk=50):
    """[captions, images]: the cosine of the dual encoder, and the mean score of the members; float32 towers."""
    cells = torch.cat([model.image.channels(some.float()) for some in maps[0].split(250)])
    images = torch.cat([model.image(some.float()) for some in maps[0].split(250)])
    regions = [member.regions(cells) for member in members]
    cosines, scores = [], []
    for start in range(0, len(captions.starts) - 1, chunk):
        states, owner, first = captions.pick(np.arange(start, min(start + chunk, len(captions.starts) - 1)))
        sums = torch.zeros(int(owner[-1]) + 1, states.shape[1] // 2)
        sums.index_add_(0, owner, states[:, states.shape[1] // 2 :].float())
        cosines.append(model.text.head(sums) @ images.T)  # the head normalises: a sum does for the mean
        by_member = [m(*m.words(states, owner, first), owner, first, r) for m, r in zip(members, regions)]
        scores.append(torch.stack(by_member).mean(0))
    return torch.cat(cosines).numpy(), torch.cat(scores).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("models/pictor-mini"))
    parser.add_argument("--cache", type=Path, default=Path("models/train/cache"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--member", type=int, help="train this member alone, and write nothing but the cache")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    log, recipe = Log(), MatcherRecipe()
    model, tokenizer = finished_towers(args.data, args.cache)
    derived = derived_cache(args.cache)
    maps, captions = cached(model, tokenizer, args.data, "train", args.cache, derived, log)
    sentences = torch.load(args.cache / "train-texts.pt").unflatten(0, (-1, CAPTIONS))
    numbers = range(MEMBERS) if args.member is None else [args.member]
    members = [train_member(n, model.image, maps, captions, sentences, recipe, log, derived) for n in numbers]
    if args.member is not None:
        return
    dev_maps, dev_captions = cached(model, tokenizer, args.data, "dev", args.cache, derived, log)
    owner = np.repeat(np.arange(dev_maps.shape[1]), CAPTIONS)
    cosine, score = dev_scores(model, members, dev_maps, dev_captions)
    share, chosen = choose(cosine, score, owner, K_TEST)
    slope, offset = probability(cosine, score, owner, K_TEST)
    matcher = Matcher(members, slope, offset)
    chosen |= {"share": share, "slope": slope, "offset": offset}
    itc_weight = round(slope / share, 4)
    log(f"calibrated {json.dumps(chosen)}")

    float32 = args.cache / "float32"
    export(model, matcher, itc_weight, tokenizer, float32, int8=False)
    sizes = export(model, matcher, itc_weight, tokenizer, args.out)
    reports = {"float32": report(float32, args.data), "int8": report(args.out, args.data)}
    reranked = rerank.report(args.out, args.data)
    log(f"exported {sizes} {json.dumps(reports)} {json.dumps(reranked)}")
    towers = json.loads((args.cache / "towers.json").read_text())
    write_card(args.out, Recipe(), TOWERS_SEED, towers, reports, sizes, recipe, chosen, reranked)


if __name__ == "__main__":
    main()
