"""The pictures of golden pairs, made from arithmetic alone.

They cover what goes wrong in practice: shapes that a wrong resize mode or crop cannot pass (square pictures pass them all),
enlargement of a single pixel, extreme aspect ratios, and the modes that convert to RGB in ways of their own (alpha, palette,
grey, CMYK). This file imports nothing of its neighbours, as the training recipe of the bundled model uses it too.
"""

import io

import numpy as np
from PIL import Image


def photo(width: int, height: int, seed: int) -> np.ndarray:
    """u8 [height, width, 3], like a photograph out of focus: blobs of light over a gradient. Compresses well."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rng = np.random.Generator(np.random.PCG64(seed))
    planes = []
    for channel in range(3):
        plane = 90 + 60 * x / width + 40 * y / height * (1 - channel / 3)
        for _ in range(7):
            at, radius, light = rng.uniform(0, (width, height)), rng.uniform(0.05, 0.3) * max(width, height), rng.uniform(-110, 110)
            plane += light * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * radius**2))
        planes.append(plane)
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


def pattern(width: int, height: int) -> np.ndarray:
    """u8 [height, width, 3]: checks, finer than what is left of them after a resize to 224, and discs with hard edges."""
    y, x = np.mgrid[0:height, 0:width]
    checks = (x // 5 + y // 3) % 2
    disc = ((x - width // 3) ** 2 + (y - height // 4) ** 2 < (width // 4) ** 2) + 2 * (x * 2 > y)
    return np.stack([checks * 200 + 30, disc * 80, np.where(disc > 1, 255 - checks * 90, 20)], axis=2).astype(np.uint8)


def pictures() -> dict[str, bytes]:
    """File name to content; together about 30 kB. Wide and tall ones are made smaller by every model, some others larger."""

    def save(image, kind, **options):
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        return stream.getvalue()

    y, x = np.mgrid[0:83, 0:149]
    alpha = np.stack([x * 255 // 148, y * 3, 255 - x, np.where((x // 8 + y // 8) % 2 == 0, 255, x)], axis=2).astype(np.uint8)
    y, x = np.mgrid[0:77, 0:121]
    palette = Image.fromarray(((x // 9 + y // 7) % 16).astype(np.uint8)).convert("P")
    palette.putpalette([level * scale % 256 for level in range(256) for scale in (17, 53, 91)])
    sliver = np.arange(3 * 500).reshape(500, 3)
    return {
        "wide.jpg": save(Image.fromarray(photo(601, 433, 1)), "JPEG", quality=80, progressive=True),
        "tall.png": save(Image.fromarray(pattern(431, 887)), "PNG", optimize=True),
        "dot.png": save(Image.new("RGB", (1, 1), (200, 30, 90)), "PNG"),
        "sliver.png": save(Image.fromarray(np.stack([sliver * k % 256 for k in (1, 3, 7)], axis=2).astype(np.uint8)), "PNG"),
        "alpha.png": save(Image.fromarray(alpha, "RGBA"), "PNG", optimize=True),
        "palette.png": save(palette, "PNG", optimize=True, transparency=3),
        "grey.jpg": save(Image.fromarray(photo(240, 191, 3)[:, :, 0]), "JPEG", quality=80),
        "cmyk.jpg": save(Image.fromarray(photo(191, 240, 4)).convert("CMYK"), "JPEG", quality=80),
    }
