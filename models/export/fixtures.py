"""Model folders for tests: tiny, of random weights, in Pictor's layout and in those that other tools leave behind.

    python models/export/fixtures.py encoders/tests/models

Every folder holds golden.json, also where the layout has none. Weights, vocabularies and pictures are small, since the folders
are committed; names, shapes, data types and the spelling of the JSON files are those of the real exports:

| folder | layout |
|---|---|
| `clip`, `siglip`, `blip`, `blip2` | `pictor.json`: open_clip with QuickGELU, transformers SigLIP, transformers BLIP and BLIP-2 with their matching heads |
| `external` | `pictor.json` over graphs with their weights in `.data` files |
| `transformersjs-clip`, `transformersjs-siglip` | transformers.js: `onnx/vision_model.onnx` and `onnx/text_model.onnx`, `_fp16` and `_quantized` beside |
| `optimum-clip`, `optimum-siglip` | Optimum: both towers and the logits in one `onnx/model.onnx` or `model.onnx` |
| `immich-clip`, `immich-siglip` | immich-app: `visual/`, `textual/`, batch fixed at one, ids in int32 |
| `open-clip` | `open_clip_config.json` beside `image.onnx` and `text.onnx` |
"""

import argparse
import gzip
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import onnx
import open_clip
import torch
import transformers
from torch import nn

import export
import from_open_clip
import from_transformers
import golden
import graph
import precision
import sentencepieces
import tokenizer
import towers
from bundle import Bundle

