"""tokenizer.json of a library's tokenizer."""

import json

import open_clip
from transformers import CLIPTokenizer


def open_clip_tokenizer_json(tokenizer) -> str:
    if not isinstance(tokenizer, open_clip.tokenizer.SimpleTokenizer):
        return transformers_tokenizer_json(tokenizer.tokenizer)
    merges = [tuple(pair) for pair in tokenizer.bpe_ranks]
    rust = CLIPTokenizer(
        vocab=dict(tokenizer.encoder), merges=merges, bos_token="<start_of_text>", eos_token="<end_of_text>",
        unk_token="<end_of_text>", pad_token="<end_of_text>",
    )
    return transformers_tokenizer_json(rust)


def transformers_tokenizer_json(tokenizer) -> str:
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return json.dumps(json.loads(backend.to_str()), ensure_ascii=False, separators=(",", ":"))
