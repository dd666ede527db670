"""open_clip models: `open_clip:NAME`, `open_clip:NAME/TAG`, `open_clip:hf-hub:ORG/REPO`, `open_clip:local-dir:FOLDER`."""

import importlib.metadata
import io
import warnings

import numpy as np
import open_clip
import timm.layers
import torch
from PIL import Image
from timm.utils.model import reparameterize_model

import licenses
import tokenizer
import towers
import weights
from bundle import Bundle
from pictures import pictures

def load(
    spec: str, seed: int | None = None, tokenizer_folder: str | None = None,
    config: dict | None = None, tokenizer_=None, preprocess_cfg: dict | None = None,
) -> Bundle:
    """`spec` without its `open_clip:`; `seed` for random weights; the rest in place of what the library has of the name (tests)."""
    # Both choose fused kernels that do not export; what they compute is the same.
    torch.backends.mha.set_fastpath_enabled(False)
    timm.layers.set_fused_attn(False)
    name, tag = split(spec)
    if config is not None:
        open_clip.factory._MODEL_CONFIGS[name] = config
    model = create(name, tag, seed, preprocess_cfg).eval().requires_grad_(False)
    tokenize = Tokenize(tokenizer_ or text_tokenizer(name, model, tokenizer_folder))
    text = getattr(model, "text", model)  # `CLIP` holds the text tower's parts itself, `CustomTextCLIP` in `text`
    if text is model:
        tower = towers.ClipText(model, model.text_pool_type, model.text_eos_id)
    else:
        tower = towers.ClipText(text, text.pool_type, text.eos_id)
    steps = transform(model).transforms
    assert [type(step).__name__ for step in steps[-2:]] == ["MaybeToTensor", "Normalize"], steps

    def raster(image):
        for step in steps[:-2]:
            image = step(image)
        return np.asarray(image)

    def reference_image(image):
        for step in steps:
            image = step(image)
        with torch.no_grad():
            return model.encode_image(image[None])[0].numpy()

    def reference_text(text):
        with torch.no_grad():
            return model.encode_text(torch.from_numpy(np.asarray(tokenize(text, padded=True))))[0].numpy()

    versions = {"torch": torch.__version__.split("+")[0], "Pillow": importlib.metadata.version("pillow")}
    return Bundle(
        name="-".join(filter(None, [name.split("/")[-1].removeprefix("local-dir:"), tag])),
        family="open-clip",
        source=" ".join(filter(None, ["open_clip", name, tag, None if seed is None else f"architecture, random weights of seed {seed}"])),
        reference=f"open_clip {open_clip.__version__}, " + ", ".join(f"{k} {v}" for k, v in versions.items()),
        license=licenses.RANDOM if seed is not None else licenses.open_clip(name, tag or ""),
        dim=len(reference_text("a")),
        activation=towers.activation(model),
        preprocess=preprocess(model.visual.preprocess_cfg),
        clean=tokenizer.clean_recipe(tokenize.tokenizer),
        context_length=model.context_length,
        pad_id=tokenize.pad_id,
        tokenizer_json=tokenizer.open_clip_tokenizer_json(tokenize.tokenizer),
        image_tower=towers.ImageTower(fused(model), type(model).encode_image),
        text_tower=tower,
        text_mask=False,
        any_length=tower.causal,
        raster=raster,
        ids=lambda text: tokenize(text, padded=False),
        reference_image=reference_image,
        reference_text=reference_text,
    )


def transform(model):
    """The model's own way from a PIL image to the tensor it takes, as `create_model_and_transforms` gives it for validation."""
    return open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)


def fused(model):
    """MobileCLIP trains with parallel branches of convolutions and runs with their sum; other models as they are.

    A copy, since the reference runs what was trained.
    """
    branches = ("reparameterize", "fuse", "switch_to_deploy")
    if not any(hasattr(module, name) for module in model.modules() for name in branches):
        return model
    return reparameterize_model(model)