SEED = 7
WIDTH, LAYERS, HEADS, SIDE, PATCH, DIM, CONTEXT = 8, 1, 2, 32, 8, 8, 24
MERGES = 30  # of the 48,894 of CLIP's vocabulary
OPSET = 14  # of the legacy exporter, which made nearly all of the files on the hub
PICTURES = ("alpha.png", "palette.png", "sliver.png")
TEXTS = [golden.TEXTS[i] for i in (0, 1, 2, 5, 6, 7, 11)]
SUBJECTS = ["a dog", "two children", "an old man", "a red car", "the black cat", "some horses", "a woman in a blue shirt"]
ACTIONS = ["runs through the snow", "is playing on a swing", "sits at a table", "stands in front of a house", "crosses the street"]
PLACES = ["near the sea", "in the park", "under a tree", "on a sunny day", "with a ball"]
CORPUS = [f"{s} {a} {p}" for s in SUBJECTS for a in ACTIONS for p in PLACES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        for name, make in makers(Path(scratch)).items():
            folder = out / name
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            print(f"{folder}: {size / 1e3:.0f} kB")


def makers(scratch: Path) -> dict:
    """Folder name to the function that writes it; models are drawn anew for each, as exporting rewrites them."""
    return {
        "clip": lambda folder: pictor(clip_of_open_clip(scratch), folder, ("fp32", "fp16", "int8")),
        "siglip": lambda folder: pictor(siglip(scratch), folder),
        "blip": lambda folder: pictor(blip(), folder),
        "blip2": lambda folder: pictor(blip2(), folder),
        "external": lambda folder: pictor(clip_of_open_clip(scratch), folder, external=True),
        "transformersjs-clip": lambda folder: transformersjs(clip(scratch), folder, CLIP_OUTPUTS),
        "transformersjs-siglip": lambda folder: transformersjs(siglip(scratch), folder, SIGLIP_OUTPUTS, variants=False),
        "optimum-clip": lambda folder: optimum(clip(scratch), folder, folder / "onnx", mask=True),
        "optimum-siglip": lambda folder: optimum(siglip(scratch), folder, folder, mask=False),
        "immich-clip": lambda folder: immich(clip_of_open_clip(scratch), folder),
        "immich-siglip": lambda folder: immich(siglip_of_open_clip(scratch), folder),
        "open-clip": lambda folder: open_clip_folder(clip_of_open_clip(scratch), folder),
    }


# Models


def merges_file(scratch: Path) -> Path:
    """The beginning of CLIP's byte-pair merges, in the form that open_clip reads."""
    with gzip.open(open_clip.tokenizer.default_bpe(), "rt", encoding="utf-8") as full:
        lines = full.read().split("\n")[: MERGES + 1]
    path = scratch / "merges.txt.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines))
    return path


OPEN_CLIP = {
    "embed_dim": DIM, "quick_gelu": True,
    "vision_cfg": {"image_size": SIDE, "layers": LAYERS, "width": WIDTH, "head_width": WIDTH // HEADS, "patch_size": PATCH, "mlp_ratio": 2},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 512 + MERGES + 2, "width": WIDTH, "heads": HEADS, "layers": LAYERS, "mlp_ratio": 2},
}


def clip_of_open_clip(scratch: Path) -> Bundle:
    simple = open_clip.tokenizer.SimpleTokenizer(bpe_path=str(merges_file(scratch)), context_length=CONTEXT)
    bundle = from_open_clip.load("ViT-tiny-quickgelu", SEED, config=json.loads(json.dumps(OPEN_CLIP)), tokenizer_=simple)
    bundle.library = {"model_cfg": OPEN_CLIP, "preprocess": bundle.image_tower.model.visual.preprocess_cfg}
    return bundle


def siglip_of_open_clip(scratch: Path) -> Bundle:
    """With a plain vision tower in place of timm's, whose smallest SigLIP is not tiny."""
    config = {
        "embed_dim": WIDTH, "custom_text": True, "init_logit_bias": -10,
        "vision_cfg": {**OPEN_CLIP["vision_cfg"], "attentional_pool": False},
        "text_cfg": {
            "context_length": CONTEXT, "vocab_size": None, "width": WIDTH, "heads": HEADS, "layers": LAYERS, "mlp_ratio": 2, "no_causal_mask": True,
            "proj_bias": True, "pool_type": "last", "tokenizer_kwargs": {"clean": "canonicalize"}, "hf_tokenizer_name": "tiny",
        },
    }
    folder = sentencepieces.folder(unigram(scratch), "T5Tokenizer", "spiece.model", extra_ids=0, pad_token="</s>")
    hf = open_clip.tokenizer.HFTokenizer(str(folder), context_length=CONTEXT, clean="canonicalize", extra_ids=0)
    config["text_cfg"]["vocab_size"] = len(hf.tokenizer)
    squash = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    bundle = from_open_clip.load("SigLIP-tiny", SEED, config=json.loads(json.dumps(config)), tokenizer_=hf, preprocess_cfg=squash)
    bundle.library = {"model_cfg": config, "preprocess": bundle.image_tower.model.visual.preprocess_cfg, "hf_tokenizer": hf.tokenizer}
    return bundle


def unigram(scratch: Path) -> Path:
    """Without the table of Unicode equivalents that real ones carry, which weighs 300 kB."""
    return sentencepieces.train(scratch, CORPUS, "unigram", 160, normalization_rule_name="identity")


BLOCKS = dict(hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS)
VISION = dict(**BLOCKS, image_size=SIDE, patch_size=PATCH)


def clip(scratch: Path) -> Bundle:
    simple = open_clip.tokenizer.SimpleTokenizer(bpe_path=str(merges_file(scratch)), context_length=CONTEXT)
    names = {token: token.replace("start_of_text", "|startoftext|").replace("end_of_text", "|endoftext|") for token in simple.encoder}
    hf = transformers.CLIPTokenizer(vocab={names[token]: i for token, i in simple.encoder.items()}, merges=list(simple.bpe_ranks))
    config = transformers.CLIPConfig(
        text_config=dict(**BLOCKS, max_position_embeddings=CONTEXT, vocab_size=len(names), bos_token_id=len(names) - 2, eos_token_id=len(names) - 1, projection_dim=DIM),
        vision_config=dict(**VISION, projection_dim=DIM), projection_dim=DIM,
    )
    processor = transformers.CLIPImageProcessorPil(size=dict(shortest_edge=SIDE), crop_size=dict(height=SIDE, width=SIDE))
    return from_hub_like(config, processor, hf)


def siglip(scratch: Path) -> Bundle:
    hf = sentencepieces.siglip_tokenizer(unigram(scratch))
    config = transformers.SiglipConfig(
        text_config=dict(**BLOCKS, max_position_embeddings=CONTEXT, vocab_size=hf.vocab_size, projection_size=WIDTH, bos_token_id=1, eos_token_id=1), vision_config=VISION
    )
    return from_hub_like(config, transformers.SiglipImageProcessorPil(size=dict(height=SIDE, width=SIDE)), hf)


def blip(vision: int = WIDTH) -> Bundle:
    """`vision`: width of the image tower, which is the text encoder's in BLIP base and larger than it in BLIP large."""
    hf = bert()
    config = transformers.BlipConfig(
        text_config=dict(**BLOCKS, vocab_size=len(hf) + 2, encoder_hidden_size=vision, max_position_embeddings=from_transformers.BLIP_CONTEXT, bos_token_id=len(hf)),
        vision_config=VISION | dict(hidden_size=vision), image_text_hidden_size=DIM,
    )
    return from_hub_like(config, transformers.BlipImageProcessorPil(size=dict(height=SIDE, width=SIDE)), hf)


def blip2() -> Bundle:
    """Two layers, of which the first has cross-attention, and three queries, whose vectors do not fill the rows that they take."""
    hf, vision = bert(), 12
    config = transformers.Blip2Config(
        qformer_config=BLOCKS | dict(
            vocab_size=len(hf) + 1, encoder_hidden_size=vision, max_position_embeddings=from_transformers.BLIP_CONTEXT, num_hidden_layers=2, use_qformer_text_input=True,
        ),
        vision_config=VISION | dict(hidden_size=vision), image_text_hidden_size=DIM, num_query_tokens=3,
    )
    return from_hub_like(config, transformers.BlipImageProcessorPil(size=dict(height=SIDE, width=SIDE)), hf)


def bert():
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    words = sorted({word for text in CORPUS for word in text.split() if len(word) > 1})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters if c.isalnum()), *words]
    return transformers.BertTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, do_lower_case=True)


