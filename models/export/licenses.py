"""Licences of published weights, by where they come from; `--license` overrides and is asked for when none is known."""

RANDOM = "none: random weights, for tests"

# What a pretrained tag or repository begins with, and the licence its model card states.
OPEN_CLIP = {
    "openai": "MIT", "laion": "MIT", "datacomp": "MIT", "commonpool": "MIT",
    "metaclip": "CC-BY-NC-4.0", "dfn": "Apple Machine Learning Research Model License (apple-amlr): research only",
    "webli": "Apache-2.0",
}
APPLE_MODELS = ("MobileCLIP",)
APPLE = "Apple Machine Learning Research Model License (apple-amlr): research only"
TRANSFORMERS = {
    "openai/clip": "MIT", "laion/": "MIT", "google/siglip": "Apache-2.0",
    "Salesforce/blip-": "BSD-3-Clause", "Salesforce/blip2": "MIT", "facebook/metaclip": "CC-BY-NC-4.0",
}


def open_clip(model: str, tag: str) -> str | None:
    if model.startswith(APPLE_MODELS):
        return APPLE
    return next((name for start, name in OPEN_CLIP.items() if tag.startswith(start)), None)


def transformers(repository: str) -> str | None:
    return next((name for start, name in TRANSFORMERS.items() if repository.startswith(start)), None)
