"""What the renderer computes itself: every sound sounds, is bounded, and repeats with its seed."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from model.render_songs import bass, guitar, other, voice_chain
from model.render_songs import effects as fx
from model.render_songs.corpus import Corpus
from model.render_songs.effects import SR
from model.render_songs.formants import VOWELS, invent
from model.render_songs.parts import accompaniment, drum_part
from model.render_songs.singing import Manner, again, perform, voice_of
from model.render_songs.song import Song
from model.render_songs.sources import HELD_OUT, Sources
from model.render_songs.synth import random_patch, sweep, synth
from model.render_songs.take import Take
from model.render_songs.tones import random_tone
from model.render_songs.vocals import harmony
from tests.songs_fixture import make_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(make_corpus(tmp_path_factory.mktemp("corpus")))


def take(corpus: Corpus, seed: int, split: str = "train") -> Take:
    song = Song(seed, 4)
    for section in song.section:
        section["vocals"] = False  # soloists leave room for a singer
    return Take(song, corpus, Sources(split), drum_part(song), 4 * SR, random.Random(seed),
                np.random.default_rng(seed))


def sounds(make: Callable[[], np.ndarray], peak: float = 8.0) -> np.ndarray:
    """The same twice, finite, audible and below `peak`."""
    first, second = make(), make()
    assert np.array_equal(first, second)
    assert np.isfinite(first).all()
    assert 1e-3 < np.abs(first).max() < peak
    return first


def pitch_of(x: np.ndarray, low: float, high: float) -> float:
    """Hz, by the autocorrelation between two bounds."""
    power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    lags = np.fft.irfft(power)[: len(x)]
    first = int(SR / high)
    return SR / (first + int(np.argmax(lags[first:int(SR / low)])))


@pytest.mark.parametrize("kind", sorted(other.PROGRAMS))
def test_every_part_of_other_sounds(corpus: Corpus, kind: str):
    def make() -> np.ndarray:
        t = take(corpus, 3)
        notes = accompaniment(t.song, kind, {section["id"] for section in t.song.section})
        assert notes
        return other._play(t, kind, notes)
    sounds(make)


@pytest.mark.parametrize("kind", sorted(set(bass.ANY)))
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_bass_sounds_and_keeps_its_side(corpus: Corpus, kind: str, split: str):
    takes: list[Take] = []

    def make() -> np.ndarray:
        takes.append(take(corpus, 5, split))
        return bass._play(takes[-1], kind, [(0.1, 0.5, 40, 0.9), (0.8, 0.6, 45, 0.5)])
    sounds(make)
    held_out = {source in HELD_OUT for source in takes[0].sources.used}
    assert held_out <= {split == "test"}


@pytest.mark.parametrize("kind", ["bass", "pad", "string", "pluck", "stab", "brass", "lead"])
def test_patches_and_tones_sound(kind: str):
    for seed in range(3):
        for draw in (random_patch, random_tone):
            patch = draw(kind, random.Random(seed))
            sounds(lambda p=patch: synth(p, [(0.0, 0.3, 57, 0.8)], SR // 2,
                                         np.random.default_rng(1)))


@pytest.mark.parametrize("midi", [28, 45, 64, 76])
def test_a_plucked_string_is_in_tune(midi: int):
    y = sounds(lambda: guitar.pluck(midi, 0.6, np.random.default_rng(0), 0.5, 3.0, 0.2), 1.0)
    hz = 440 * 2 ** ((midi - 69) / 12)
    assert abs(12 * np.log2(pitch_of(y[2000:, 0], hz * 0.8, hz * 1.3) / hz)) < 0.35


def test_an_amplifier_is_bounded_whatever_comes_in():
    loud = np.random.default_rng(0).normal(0, 30, (SR, 2)).astype(np.float32)
    for x in (loud, loud * 1e-6, np.zeros_like(loud)):
        nr = np.random.default_rng(1)
        y = guitar.amplify(x, 40.0, guitar.cabinet(nr), nr)
        assert np.isfinite(y).all()
        assert np.abs(y).max() < 10


@pytest.mark.parametrize("register", sorted(VOWELS))
def test_an_invented_singer_sings_in_tune(register: str):
    midi = {"bass": 45, "tenor": 55, "alto": 64}[register]
    manner = Manner(vibrato=0.0, drift=0.1)

    def make() -> np.ndarray:
        nr = np.random.default_rng(2)
        words = invent(register, 3, nr)
        sung, used = perform(words, [(1.0, 0.9, midi)], nr, manner, breath=True)
        assert used == 1
        return voice_of(sung, 0.0, nr)
    y = sounds(make, 3.0)
    lead_s = len(y) / SR - 0.9 - 0.15  # onset and breath come before the note
    held = y[int((lead_s + 0.35) * SR):int((lead_s + 0.7) * SR)]
    hz = 440 * 2 ** ((midi - 69) / 12)
    assert abs(12 * np.log2(pitch_of(held, hz * 0.8, hz * 1.3) / hz)) < 0.5


def test_a_harmony_lies_where_it_was_asked_and_in_the_scale():
    song = Song(1, 4)
    scale = {(song.key + step) % 12 for step in song.scale}
    for steps in (-12, -5, -4, 4, 7, 12):
        sung = harmony(song.deg(2, 4), song, steps)
        assert sung % 12 in scale
        assert abs(sung - song.deg(2, 4) - steps) <= 2
    nr = np.random.default_rng(0)
    lead, _ = perform(invent("tenor", 2, nr), [(0.5, 0.8, 55)], nr, Manner(vibrato=0))
    above = again(lead, np.array([4]), nr)
    assert abs(float(np.median(above.pitch - lead.pitch)) - 4) < 0.6


def test_effects_of_the_voice_are_bounded():
    x = np.random.default_rng(0).normal(0, 0.1, (SR, 2)).astype(np.float32)
    sounds(lambda: voice_chain.deess(x, 6.0))
    sounds(lambda: voice_chain.telephone(x, np.random.default_rng(1)))
    sounds(lambda: voice_chain.doubler(x, np.random.default_rng(1), 0.5))
    sounds(lambda: voice_chain.vocode(x, x[::-1].copy(), np.random.default_rng(1)))
    sounds(lambda: fx.tremolo(x, 4.0, 0.6, True))
    sounds(lambda: fx.swept(x, np.random.default_rng(1), 0.5))
    assert fx.rms(fx.cut(voice_chain.deess(x, 6.0), 6000)) < fx.rms(fx.cut(x, 6000))


@pytest.mark.parametrize("tonal", [False, True])
def test_a_riser_rises(tonal: bool):
    y = sounds(lambda: sweep(1.0, True, tonal, np.random.default_rng(0)))
    assert fx.rms(y[SR * 3 // 4:]) > 2 * fx.rms(y[: SR // 4])


def test_forms_leave_stems_alone_now_and_then():
    sections = [section for seed in range(60) for section in Song(seed, 30).section]
    assert any(not s["other"] and s["vocals"] for s in sections)
    assert any(s["drums"] and not s["other"] and not s["vocals"] for s in sections)