def from_hub_like(config, processor, hf) -> Bundle:
    bundle = from_transformers.load(f"{config.model_type}-tiny", SEED, config=config, processor=processor, tokenizer=hf)
    bundle.library = {"config": config, "processor": processor, "tokenizer": hf}
    return bundle


# Layouts


def pictor(bundle: Bundle, folder: Path, precisions=("fp32",), external: bool = False) -> None:
    quiet = dict(log=lambda line: None)
    export.export(bundle, folder, precisions, external=external, pictures=PICTURES.__contains__, texts=TEXTS, **quiet)


CLIP_OUTPUTS = {"vision": ["image_embeds", "last_hidden_state"], "text": ["text_embeds", "last_hidden_state"]}
SIGLIP_OUTPUTS = {"vision": ["last_hidden_state", "pooler_output"], "text": ["last_hidden_state", "pooler_output"]}


def transformersjs(bundle: Bundle, folder: Path, outputs: dict, variants: bool = True) -> None:
    """As `scripts/extra/clip.py` and `scripts/extra/siglip.py` of transformers.js export: each tower with its last hidden states."""
    hub_files(bundle, folder)
    first = bundle.family == "clip"  # CLIP names the embedding first, SigLIP the hidden states
    pixels, ids = torch.zeros(2, 3, SIDE, SIDE), example_ids(bundle)
    (folder / "onnx").mkdir()
    images = {0: "batch_size", 1: "num_channels", 2: "height", 3: "width"}
    vision, text = WithHiddenStates(bundle.image_tower, "vision_model", first), WithHiddenStates(bundle.text_tower, "text", first)
    legacy(vision, {"pixel_values": pixels}, outputs["vision"], {"pixel_values": images}, folder / "onnx/vision_model.onnx")
    legacy(text, {"input_ids": ids}, outputs["text"], {"input_ids": {0: "batch_size", 1: "sequence_length"}}, folder / "onnx/text_model.onnx")
    for tower in ("vision", "text") if variants else ():
        path = folder / f"onnx/{tower}_model.onnx"
        onnx.save(precision.fp16(onnx.load(path), sensitive=False), folder / f"onnx/{tower}_model_fp16.onnx")
        precision.int8(path, folder / f"onnx/{tower}_model_quantized.onnx", None)


