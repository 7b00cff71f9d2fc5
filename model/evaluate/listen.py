"""Pictures for docs/listen.md: python -m model.evaluate.listen --tier live ultra --out docs/listen

The demo song, or another file, through the live separator: one PNG per model, mixture and stems on
one scale of time, frequency and level. Spectrograms show where a stem leaks into another; how it
sounds, `python -m model.inference` writes.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from model.evaluate.plots import draw_spectrogram, spectrogram
from model.inference.backend import open_model
from model.inference.offline import OfflineError, Outputs, separate_sound
from model.sound import Sound, SoundError
from rt.config import DEFAULT_FILE
from rt.session import SessionError

DEMO = DEFAULT_FILE.parent / "rt" / "assets" / "demo.ogg"
EXCERPT_S = 12.0


def picture(sound: Sound, name: str, start_s: float) -> Figure:
    """name: a tier or an .onnx file. Raises OfflineError, SessionError or SoundError."""
    separator = open_model(name, "cpu", 1)
    rate = separator.sample_rate
    outputs = Outputs(separator)
    stems = np.concatenate(list(separate_sound(sound, outputs, rate, rate)))  # [n, stems, 2]
    start = round(start_s * rate)
    excerpt = stems[start:start + round(EXCERPT_S * rate)].transpose(1, 2, 0)
    if not excerpt.shape[-1]:
        raise SoundError(f"{sound.path}: ends before {start_s:g} s")
    # the stems of our models add up to their input
    signals = {"mixture": excerpt.sum(0), **dict(zip(outputs.names, excerpt, strict=True))}
    pictures = {title: spectrogram(x, rate) for title, x in signals.items()}
    top = float(pictures["mixture"].max())
    figure = Figure(figsize=(8, 1.5 * len(pictures)), layout="constrained")
    grid = figure.subplots(len(pictures), 1, sharex=True, sharey=True, squeeze=False)
    for axes, (title, values) in zip(grid[:, 0], pictures.items(), strict=True):
        draw_spectrogram(axes, title, values, top, rate, excerpt.shape[-1] / rate)
    figure.supxlabel("s", fontsize="small")
    figure.supylabel("kHz", fontsize="small")
    figure.suptitle(f"{sound.path.name}, separated by {Path(name).stem}", fontsize="medium")
    return figure


def save_small(figure: Figure, path: Path) -> None:
    """A PNG of 64 colours: a third of the size, and it lies in a repository."""
    with io.BytesIO() as file:
        figure.savefig(file, dpi=80, format="png")
        with Image.open(file) as image:
            image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(
                path, format="png", optimize=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m model.evaluate.listen",
                                     description="Spectrogram pictures of a song and its stems.")
    add = parser.add_argument
    add("-i", "--input", type=Path, default=DEMO, metavar="FILE", help="a song (default: the demo)")
    add("--tier", nargs="+", default=["live"], metavar="MODEL",
        help="tiers or .onnx files (default: live)")
    add("--start", type=float, default=8.0, metavar="S",
        help=f"of the {EXCERPT_S:g} s that are shown, in seconds (default 8)")
    add("--out", type=Path, required=True, metavar="FOLDER", help="gets MODEL.png of each")
    args = parser.parse_args(argv)
    if not args.start >= 0:
        parser.error(f"--start {args.start:g}: must not be negative")
    try:
        sound = Sound.open(args.input)
        args.out.mkdir(parents=True, exist_ok=True)
        for name in args.tier:
            path = args.out / f"{Path(name).stem}.png"
            partial = path.with_name(f".{path.name}.partial")
            save_small(picture(sound, name, args.start), partial)
            os.replace(partial, path)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    except (OfflineError, SessionError, SoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or args.out}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
