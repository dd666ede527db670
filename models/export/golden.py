"""Golden pairs: hard inputs and what the reference library makes of them, for `pictor model verify`."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bundle import Bundle, unit
from manifest import write_json
from pictures import pictures

FILE = "golden.json"
FOLDER = "golden"
DIGITS = 7  # decimals of an embedding: f32's own precision
MATCHED = 4, 8  # images, and texts, of which a matcher scores every pair

TEXTS = [
    "a photo of a dog running through fresh snow",
    "Two CHILDREN, playing on a swing-set: isn't it fun?!",
    "",
    "  \t leading,\n\n  inner   and trailing white space \u00a0 ",
    "caf\u00e9 cafe\u0301 na\u00efve \u2014 \u201cquoted\u201d \ufb01ne \u017f \u0130stanbul STRASSE stra\u00dfe",
    "schÃ¶n â€” text decoded twice",  # mojibake, which ftfy repairs
    "fish &amp; chips &amp;lt;b&amp;gt; &eacute; &#128054;",
    "\u5317\u4eac\u306e\u732b\u3068\u72ac \u0441\u043e\u0431\u0430\u043a\u0430 \u0643\u0644\u0628 \ud55c\uad6d\uc5b4",
    "party \U0001f389\U0001f389 family \U0001f468\u200d\U0001f469\u200d\U0001f467 flag \U0001f1f3\U0001f1f1",
    "snake_case under_scores 3.14159 1,234,567 #hashtag @user http://a.b/c?d=e",
    "unquestionably antidisestablishmentarianism " + "x" * 120,
    " ".join(f"dog number {i}" for i in range(170)),  # longer than any context
]


def rounded(vector) -> list[float]:
    return [round(float(value), DIGITS) for value in unit(vector)]


def write(bundle: Bundle, folder: Path, select: Callable[[str], bool] = lambda name: True, texts: list[str] = TEXTS) -> dict:
    """Writes golden.json and golden/ of `bundle` into the model folder; returns what golden.json holds."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    images = []
    chosen = {name: content for name, content in pictures().items() if select(name)}
    for name, content in chosen.items():
        (folder / FOLDER / name).write_bytes(content)
        raster = f"{FOLDER}/{Path(name).stem}.raster.png"
        image = Image.open(io.BytesIO(content))
        Image.fromarray(bundle.raster(image)).save(folder / raster, optimize=True)
        embedding = rounded(bundle.reference_image(Image.open(io.BytesIO(content))))
        images.append({"file": f"{FOLDER}/{name}", "raster": raster, "embedding": embedding})
    golden = {
        "reference": bundle.reference,
        "images": images,
        "texts": [{"text": text, "ids": bundle.ids(text), "embedding": rounded(bundle.reference_text(text))} for text in texts],
    }
    if bundle.matcher is not None:
        golden["matches"] = [match for image in images[: MATCHED[0]] for match in matches(bundle, folder, image["file"], texts[: MATCHED[1]])]
    write_json(folder / FILE, golden)
    return golden


def matches(bundle: Bundle, folder: Path, image: str, texts: list[str]) -> list[dict]:
    logits, cosines = bundle.matcher.reference(Image.open(folder / image), texts)
    return [
        {"image": image, "text": text, "itm_logit": round(logit, DIGITS), "itc_cosine": round(cosine, DIGITS)}
        for text, logit, cosine in zip(texts, logits, cosines)
    ]