def optimum(bundle: Bundle, folder: Path, at: Path, mask: bool) -> None:
    """As `optimum-cli export onnx` does it: one graph of both towers, whose embeddings are normalised, and of their logits."""
    hub_files(bundle, folder)
    at.mkdir(exist_ok=True)
    inputs = {"input_ids": example_ids(bundle), "pixel_values": torch.zeros(2, 3, SIDE, SIDE)}
    inputs |= {"attention_mask": torch.ones_like(inputs["input_ids"])} if mask else {}
    batch = {0: "text_batch_size", 1: "sequence_length"}
    dynamic = {
        "input_ids": batch, "pixel_values": {0: "image_batch_size", 1: "num_channels", 2: "height", 3: "width"}, "attention_mask": batch,
    }
    outputs = {
        "logits_per_image": {0: "image_batch_size", 1: "text_batch_size"}, "logits_per_text": {0: "text_batch_size", 1: "image_batch_size"},
        "text_embeds": {0: "text_batch_size"}, "image_embeds": {0: "image_batch_size"},
    }
    legacy(Both(bundle, mask), inputs, list(outputs), {name: dynamic[name] for name in inputs} | outputs, at / "model.onnx")


def immich(bundle: Bundle, folder: Path) -> None:
    """As immich's `machine-learning/export` does it: normalised embeddings, no dynamic axes at all, int32 ids."""
    golden.write(bundle, new(folder), PICTURES.__contains__, TEXTS)
    for part in ("visual", "textual"):
        (folder / part).mkdir()
    towers.plain(bundle.image_tower)
    towers.plain(bundle.text_tower)
    json_file(folder / "config.json", bundle.library["model_cfg"])
    json_file(folder / "visual/preprocess_cfg.json", bundle.library["preprocess"])
    legacy(Normalized(bundle.image_tower), {"image": torch.zeros(1, 3, SIDE, SIDE)}, ["embedding"], {}, folder / "visual/model.onnx")
    ids = torch.ones(1, bundle.context_length, dtype=torch.int32)
    legacy(Normalized(bundle.text_tower), {"text": ids}, ["embedding"], {}, folder / "textual/model.onnx")
    # transformers' tokenizer of the same vocabulary, whatever open_clip itself would use
    hf, pad = bundle.library.get("hf_tokenizer"), "</s>"
    if hf is None:
        hf, pad = openai_tokenizer(bundle), "<|endoftext|>"
    (folder / "textual/tokenizer.json").write_text(tokenizer.transformers_tokenizer_json(hf), encoding="utf-8")
    json_file(folder / "textual/tokenizer_config.json", {"tokenizer_class": type(hf).__name__, "pad_token": pad, "model_max_length": bundle.context_length})


