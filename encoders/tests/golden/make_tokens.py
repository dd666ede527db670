"""Makes `tokens/`: hard texts, what the references' cleaning makes of them, and their ids by small vocabularies.

    pip install open_clip_torch ftfy transformers sentencepiece protobuf   # versions: `reference` in tokens/texts.json
    python encoders/tests/golden/make_tokens.py

The CLIP vocabulary is open_clip's with its first 2000 merges; those of SigLIP and Gemma are trained on some of the texts, because only
their makers distribute the real ones. `models/export/check_tokens.py` does the same with full vocabularies.
"""

import gzip
import importlib.metadata
import json
import platform
import re
import sys
import tempfile
import unicodedata
from pathlib import Path

from hard_texts import ENTITIES, PHRASES, hard_texts
from open_clip.tokenizer import SimpleTokenizer, default_bpe, get_clean_fn
from tokenizers import Tokenizer

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "models/export"))
from sentencepieces import gemma_tokenizer, t5_tokenizer, train  # noqa: E402
from tokenizer import open_clip_tokenizer_json, transformers_tokenizer_json  # noqa: E402

BLIP_CONTEXT = 35


def blip_caption(caption, max_words=30):
    """BLIP's `pre_caption` (data/utils.py) with the word limit of its retrieval evaluation."""
    caption = re.sub(r"([.!\"()*#:;~])", " ", caption.lower())
    caption = re.sub(r"\s{2,}", " ", caption).rstrip("\n").strip(" ")
    return " ".join(caption.split(" ")[:max_words])


CLEAN = {
    "none": lambda text: text,
    "lowercase": str.lower,
    "open-clip-whitespace": get_clean_fn("whitespace"),
    "open-clip-lower": get_clean_fn("lower"),
    "open-clip-canonicalize": get_clean_fn("canonicalize"),
    "blip-caption": blip_caption,
}


def fnv(text):
    """FNV-1a, 32 bits, in hexadecimal."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{value:08x}"


def case(name, tokenizer_json, directory, clean, context_length, pad_id, ids):
    """A tokenizer written to `directory`, and the hashes of the reference's ids."""
    (directory / f"{name}.json").write_text(json.dumps(json.loads(tokenizer_json), ensure_ascii=False, separators=(",", ":")))
    return {"name": name, "tokenizer": f"{name}.json", "clean": clean, "context_length": context_length, "pad_id": pad_id,
            "hashes": "".join(fnv(" ".join(map(str, row))) for row in ids)}  # fmt: skip


def write(directory, texts, cases):
    """`texts.json`: everything the test reads."""
    versions = [f"{package} {importlib.metadata.version(package)}" for package in
                ["open_clip_torch", "ftfy", "regex", "transformers", "tokenizers", "sentencepiece"]]  # fmt: skip
    versions.append(f"Python {platform.python_version()} (Unicode {unicodedata.unidata_version})")
    whitespace = [CLEAN["open-clip-whitespace"](text) for text in texts]
    golden = {
        "reference": ", ".join(versions),
        "texts": texts,
        "whitespace": [None if cleaned == text else cleaned for text, cleaned in zip(texts, whitespace)],
        "cleaned": [{"recipe": name, "hashes": "".join(fnv(clean(text)) for text in texts)} for name, clean in CLEAN.items() if name != "none"],
        "tokenizers": cases,
    }
    (directory / "texts.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")).replace('"],"', '"],\n"'))


def open_clip_ids(tokenizer, texts):
    """open_clip's ids without its padding: what its call gives, cut after the last special token."""
    rows = [[tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id] for text in texts]
    cut = [row if len(row) <= 77 else [*row[:76], tokenizer.eot_token_id] for row in rows]
    called = tokenizer(texts).tolist()
    assert all(row + [0] * (77 - len(row)) == padded for row, padded in zip(cut, called))
    return cut


def transformers_ids(tokenizer, texts, clean, context_length):
    """A transformers tokenizer's ids without padding."""
    return tokenizer([CLEAN[clean](text) for text in texts], truncation=True, max_length=context_length)["input_ids"]


def main():
    directory = HERE / "tokens"
    texts = hard_texts()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        merges = gzip.open(default_bpe()).read().decode().split("\n")[:2001]
        with gzip.open(scratch / "bpe.txt.gz", "wt", encoding="utf-8") as file:
            file.write("\n".join(merges))
        clip = SimpleTokenizer(str(scratch / "bpe.txt.gz"))
        mini = (ROOT / "models/pictor-mini/tokenizer.json").read_text()
        bert = Tokenizer.from_str(mini)
        bert.enable_truncation(BLIP_CONTEXT)
        corpus = [*PHRASES, *ENTITIES, *(text for text in texts if text.isascii() and " " in text)]
        unigram = train(scratch, corpus, "unigram", 700, normalization_rule_name="identity", character_coverage=0.98)
        bpe = train(scratch, corpus, "bpe", 1000)
        t5, gemma = t5_tokenizer(unigram), gemma_tokenizer(bpe)
        cases = [
            case("clip-2000", open_clip_tokenizer_json(clip), directory, "open-clip-lower", 77, 0, open_clip_ids(clip, texts)),
            case("siglip", transformers_tokenizer_json(t5), directory, "open-clip-canonicalize", 64, 1,
                 transformers_ids(t5, texts, "open-clip-canonicalize", 64)),
            case("gemma", transformers_tokenizer_json(gemma), directory, "lowercase", 64, 0,
                 transformers_ids(gemma, texts, "lowercase", 64)),
        ]  # fmt: skip
        wordpiece = [bert.encode(blip_caption(text)).ids for text in texts]
        cases.append(case("mini", mini, scratch, "blip-caption", BLIP_CONTEXT, 0, wordpiece))
        cases[-1]["tokenizer"] = "../../../../models/pictor-mini/tokenizer.json"
    write(directory, texts, cases)


if __name__ == "__main__":
    main()
