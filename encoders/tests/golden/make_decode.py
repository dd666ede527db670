"""Writes the small image files of decode/ and, beside each, the raster that Pillow makes of it (NAME.rgb: width and height as
little-endian u32, then RGB bytes).

Run with Pillow and numpy installed: python make_decode.py
The raster is `ImageOps.exif_transpose(image).convert("RGB")`: Pillow alone ignores EXIF orientation, viewers do not.
"""

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent / "decode"
WIDTH, HEIGHT = 24, 16


def picture(mode="RGB"):
    """Smooth, unlike itself when turned or mirrored, and different in every channel."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [x * 10, y * 15, 255 - (x + y) * 6]
    image = Image.fromarray(np.stack(planes, axis=2).clip(0, 255).astype(np.uint8))
    return image if mode == "RGB" else image.convert(mode)


def alpha():
    ramp = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    return Image.fromarray(ramp)


def save(name, image, expected=None, **options):
    path = HERE / name
    image.save(path, **options)
    with Image.open(path) as stored:
        expected = expected or ImageOps.exif_transpose(stored).convert("RGB")
    path.with_suffix(path.suffix + ".rgb").write_bytes(struct.pack("<II", *expected.size) + expected.tobytes())


def main():
    HERE.mkdir(exist_ok=True)
    quality = {"quality": 95, "subsampling": 0}
    save("baseline.jpg", picture(), **quality)
    save("progressive.jpg", picture(), progressive=True, **quality)
    save("subsampled.jpg", picture(), quality=90, subsampling=2)
    save("grey.jpg", picture("L"), quality=95)
    save("cmyk.jpg", picture("CMYK"), quality=95)
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"orientation-{orientation}.jpg", picture(), exif=exif, **quality)

    save("rgb.png", picture())
    save("grey.png", picture("L"))
    save("one-bit.png", picture("1"))
    palette = picture().quantize(16)
    save("palette.png", palette)
    save("palette-transparent.png", palette, transparency=3)
    rgba = picture()
    rgba.putalpha(alpha())
    save("rgba.png", rgba)
    grey_alpha = picture("L")
    grey_alpha.putalpha(alpha())
    save("grey-alpha.png", grey_alpha)
    # 16 bits: 257 times the 8-bit value plus a low byte that has to be dropped. Pillow clips such grey to white when it
    # converts, so the expectation is the high byte.
    deep = np.asarray(picture("L")).astype(np.uint16) * 256 + 255
    save("grey-16.png", Image.fromarray(deep), expected=picture("L").convert("RGB"))

    save("frames.gif", palette, save_all=True, append_images=[ImageOps.mirror(palette)], duration=100)
    save("lossless.webp", picture(), lossless=True)
    save("lossy.webp", picture(), quality=90)
    save("alpha.webp", rgba, lossless=True, exact=True)
    save("rgb.bmp", picture())
    save("palette.bmp", palette)

    whole = (HERE / "baseline.jpg").read_bytes()
    (HERE / "truncated.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    whole = (HERE / "rgb.png").read_bytes()
    (HERE / "truncated.png").write_bytes(whole[: len(whole) * 2 // 3])


main()
