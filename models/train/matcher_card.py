"""The matcher's part of the model card."""

from dataclasses import asdict

from calibrate import SHARES
from matcher import CELLS, DIM, HIDDEN, MEMBERS

WAYS = ("text_to_image", "image_to_text")
HEADER = "R@1 | R@5 | R@10 | R@1 | R@5 | R@10 |\n"


def figures(report, when, between=" | "):
    return between.join(f"{round(value, 2):.1f}" for way in WAYS for value in report[way][when])


def lift(report):
    low, high = report["lift_95"]
    return f"{report['lift']:+.2f} ({low:+.2f} to {high:+.2f})"


def quality(reranked, chosen):
    """Figures before and after reranking."""
    names = {"flickr8k-dev": "Flickr8k dev", "coco-val2017-sample": "COCO val2017 sample"}
    stages = {"before": "dual encoder", "after": "reranked"}
    rows = "".join(
        f"| {label}, {stage} | {figures(reranked[key], when)} |\n" for key, label in names.items() for when, stage in stages.items()
    )
    lifts = "".join(
        f"| {label} | {lift(reranked[key]['text_to_image'])} | {lift(reranked[key]['image_to_text'])} |\n"
        for key, label in names.items()
    )
    some = reranked["flickr8k-dev"]
    halves = chosen["halves"]
    return f"""### Reranked

The {some['k_test']} best of the dual encoder put in order again by the matcher: `match logit + itc_weight x cosine`. Same files, same
measure (`models/train/rerank.py`).

| data | {HEADER}|---|---|---|---|---|---|---|
{rows}
Change of the mean of R@1, R@5 and R@10, in points, with its 95 % interval (paired bootstrap, images drawn with their captions):

| data | text to image | image to text |
|---|---|---|
{lifts}
**Chosen on** Flickr8k dev: the weight of the cosine, the two numbers of the calibration, and the shape of the recipe. When the
weight is chosen on one half of the images and counted on the other, the changes are {lift(halves['text_to_image'])} and
{lift(halves['image_to_text'])}. Nothing was chosen on the COCO sample.

For reference, on float32 weights: the matcher alone, all 1000 images and no cosine, {figures(chosen['alone'], 'after', ' / ')};
all 1000 reranked instead of the {some['k_test']} best, {figures(chosen['all'], 'after', ' / ')}.

**Cost.** {some['pairs_per_second']:,.0f} pairs a second on one thread of a shared machine (ONNX Runtime, batches of up to 128 candidates): about
{some['k_test'] / some['pairs_per_second'] * 1e3:.0f} ms for {some['k_test']} candidates. Features of an image are {(CELLS + 1) * MEMBERS} x {DIM} numbers, {(CELLS + 1) * DIM * MEMBERS * 2 / 1000:.1f} kB in float16.
"""


def recipe_text(recipe, chosen):
    """How it was made."""
    settings = ", ".join(f"{key} {value}" for key, value in asdict(recipe).items())
    shares = "".join(
        f"| {share} | " + " | ".join(f"{value:.1f}" for way in chosen["shares"][share] for value in way) + " |\n" for share in SHARES
    )
    return f"""## Matcher

Late interaction, computed by {MEMBERS} members that differ by their seed and are averaged. For each, every cell of the last
convolution's 7 x 7 map and every token (its states after layers 3 and 6) becomes a unit vector of {DIM} dimensions, through layer
norm and a hidden layer of {HIDDEN}. A word scores the soft maximum (log mean exp) of its cosines with the {CELLS} cells; a learned gate
weighs the words; to it comes, with a learned share, the cosine of the sentence (mean of the states) and the scene (mean of
the cells). All of that but the cosines is computed by `image.onnx` and `text.onnx` as outputs `image_features` and
`text_features`, once per image and once per text; `matcher.onnx` scores pairs. Padding changes nothing. `image_embeds` and
`text_embeds` are those of the dual encoder without a matcher, to the last bit.

- **Training.** On the finished dual encoder, which stays as it is: contrast within batches of {recipe.batch} images with one caption each,
  the same soft targets, views and moving average as above; {recipe.dropout:.0%} dropout before both layers, {recipe.drop_cells:.0%} of the cells and
  {recipe.drop_words:.0%} of the words dropped. The dual encoder's cosine is no part of the loss: on its own training images it is right
  72 % of the time (R@1 among 1000, 20 % on dev) and leaves nothing to learn.
- **Calibration.** The logit is {chosen['slope']:.3f} x score {chosen['offset']:+.3f}, a logistic fit on dev over the pairs among the best
  candidates of every caption, matches weighing as much as all others together: the probability assumes that half of what
  it sees matches.
- **Ranking** equals cosine + {chosen['share']} x mean score. Shares tried on dev (float32 weights):

| share | {HEADER}|---|---|---|---|---|---|---|
{shares}
Settings: {settings}; seeds follow one another from 70.

What else was tried on dev, one member each, changes of the mean recall in points (text to image, image to text), most of them
looked at halfway through 12 to 16 epochs: batches of images that resemble each other, so that negatives are hard, +1.7 and
+1.8 against +2.0 and +2.2 of random batches; the maps and the last convolution of MobileNetV2 as published instead of the
tuned ones, +1.5 and +0.8; the block-12 map beside the last one, +2.0 and +1.9; a sentence against the scene alone, without
words, +0.2 and +0.5. A larger member (128 dimensions, the image tower's attention pooling in the scene, 16 epochs) came to
+2.3 and +2.4, a member as shipped to +1.8 and +2.3; three of the larger ones would not fit into 24 MB.
"""
