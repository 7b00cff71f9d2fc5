"""Sound files of any format, decoded a block at a time: libsndfile first, ffmpeg for the rest.

Apart from the live system's sources, which feed a ring in time: here a file is read as fast as
its consumer takes it, and never as a whole.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

# what is picked up from a folder; a file that is named can be anything
SUFFIXES = frozenset((".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac",
                      ".aif", ".aiff", ".caf", ".w64", ".rf64", ".wma", ".webm"))
BLOCK = 1 << 16  # samples


class SoundError(RuntimeError):
    """A sound file that cannot be read; the message is one line for the user."""


@dataclass(frozen=True)
class Sound:
    """A mono or stereo file that could be opened."""

    path: Path
    sample_rate: int
    channels: int
    samples: int | None  # as announced; None where only decoding tells
    through_ffmpeg: bool
    stream: int = 0  # of the file's sound streams

    @classmethod
    def open(cls, path: Path, stream: int = 0) -> Sound:
        """stream: which one, where the file holds several (a .stem.mp4). Raises SoundError."""
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in str(path)):
            # neither libsndfile nor a one-line message takes control characters or broken UTF-8
            raise SoundError(f"{str(path)!a}: has a name that cannot be printed; rename it")
        if not path.is_file():
            raise SoundError(f"{path}: no such file")
        try:
            sound = (None if stream else _open_libsndfile(path)) or _open_ffmpeg(path, stream)
        except OSError as error:
            raise SoundError(f"{path}: cannot be read ({error.strerror})") from error
        if sound.channels > 2:
            raise SoundError(f"{path}: has {sound.channels} channels; mono or stereo is needed")
        return sound

    def blocks(self) -> Iterator[np.ndarray]:
        """Float32 [n, channels], one after the other. Raises SoundError where the file breaks
        off, is empty or holds values that are not numbers."""
        done = 0
        for block in _decode_ffmpeg(self) if self.through_ffmpeg else _decode_libsndfile(self):
            if not np.isfinite(block).all():
                at = (done + int(np.argmin(np.isfinite(block).all(1)))) / self.sample_rate
                raise SoundError(f"{self.path}: holds values that are not numbers, at {at:.2f} s")
            done += len(block)
            yield block
        if done == 0:
            raise SoundError(f"{self.path}: the sound file is empty")


def _open_libsndfile(path: Path) -> Sound | None:
    """None where libsndfile does not know the format."""
    if path.suffix.lower() == ".mp3" and not _starts_as_mp3(path):
        return None  # its MP3 decoder would search the file and print what it thinks of it
    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError:
        return None  # ffmpeg has the last word and says what is wrong
    return Sound(path, info.samplerate, info.channels, info.frames, False)


def _starts_as_mp3(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(3)
    return head == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")


def _decode_libsndfile(sound: Sound) -> Iterator[np.ndarray]:
    try:
        with soundfile.SoundFile(str(sound.path)) as file:
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                yield block
    except soundfile.LibsndfileError as error:
        raise SoundError(f"{sound.path}: cannot be read further ({error.error_string})") from error


def _open_ffmpeg(path: Path, stream: int) -> Sound:
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise SoundError(f"{path}: not a format that libsndfile reads, and ffmpeg, which reads "
                         "most others, is not installed")
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", f"a:{stream}", "-show_entries",
         "stream=sample_rate,channels,duration:format=duration", "-of", "json", f"file:{path}"],
        capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False)
    found = json.loads(probe.stdout or "{}")
    info = (found.get("streams") or [{}])[0]
    rate, channels = int(info.get("sample_rate", 0)), int(info.get("channels", 0))
    if probe.returncode or not (rate and channels):
        why = f" ({_last_line(probe.stderr)})" if probe.stderr.strip() else ""
        if stream and not why:
            raise SoundError(f"{path}: has no sound stream number {stream + 1}")
        raise SoundError(f"{path}: not a sound file that libsndfile or ffmpeg can read{why}")
    duration = info.get("duration") or found.get("format", {}).get("duration")
    samples = None if duration is None else round(float(duration) * rate)
    return Sound(path, rate, channels, samples, True, stream)


def _decode_ffmpeg(sound: Sound) -> Iterator[np.ndarray]:
    # "file:" keeps a name from being taken for an option or a protocol
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", f"file:{sound.path}",
               "-map", f"0:a:{sound.stream}", "-ac", str(sound.channels),
               "-ar", str(sound.sample_rate), "-f", "f32le", "-"]
    frame = 4 * sound.channels
    with tempfile.TemporaryFile() as errors, subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process:
        assert process.stdout is not None
        try:
            # a buffered pipe gives whole blocks until the end
            while data := process.stdout.read(BLOCK * frame):
                whole = len(data) // frame * frame
                yield np.frombuffer(data[:whole], "<f4").reshape(-1, sound.channels)
            failed = process.wait() != 0
        finally:
            process.kill()
        if failed:
            errors.seek(0)
            why = _last_line(errors.read().decode(errors="replace"))
            raise SoundError(f"{sound.path}: cannot be read further (ffmpeg: {why})")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it does not say why"])[-1][:200]