def open_clip_folder(bundle: Bundle, folder: Path) -> None:
    """A hub repository of open_clip's (`push_to_hf_hub.py`) with graphs in place of its weights."""
    pictor(bundle, folder)
    (folder / "pictor.json").unlink()
    cfg = bundle.library["preprocess"]
    preprocess = {key: cfg[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    json_file(folder / "open_clip_config.json", {"model_cfg": bundle.library["model_cfg"], "preprocess_cfg": preprocess})


# Pieces


def new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def json_file(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def hub_files(bundle: Bundle, folder: Path) -> None:
    """What a transformers repository holds beside its weights, and golden.json."""
    golden.write(bundle, new(folder), PICTURES.__contains__, TEXTS)
    for module in (bundle.image_tower, bundle.text_tower):
        towers.plain(module)
    bundle.library["config"].save_pretrained(folder)
    about = json.loads(bundle.library["processor"].to_json_string())
    json_file(folder / "preprocessor_config.json", about)
    (folder / "tokenizer.json").write_text(bundle.tokenizer_json, encoding="utf-8")
    hf = bundle.library["tokenizer"]
    settings = {"tokenizer_class": type(hf).__name__, "model_max_length": bundle.context_length, "pad_token": hf.pad_token}
    json_file(folder / "tokenizer_config.json", settings | ({"do_lower_case": True} if bundle.family == "siglip" else {}))


def openai_tokenizer(bundle: Bundle):
    """`openai/clip-vit-base-patch32`'s tokenizer over the small vocabulary."""
    simple = open_clip.tokenizer.SimpleTokenizer
    found = next(value.cell_contents for value in bundle.ids.__closure__ if isinstance(value.cell_contents, from_open_clip.Tokenize)).tokenizer
    assert isinstance(found, simple)
    names = {token: token.replace("start_of_text", "|startoftext|").replace("end_of_text", "|endoftext|") for token in found.encoder}
    return transformers.CLIPTokenizer(vocab={names[token]: i for token, i in found.encoder.items()}, merges=list(found.bpe_ranks))


def example_ids(bundle: Bundle):
    return torch.ones(2, 9 if bundle.any_length else bundle.context_length, dtype=torch.int64)


def legacy(module, inputs: dict, outputs: list[str], dynamic: dict, path: Path) -> None:
    """The exporter of torch before 2.5, by tracing."""
    torch.onnx.export(
        module.eval(), tuple(inputs.values()), path, input_names=list(inputs), output_names=outputs, opset_version=OPSET, dynamo=False,
        dynamic_axes=({name: {0: "batch_size"} for name in outputs} if dynamic else {}) | dynamic,
    )
    model = onnx.load(path)
    graph.tidy(model)
    shorten(model.graph)
    onnx.save(model, path)


def shorten(of: onnx.GraphProto) -> None:
    """Numbers in place of the names between inputs and outputs, which are half of a small file."""
    kept = {value.name for value in (*of.input, *of.output)} | {""}
    names = {}

    def short(name):
        return name if name in kept else names.setdefault(name, str(len(names)))

    for node in of.node:
        node.name = ""
        for side in (node.input, node.output):
            side[:] = [short(name) for name in side]
    for tensor in of.initializer:
        tensor.name = short(tensor.name)


class WithHiddenStates(nn.Module):
    """A tower's embedding and the last hidden states before it, in either order."""

    def __init__(self, tower, part: str, embedding_first: bool):
        super().__init__()
        self.tower, self.part, self.embedding_first = tower, part, embedding_first

    def forward(self, x):
        embedding = self.tower(x)
        if self.part == "text":
            hidden = self.tower.text.embeddings(input_ids=x)  # of the right shape, and nobody reads it
        else:
            hidden = self.tower.model.vision_model(pixel_values=x).last_hidden_state
        return (embedding, hidden) if self.embedding_first else (hidden, embedding)


class Normalized(nn.Module):
    def __init__(self, tower):
        super().__init__()
        self.tower = tower

    def forward(self, x):
        return nn.functional.normalize(self.tower(x), dim=-1)


class Both(nn.Module):
    """`CLIPModel.forward` and `SiglipModel.forward`."""

    def __init__(self, bundle: Bundle, mask: bool):
        super().__init__()
        self.image, self.text = Normalized(bundle.image_tower), Normalized(bundle.text_tower)
        self.model, self.mask = bundle.image_tower.model, mask

    def forward(self, input_ids, pixel_values, attention_mask=None):
        images, texts = self.image(pixel_values), self.text(input_ids)
        if attention_mask is not None:
            # It hides padding behind the pooled token, which sees none of it; kept an input as the real graph has it.
            texts = texts + 0 * attention_mask.sum().to(texts.dtype)
        logits = self.model.logit_scale.exp() * texts @ images.t()
        if hasattr(self.model, "logit_bias"):
            logits = logits + self.model.logit_bias
        return logits.t(), logits, texts, images


if __name__ == "__main__":
    main()
