"""Sentencepiece models with the settings of SigLIP's and Gemma's, trained here on any text.

The real vocabularies come only from their makers' hubs. What their tokenizers do to a text is decided by these settings and not
by which pieces were learnt, so a small model shows whether the exported `tokenizer.json` does the same.
"""

import json
from pathlib import Path

import sentencepiece


def train(directory, texts, model_type, size, **settings):
    """A model file; `unigram` is as T5's and SigLIP's (`</s>` 1, no bos), `bpe` as Gemma's (`<eos>` 1, byte fallback)."""
    prefix = Path(directory) / f"{model_type}-{size}"
    shared = {"vocab_size": size, "model_type": model_type, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1}
    if model_type == "unigram":
        shared |= {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "character_coverage": 0.9995}
    else:
        shared |= {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>",
                   "byte_fallback": True, "split_digits": True, "add_dummy_prefix": False, "remove_extra_whitespaces": False,
                   "normalization_rule_name": "identity", "allow_whitespace_only_pieces": True, "character_coverage": 0.99,
                   "user_defined_symbols": ["<mask>", "<start_of_turn>", "<end_of_turn>"]}  # fmt: skip
    lines = [line for text in texts for line in text.splitlines() if line.strip() and "\0" not in line and len(line) < 4000]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_prefix=str(prefix), **shared | settings)
    return prefix.with_suffix(".model")


def folder(model, tokenizer_class, file, **settings):
    """A folder that transformers loads `model` from."""
    directory = Path(model).with_suffix("") / tokenizer_class
    directory.mkdir(parents=True, exist_ok=True)
    (directory / file).write_bytes(Path(model).read_bytes())
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class, **settings}))
    return directory


def t5_tokenizer(model):
    """As open_clip loads SigLIP's vocabulary (timm/ViT-B-16-SigLIP): a T5 tokenizer without sentinels, padded by `</s>`."""
    from transformers import T5Tokenizer

    return T5Tokenizer.from_pretrained(folder(model, "T5Tokenizer", "spiece.model", extra_ids=0, pad_token="</s>"), extra_ids=0)


def siglip_tokenizer(model):
    """transformers' own SigLIP tokenizer, which calls sentencepiece."""
    from transformers import SiglipTokenizer

    return SiglipTokenizer(str(model))


def gemma_tokenizer(model):
    """Gemma's as SigLIP 2 uses it: no bos, with eos, padded on the right."""
    from transformers import GemmaTokenizer

    settings = {"add_bos_token": False, "add_eos_token": True, "padding_side": "right"}
    return GemmaTokenizer.from_pretrained(folder(model, "GemmaTokenizer", "tokenizer.model", **settings), **settings)