def split(spec: str) -> tuple[str, str | None]:
    """Model name and pretrained tag; names with a schema carry no tag."""
    if spec.startswith(("hf-hub:", "local-dir:")):
        return spec, None
    name, _, tag = spec.partition("/")
    return name, tag or None


def create(name: str, tag: str | None, seed: int | None, preprocess_cfg: dict | None = None):
    known = (open_clip.get_pretrained_cfg(name, tag) or {}) if tag else {}
    if tag and not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise SystemExit(f"open_clip has no weights '{tag}' of '{name}' (it has: {tags})")
    with warnings.catch_warnings():
        # GELU weights in a QuickGELU model run and are quietly worse: an error here. The other way round the weights' own entry
        # in open_clip's table says what they were trained with.
        warnings.filterwarnings("error", message="QuickGELU mismatch")
        quick = bool(known.get("quick_gelu"))
        if tag and not quick and (open_clip.get_model_config(name) or {}).get("quick_gelu"):
            raise SystemExit(f"'{name}' has QuickGELU, and its weights '{tag}' were trained with GELU: take the name without -quickgelu")
        if seed is None:
            if not tag and ":" not in name:
                raise SystemExit(f"'{name}' names an architecture alone: add /TAG for weights, or --random-weights SEED")
            return open_clip.create_model(name, pretrained=tag, require_pretrained=True, force_quick_gelu=quick)
        settings = preprocess_cfg or open_clip.transform.merge_preprocess_dict({}, known)
        model = open_clip.create_model(name, load_weights=False, pretrained_text=False, force_quick_gelu=quick, force_preprocess_cfg=settings)
        weights.randomize(model, seed)
        pixels = [transform(model)(Image.open(io.BytesIO(content))) for content in pictures().values()]
        weights.settle(model.visual, torch.stack(pixels))
        return model


def preprocess(cfg: dict) -> dict:
    """open_clip's `preprocess_cfg` in pictor.json's words."""
    size = cfg["size"]
    height, width = (size, size) if isinstance(size, int) else size
    modes = {"shortest": "shortest-edge-center-crop", "squash": "squash"}
    if cfg["resize_mode"] not in modes:
        raise SystemExit(f"resize mode '{cfg['resize_mode']}' (padding to the longest side) is not one that Pictor has")
    if cfg["interpolation"] not in ("bicubic", "bilinear"):
        raise SystemExit(f"interpolation '{cfg['interpolation']}' is not one that Pictor has")
    return {
        "height": height, "width": width, "resize": modes[cfg["resize_mode"]], "filter": cfg["interpolation"],
        "mean": list(cfg["mean"]), "std": list(cfg["std"]), "convert_rgb": "after-resize",
    }


def text_tokenizer(name: str, model, folder: str | None):
    if folder is None:
        return open_clip.get_tokenizer(name, context_length=model.context_length)
    options = ((open_clip.get_model_config(name) or {}).get("text_cfg") or {}).get("tokenizer_kwargs", {})
    return open_clip.tokenizer.HFTokenizer(folder, context_length=model.context_length, **options)


class Tokenize:
    """An open_clip tokenizer of either kind, with and without its padding."""

    def __init__(self, tokenizer_):
        self.tokenizer = tokenizer_
        self.simple = isinstance(tokenizer_, open_clip.tokenizer.SimpleTokenizer)
        self.pad_id = 0 if self.simple else tokenizer_.tokenizer.pad_token_id

    def __call__(self, text: str, padded: bool):
        if padded:
            return self.tokenizer([text]).numpy()
        if not self.simple:
            cleaned = self.tokenizer.clean_fn(text)
            return self.tokenizer.tokenizer(cleaned, max_length=self.tokenizer.context_length, truncation=True).input_ids
        ids = self.tokenizer([text])[0].tolist()
        # Padding is 0, which is also the id of "!"; the last end of text is the last token.
        return ids[: len(ids) - ids[::-1].index(self.tokenizer.eot_token_id)]
