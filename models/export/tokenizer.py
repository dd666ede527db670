"""`tokenizer.json` of any reference tokenizer, and the cleaning that goes before it.

The Hugging Face format says all that a tokenizer does, so that the search engine needs no code for a model. What the reference
does outside its tokenizer (ftfy, html entities, lower case) is named by `clean_recipe` and goes to `text.clean` of `pictor.json`.
What must stay true: text cleaned so and tokenized so has the reference's ids; `check_tokens.py` measures it.
"""

import re
import string

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

RECIPES = {
    "_clean_whitespace": "open-clip-whitespace",
    "_clean_lower": "open-clip-lower",
    "_clean_canonicalize": "open-clip-canonicalize",
}


def clean_recipe(tokenizer, family=""):
    """The `text.clean` of a tokenizer: an open_clip one names it itself, a transformers one by class or by the model's family."""
    function = getattr(tokenizer, "clean_fn", None)
    if function is not None:
        return RECIPES[function.__name__]
    if family in ("blip", "blip-2"):
        return "blip-caption"
    # SigLIP was trained on lower-cased texts. Gemma's tokenizer, which many of its folders name, does not do it, and no normalizer
    # of the file does it as Python does, for whole texts (final sigma).
    names = ("SiglipTokenizer", "SiglipTokenizerFast", "Siglip2Tokenizer")
    return "lowercase" if family in ("siglip", "siglip2") or type(tokenizer).__name__ in names else "none"


def open_clip_tokenizer_json(tokenizer):
    """`tokenizer.json` of what `open_clip.get_tokenizer` gives; `tokenizer` may be a model name."""
    if isinstance(tokenizer, str):
        import open_clip

        tokenizer = open_clip.get_tokenizer(tokenizer)
    if hasattr(tokenizer, "tokenizer"):  # HFTokenizer
        if tokenizer.tokenizer_mode or tokenizer.strip_sep_token:
            raise ValueError(f"open_clip's tokenizer_mode={tokenizer.tokenizer_mode!r} and strip_sep_token are not supported")
        return transformers_tokenizer_json(tokenizer.tokenizer)
    return clip_tokenizer(tokenizer.encoder, list(tokenizer.bpe_ranks), tokenizer.all_special_ids).to_str()


def clip_tokenizer(vocabulary, merges, special_ids):
    """open_clip's SimpleTokenizer (the byte-level BPE of OpenAI's CLIP) from its parts; the first two specials begin and end a text.

    Its special tokens are alternatives of its regular expression: in a text they count unless punctuation before them has
    already taken their `<`. Added tokens of this format count everywhere, so those get a space behind the `<`, which alters no
    other token.
    """
    names = {i: token for token, i in vocabulary.items()}
    specials = [names[i] for i in special_ids]
    literal = "|".join(re.escape(token) for token in specials)
    tails = "|".join(re.escape(token[1:]) for token in specials)
    if not all(token.startswith("<") and token.endswith(">") for token in specials):
        raise ValueError(f"special tokens {specials} are not of the form <...>")
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>"))
    # After punctuation that is not itself a special token's end, or right after another one that was broken up.
    after_punctuation = rf"(?<=[^\s\p{{L}}\p{{N}}])(?<!{'|'.join(specials)})<(?={tails})"
    after_broken = rf"\G(?:{tails})\K<(?={tails})"
    tokenizer.normalizer = normalizers.Replace(Regex(f"{after_punctuation}|{after_broken}"), "< ")
    # `regex` with IGNORECASE finds U+0345, whose upper case is a letter, in neither class: it is dropped.
    words = rf"(?i:{literal}|'s|'t|'re|'ve|'m|'ll|'d)|\p{{L}}+|\p{{N}}|[^\s\p{{L}}\p{{N}}\x{{345}}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=True, special=True) for token in specials])
    begin, end = specials[:2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, special_ids[0]), (end, special_ids[1])]
    )
    return tokenizer


def transformers_tokenizer_json(tokenizer):
    """`tokenizer.json` of a transformers tokenizer: its own if it is a fast one, else one converted from sentencepiece."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return siglip_tokenizer_json(tokenizer)
    copy = Tokenizer.from_str(backend.to_str())
    # Length is the engine's business (`context_length`, `pad_id`, `pad`).
    copy.no_truncation()
    copy.no_padding()
    return copy.to_str()


def siglip_tokenizer_json(tokenizer):
    """`tokenizer.json` of transformers' SiglipTokenizer: sentencepiece (unigram) after lower case and without punctuation.

    Not the same as the class: a literal `</s>` or `<unk>` in a text (what follows has a "▁" here and none there); characters that
    combine with others (Hangul jamo, accents), to which `tokenizers` applies the compatibility map in other portions; and equally
    likely ways to cut a word, of which sentencepiece and `tokenizers` take different ones.
    """
    if type(tokenizer).__name__ != "SiglipTokenizer":
        raise ValueError(f"{type(tokenizer).__name__} has no fast form and is not SigLIP's; save a tokenizer.json with it first")
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    with open(tokenizer.vocab_file, "rb") as file:
        proto.ParseFromString(file.read())
    if proto.trainer_spec.model_type != sentencepiece_model_pb2.TrainerSpec.UNIGRAM:
        raise ValueError(f"{tokenizer.vocab_file} is not a unigram model, as SigLIP's is")
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    converted = Tokenizer(models.Unigram(pieces, unk_id=proto.trainer_spec.unk_id, byte_fallback=False))
    charsmap = proto.normalizer_spec.precompiled_charsmap
    compatible = [normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()] if charsmap else []
    converted.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("▁", " "),
            *([normalizers.Lowercase()] if tokenizer.do_lower_case else []),
            normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
            normalizers.Replace(Regex(r"[\s\x1c-\x1f]+"), " "),
            normalizers.Strip(left=False),
            *compatible,
            normalizers.Prepend("▁"),
        ]
    )
    converted.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=True)
    specials = [tokenizer.eos_token, tokenizer.unk_token]
    converted.add_special_tokens([AddedToken(token, lstrip=True, rstrip=True, special=True, normalized=False) for token in specials])
    eos = (tokenizer.eos_token, tokenizer.eos_token_id)
    converted.post_processor = processors.TemplateProcessing(single=f"$A {eos[0]}", special_tokens=[eos])
    return converted.to_str()


def bert_tokenizer_json(vocabulary_file, added=("[DEC]", "[ENC]")):
    """`tokenizer.json` of BERT uncased from its `vocab.txt`, with the tokens that BLIP adds (BLIP, models/blip.py, init_tokenizer)."""
    from transformers import BertTokenizer

    with open(vocabulary_file, encoding="utf-8") as file:
        vocabulary = {line.rstrip("\n"): i for i, line in enumerate(file)}
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=True)
    tokenizer.add_tokens([AddedToken(token, special=True) for token in added], special_tokens=True)
    return transformers_tokenizer_json(tokenizer)
