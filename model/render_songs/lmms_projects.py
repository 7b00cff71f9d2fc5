"""Songs that people wrote, as stems: projects of the free studio LMMS.

    python -m model.render_songs.lmms_projects /usr/share/lmms/projects/demos --out songs/lmms

Songs of our own composer and effects say little about other music. The projects that come with
LMMS (20 of them in Debian's lmms-common, each under its own free licence) were composed, played
and mixed by others, and a project can be rendered stem by stem: once for each, with all
instruments of the other stems muted. What a master effect does to a stem alone is not what it does
to the sum, so the mixture is the sum of the stems. There is no voice in them.

An instrument's stem is told by its sample's or its own name, or else by how low it plays; a song's
song.json has what was taken for what.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import soundfile

from model.render_songs import CorpusError
from model.render_songs.effects import SR
from model.render_songs.mix import FULL_SCALE, write_song

STEMS = ("drums", "bass", "other")
PEAK = 0.95  # of a mixture
SILENT = 10 ** (-60 / 20)  # peak
A4, LOW_KEY = 57, 38  # as LMMS counts; D3, for a bass's oscillators often play an octave below
TICKS_PER_BEAT = 48
CLIPS = ("pattern", "bbtco", "sampletco", "automationpattern")
# what a name says, the first that fits
NAMES = [(stem, re.compile(pattern, re.IGNORECASE)) for stem, pattern in (
    ("drums", r"bass ?drum"),
    ("bass", r"bass|\bsub\b"),
    ("other", r"piano|organ|guitar|string|brass|trumpet|choir|chorus|bell|chime|arp|pad|lead|synth"
              r"|pluck|melody|chord|sweep"),
    ("drums", r"drum|kick|kik|\bb[ds]\b|snare|snr|clap|hat|\bhh|ride|crash|cymbal|tom|perc|shak"
              r"|tamb|rim|stick|wood|knock|timbale|conga|bongo|noise|\.ds$"),  # .ds: a drum synth's
)]


def read_project(file: Path) -> ElementTree.Element:
    """An .mmp, or an .mmpz, which is one that is compressed. Raises CorpusError."""
    try:
        data = file.read_bytes()
        if file.suffix == ".mmpz":  # four bytes of length, then what zlib made
            data = zlib.decompress(data[4:])
        root = ElementTree.fromstring(data)
    except (OSError, zlib.error, ElementTree.ParseError) as error:
        raise CorpusError(f"{file}: not a project of LMMS ({error})") from error
    if root.tag != "lmms-project" or root.find("song/trackcontainer") is None:
        raise CorpusError(f"{file}: not a song of LMMS")
    return root


def instruments(project: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """The tracks that sound, in the song and in its beats."""
    for track in project.iter("track"):
        if track.find("instrumenttrack") is not None or track.find("sampletrack") is not None:
            yield track


def stem_of(track: ElementTree.Element) -> str:
    sampler = track.find(".//audiofileprocessor")
    sample = sampler.get("src", "").removeprefix("drumsynth/") if sampler is not None else ""
    for name in (sample, track.get("name", "")):
        for stem, pattern in NAMES:
            if pattern.search(name.replace("_", " ")):
                return stem
    key = statistics.median([int(note.get("key", A4)) for note in track.iter("note")] or [A4])
    if track.find(".//instrument[@name='kicker']") is not None and key <= A4:
        return "drums"
    return "bass" if key <= LOW_KEY and not sample else "other"


def alone(project: ElementTree.Element, stem: str, seconds: float) -> ElementTree.Element:
    """A copy in which only that stem sounds, without clips that begin after so many seconds."""
    copy = ElementTree.fromstring(ElementTree.tostring(project))
    for track in copy.iter("track"):
        track.set("solo", "0")
    for track in instruments(copy):
        if stem_of(track) != stem:
            track.set("muted", "1")
    head = copy.find("head")
    ticks = seconds * float(head.get("bpm", 140) if head is not None else 140) / 60 * TICKS_PER_BEAT
    for track in copy.findall("song/trackcontainer/track"):
        for clip in [clip for name in CLIPS for clip in track.findall(name)]:
            if float(clip.get("pos", 0)) > ticks:
                track.remove(clip)
    return copy


def render(project: ElementTree.Element, seconds: float) -> dict[str, np.ndarray]:
    """Stems that sound, int16 [n, 2] of one length, of which none passes PEAK, nor their sum.
    Raises CorpusError."""
    stems: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)  # and LMMS' own folders and settings, which it makes at every start
        for stem in STEMS:
            file, sound = home / f"{stem}.mmp", home / f"{stem}.wav"
            file.write_bytes(ElementTree.tostring(alone(project, stem, seconds)))
            result = subprocess.run(
                ["lmms", "--allowroot", "render", file, "-o", sound, "-a", "-s", str(SR)],
                env={**os.environ, "HOME": folder, "QT_QPA_PLATFORM": "offscreen"},
                capture_output=True, text=True, check=False)
            if result.returncode or not sound.exists():
                last = [*result.stderr.strip().splitlines(), f"exit code {result.returncode}"][-1]
                raise CorpusError(f"lmms does not render its {stem}: {last}")
            x, _ = soundfile.read(sound, frames=round(seconds * SR), dtype="float32",
                                  always_2d=True)
            if np.abs(x).max(initial=0) > SILENT:
                stems[stem] = x
    if len(stems) < 2:
        raise CorpusError(f"sounds in {', '.join(stems) or 'no'} stem only: nothing to separate")
    length = min(len(x) for x in stems.values())
    mixture = np.sum([x[:length] for x in stems.values()], 0)
    gain = PEAK / max(float(np.abs(mixture).max()),
                      *(float(np.abs(x[:length]).max()) for x in stems.values()))
    return {stem: np.round(x[:length] * (gain * FULL_SCALE)).astype(np.int16)
            for stem, x in stems.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m model.render_songs.lmms_projects",
        description="Renders LMMS projects as songs in stems: drums, bass and other.")
    parser.add_argument("projects", type=Path, nargs="+",
                        help="files .mmp and .mmpz, or folders of them")
    parser.add_argument("--out", type=Path, required=True, help="folder for the songs")
    parser.add_argument("--seconds", type=float, default=90.0,
                        help="of each song at most (default 90)")
    options = parser.parse_args(argv)
    if options.seconds <= 0:
        parser.error(f"--seconds {options.seconds:g}: must be more than 0")
    files = [file for given in options.projects
             for file in (sorted(given.rglob("*.mmp*")) if given.is_dir() else [given])]
    done = 0
    for file in files:
        folder = options.out / file.stem
        if folder.exists():
            print(f"{folder}: is there already")
            done += 1
            continue
        try:
            project = read_project(file)
            stems = render(project, options.seconds)
            instruments_of = {stem: [track.get("name", "") for track in instruments(project)
                                     if stem_of(track) == stem] for stem in stems}
            write_song(folder, stems, {"project": file.name, "instruments": instruments_of})
        except (CorpusError, ValueError) as error:  # a number in it may be none
            text = str(error)
            print(f"skipped: {text if text.startswith(str(file)) else f'{file}: {text}'}",
                  file=sys.stderr)
            continue
        except FileNotFoundError as error:
            print(f"error: {error.filename}: no such program; install it (apt install lmms)"
                  if error.filename == "lmms" else f"error: {error}", file=sys.stderr)
            return 2
        except OSError as error:
            print(f"error: {error.filename or options.out}: {error.strerror}", file=sys.stderr)
            return 2
        done += 1
        print(f"{folder}: {', '.join(stems)}", flush=True)
    if not done:
        print(f"error: {options.projects[0]}: no project in it could be rendered", file=sys.stderr)
    return 0 if done else 2


if __name__ == "__main__":
    sys.exit(main())
