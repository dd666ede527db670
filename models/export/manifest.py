"""pictor.json and its fingerprint; the format is documented in `encoders/src/manifest.rs`."""

import json
from pathlib import Path

from blake3 import blake3

from graph import external_files

FILE = "pictor.json"


def without_variants(section: dict) -> dict:
    return {key: value for key, value in section.items() if key != "variants"}


def fingerprint(folder: Path, manifest: dict) -> str:
    """BLAKE3 over the files that decide the vectors and over what pictor.json says of them, precision variants aside."""
    hasher = blake3()

    def add(name):
        digest = blake3(max_threads=blake3.AUTO).update_mmap(folder / name).digest()
        hasher.update(name.encode() + b"\0" + digest)

    sections = [key for key in ("image", "text", "matcher") if key in manifest]
    files = [manifest["image"]["file"], manifest["text"]["file"], manifest["text"]["tokenizer"]]
    files += [manifest["matcher"]["file"]] if "matcher" in manifest else []
    for name in files:
        add(name)
        if name.endswith(".onnx"):
            for data in external_files(folder / name):
                add((Path(name).parent / data).as_posix())
    core = {"dim": manifest["dim"], **{key: without_variants(manifest[key]) for key in sections}}
    hasher.update(json.dumps(core, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    return hasher.hexdigest()


def write_json(path: Path, value, indent: int | None = None) -> None:
    """Writes beside and renames, so that a reader never sees half a file."""
    separators = None if indent else (",", ":")
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=indent, ensure_ascii=False, separators=separators) + "\n", encoding="utf-8")
    temporary.rename(path)
