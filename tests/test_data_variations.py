"""Degradations and paces: each does what it says, and stems go on adding up to the mixture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import signal

from model.data import DataError, degradations
from model.data.pace import Pace, play
from model.data.variations import Variations
from rt.config import ConfigError, load_config
from rt.sections import DataSection
from tests.songs_fixture import RATE, STEMS

N = 30_000
OFF = dict.fromkeys(("paused", "band_limited", "coded", "room", "noisy", "mono", "clipped",
                     "level_varied"), 0.0)
Rng = np.random.Generator


@pytest.fixture
def rng() -> Rng:
    return np.random.default_rng(3)


@pytest.fixture
def stems(rng: Rng) -> np.ndarray:
    return (0.1 * rng.standard_normal((4, 2, N))).astype(np.float32)


def tone(hz: float, samples: int) -> np.ndarray:
    phase = 2 * np.pi * hz * np.arange(samples) / RATE
    return 0.3 * np.stack([np.sin(phase), np.cos(phase)]).astype(np.float32)


def loudest_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 16 * len(samples)))
    return float(spectrum.argmax() * RATE / (16 * len(samples)))


@pytest.mark.parametrize("pace", [
    Pace(), Pace(speed=1.1), Pace(speed=0.9), Pace(1, True, 1.12), Pace(1, True, 0.88, 2),
    Pace(1.1, True, 0.95, -1.5), Pace(1, True)])
def test_pitch_and_tempo_move_as_asked(pace: Pace):
    reach = pace.reach(N, RATE)
    played = play(tone(440, reach), pace, N, RATE)
    assert played.shape == (2, N)
    assert played.dtype == np.float32
    pitch = pace.speed * 2 ** (pace.semitones / 12)
    fine, late = (0.01, 200) if pace.stretched else (0.001, 2)
    assert loudest_hz(played[0]) == pytest.approx(440 * pitch, rel=fine)
    # clicks come sooner by speed and tempo, and the level stays
    clicks = np.zeros((2, reach), np.float32)
    edge = (reach - N * pace.speed * pace.tempo) / 2 if pace.stretched else 0
    for place in (8000, 20_000):
        clicks[:, round(edge + place * pace.speed * pace.tempo)] = 1
    heard = np.abs(play(clicks, pace, N, RATE)[0])
    for place in (8000, 20_000):
        found = int(heard[place - 2000:place + 2000].argmax())
        assert found == pytest.approx(2000, abs=late)
    middle = slice(N // 4, 3 * N // 4)
    assert np.std(played[:, middle]) == pytest.approx(np.std(tone(440, N)), rel=0.1)


def test_nothing_is_changed_at_the_usual_pace(rng: Rng):
    excerpt = rng.standard_normal((2, N)).astype(np.float32)
    assert Pace().reach(N, RATE) == N
    np.testing.assert_array_equal(play(excerpt, Pace(), N, RATE), excerpt)


def test_a_tape_keeps_the_sum(stems: np.ndarray):
    pace = Pace(speed=1.05)
    samples = N - 5000
    parts = sum(play(stem[:, :pace.reach(samples, RATE)], pace, samples, RATE) for stem in stems)
    whole = play(stems.sum(0)[:, :pace.reach(samples, RATE)], pace, samples, RATE)
    np.testing.assert_allclose(parts, whole, atol=2e-6)


def test_paces_stay_in_range_and_spare_the_drums(rng: Rng):
    config = DataSection(speed_varied=0.5, stretched=0.5, speed_semitones=3, tempo=0.2,
                         pitch_semitones=4)
    variations = Variations(config, STEMS, RATE)
    paces = [variations.pace(rng) for _ in range(400)]
    furthest = variations.furthest(N)
    assert all(pace.reach(N, RATE) <= furthest for pace in paces)
    assert max(pace.reach(N, RATE) for pace in paces) > 0.95 * furthest
    speeds = [12 * math.log2(pace.speed) for pace in paces]
    for values, limit in ((speeds, 3), ([p.semitones for p in paces], 4),
                          ([p.tempo - 1 for p in paces], 0.2)):
        assert -limit <= min(values) < -0.9 * limit
        assert 0.9 * limit < max(values) <= limit
        assert 0.4 < np.mean([value != 0 for value in values]) < 0.6
    changed = next(pace for pace in paces if pace.stretched)
    assert variations.pace_of("drums", changed) == changed._replace(semitones=0)
    assert variations.pace_of("bass", changed) == changed
    # at one pace all stems keep their time, drums too where there is nothing for them to do
    only_pitch = Pace(1, True, 1, 3)
    assert variations.pace_of("drums", only_pitch).reach(N, RATE) == only_pitch.reach(N, RATE)


def room(rng: Rng) -> np.ndarray:
    return degradations.room_response(RATE, 0.3, 3, 80, rng)


@pytest.mark.parametrize("name", ["band", "room", "mono", "left", "clip", "pause"])
def test_the_sum_of_the_stems_stays_the_mixture(stems: np.ndarray, rng: Rng, name: str):
    """What is done to the mixture alone is done to the sum."""
    response = room(rng)
    change = {
        "band": lambda x: degradations.band_limit(x, RATE, 100, 4000),
        "room": lambda x: degradations.in_room(x, response),
        "mono": lambda x: degradations.mono(x, "both"),
        "left": lambda x: degradations.mono(x, "left"),
        "clip": lambda x: degradations.clip(x, 6),
        "pause": lambda x: degradations.pause(x, 1000, 9000, 200)}[name]
    changed = change(stems)
    assert changed.shape == stems.shape
    assert changed.dtype == np.float32
    np.testing.assert_allclose(changed.sum(0), change(stems.sum(0)[None])[0], atol=2e-5)
    assert not np.allclose(changed, stems, atol=0.01)


def test_bands_end_where_they_should():
    response = degradations.band_limit(
        np.eye(1, N, N // 2, dtype=np.float32)[None].repeat(2, 1), RATE, 200, 4000)[0, 0]
    level_db = 20 * np.log10(np.abs(np.fft.rfft(response)) + 1e-9)
    hz = np.fft.rfftfreq(N, 1 / RATE)

    def at(frequency: float) -> float:
        return float(np.interp(frequency, hz, level_db))

    assert at(900) == pytest.approx(0, abs=0.1)
    assert at(200) == pytest.approx(-3, abs=0.2)
    assert at(4000) == pytest.approx(-3, abs=0.2)
    assert at(100) == pytest.approx(-12.3, abs=0.5)
    assert at(8000) == pytest.approx(-48, abs=1)


def test_an_equaliser_has_the_gains_it_was_given():
    gains_db = np.array([6, -3, 0, 4, -6, 2, 0, -2, 5, -4.0])
    impulse = np.eye(1, N, N // 2, dtype=np.float32).repeat(2, 0)
    response = degradations.equalise(impulse, RATE, gains_db)
    assert response.shape == impulse.shape
    assert response.dtype == np.float32
    level_db = 20 * np.log10(np.abs(np.fft.rfft(response[0])))
    hz = np.fft.rfftfreq(N, 1 / RATE)
    at = np.interp(degradations.OCTAVE_HZ[2:], hz, level_db)
    np.testing.assert_allclose(at, gains_db[2:], atol=0.3)
    assert np.interp(1500, hz, level_db) == pytest.approx(0.83, abs=0.1)  # 0.585 of the way
    assert response[0].argmax() == N // 2


def test_stems_get_another_timbre_as_often_as_asked(stems: np.ndarray, rng: Rng):
    def changed(**settings: Any) -> float:
        variations = Variations(DataSection(gain_db=0, silenced=0, **settings), STEMS, RATE)
        count = 0
        for _ in range(200):
            stem = stems[0].copy()
            variations.vary_stem(stem, rng)
            assert stem.dtype == np.float32
            count += not np.allclose(np.sort(np.abs(stem), 0),
                                     np.sort(np.abs(stems[0]), 0), atol=1e-5)
        return count / 200

    assert changed(equalised=0) == 0
    assert changed(equalised=0.5) == pytest.approx(0.5, abs=0.12)
    assert changed(equalised=1, equaliser_db=0) == 0


@pytest.mark.parametrize("samples", [500, 4411, N])
@pytest.mark.parametrize(("level", "error_db"), [(0.0, -20), (0.95, -6)])
def test_mp3_is_heard_where_the_sound_was(samples: int, level: float, error_db: float, rng: Rng):
    noise = rng.standard_normal((3, 2, samples))
    smooth = np.asarray(signal.sosfilt(signal.butter(4, 3000, fs=RATE, output="sos"), noise))
    stems = (0.1 * smooth).astype(np.float32)
    stems[1] = 0
    heard = degradations.coded(stems, RATE, level)
    assert heard.dtype == np.float32
    assert heard.shape == stems.shape
    assert not heard[1].any()
    error = np.square(heard - stems).sum() / np.square(stems).sum()
    assert 1e-5 < error < 10 ** (error_db / 10)
    np.testing.assert_array_equal(degradations.coded(stems, RATE, level), heard)


def test_mp3_loses_the_highest_octave():
    middle = np.s_[..., N // 4:-N // 4]  # it begins and ends with a click
    assert np.abs(degradations.coded(tone(18_000, N)[None], RATE, 0.9)[middle]).max() < 0.01
    assert np.abs(degradations.coded(tone(4000, N)[None], RATE, 0.9)[middle]).max() > 0.25


def test_a_rate_that_has_no_mp3_is_refused():
    with pytest.raises(DataError, match="no MP3 of 96000 Hz"):
        Variations(DataSection(), STEMS, 96_000)
    Variations(DataSection(coded=0), STEMS, 96_000)


def test_a_room_is_an_exact_convolution(stems: np.ndarray, rng: Rng):
    response = room(rng)
    heard = degradations.in_room(stems, response)
    expected = sum(np.convolve(stems[2, into].astype(np.float64), response[1, into])[:N]
                   for into in (0, 1))
    np.testing.assert_allclose(heard[2, 1], expected, atol=1e-5)


@pytest.mark.parametrize(("reverb_s", "direct_db"), [(0.2, 9), (0.8, -3)])
def test_a_room_rings_as_long_as_asked(rng: Rng, reverb_s: float, direct_db: float):
    rooms = np.stack([degradations.room_response(RATE, reverb_s, direct_db, 20, rng)
                      for _ in range(12)]).astype(np.float64)
    power = np.square(rooms).mean((0, 1, 2))
    later = power[len(power) // 8:]  # without single reflections and the slow start
    energy_db = 10 * np.log10(np.cumsum(later[::-1])[::-1])
    half = len(later) // 2
    fall_db = (energy_db[0] - energy_db[half]) * len(power) / half  # over reverb_s
    assert fall_db == pytest.approx(60, abs=8)
    direct = rooms[:, [0, 1], [0, 1], 0] ** 2
    crossed = rooms[:, [0, 1], [1, 0], 0] ** 2
    rest = np.square(rooms).sum((2, 3)) - direct - crossed
    assert 10 * np.log10(direct.mean() / rest.mean()) == pytest.approx(direct_db, abs=1)
    assert np.square(rooms).sum((1, 2, 3)).mean() == pytest.approx(2, rel=0.1)


def test_mono_is_mono(stems: np.ndarray):
    both = degradations.mono(stems, "both")
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
    np.testing.assert_allclose(both[:, 0], stems.mean(1), atol=1e-7)
    for kind, silent in (("left", 1), ("right", 0)):
        one = degradations.mono(stems, kind)
        assert not one[:, silent].any()
        np.testing.assert_array_equal(one[:, 1 - silent], stems[:, 1 - silent])


@pytest.mark.parametrize("over_db", [0.0, 6.0, 12.0])
def test_clipping_is_a_gain_that_all_stems_share(stems: np.ndarray, over_db: float):
    clipped = degradations.clip(stems, over_db)
    mixture = stems.sum(0)
    drive = 10 ** (over_db / 20) / np.abs(mixture).max()
    np.testing.assert_allclose(clipped.sum(0), np.clip(mixture * drive, -1, 1), atol=1e-5)
    gains = clipped / stems
    np.testing.assert_allclose(gains, gains[:1].repeat(4, 0), rtol=1e-3)
    assert gains.max() == pytest.approx(drive, rel=1e-3)
    np.testing.assert_array_equal(degradations.clip(0 * stems, over_db), 0 * stems)


def test_a_pause_is_silence_without_a_click(stems: np.ndarray):
    rested = degradations.pause(np.ones_like(stems), 1000, 2000, 100)[0, 0]
    assert not rested[1000:2000].any()
    np.testing.assert_array_equal(rested[[899, 2100]], 1)
    assert np.abs(np.diff(rested)).max() <= 0.0101
    np.testing.assert_array_equal(rested[1000 - 50], rested[1999 + 50])


@pytest.mark.parametrize("hum", [0.0, 1.0])
def test_noise_has_its_level_colour_and_hum(rng: Rng, hum: float):
    noise = degradations.background(N, RATE, -50, slope=1, hum=hum, hum_hz=50, rng=rng)
    assert 10 * np.log10(np.mean(noise**2)) == pytest.approx(-50, abs=0.1)
    power = np.abs(np.fft.rfft(noise[0])) ** 2
    hz = np.fft.rfftfreq(N, 1 / RATE)
    octaves = [power[(hz >= low) & (hz < 2 * low)].sum() for low in (400, 3200)]
    if hum:
        assert loudest_hz(noise[0]) == pytest.approx(50, abs=2)
    else:  # as much in every octave
        assert octaves[1] == pytest.approx(octaves[0], rel=0.3)


def degraded(stems: np.ndarray, rng: Rng, names: tuple[str, ...] = STEMS,
             **more: Any) -> np.ndarray:
    config = DataSection(**{**OFF, **more})
    return Variations(config, names, RATE).degrade(stems.copy(), rng)


def test_all_is_off_at_zero_and_on_at_one(stems: np.ndarray, rng: Rng):
    np.testing.assert_array_equal(degraded(stems, rng), stems)
    for name in OFF:
        assert not np.array_equal(degraded(stems, rng, STEMS, **{name: 1.0}), stems), name


def test_noise_belongs_to_other(stems: np.ndarray, rng: Rng):
    noise = degraded(stems, rng, noisy=1, noise_db=(-45, -45)) - stems
    assert not noise[:3].any()
    assert 10 * np.log10(np.mean(noise[3] ** 2)) == pytest.approx(-45, abs=0.1)
    pair = stems[:2]
    np.testing.assert_array_equal(
        degraded(pair, rng, names=("vocals", "bass"), noisy=1, noise_db=(-45, -45)), pair)


def test_silence_stays_silence(stems: np.ndarray, rng: Rng):
    everything: dict[str, Any] = {**dict.fromkeys(OFF, 1.0), "noisy": 0.0}
    assert not degraded(0 * stems, rng, STEMS, **everything).any()


@pytest.mark.parametrize(("setting", "words"), [
    ("data.room=1.5", ["data.room", "1.5"]),
    ("data.mono=-0.1", ["data.mono", "-0.1"]),
    ("data.tempo=0.9", ["data.tempo", "0.9"]),
    ("data.pitch_semitones=-2", ["data.pitch_semitones", "-2"]),
    ("data.low_pass_hz=[8000, 4000]", ["data.low_pass_hz", "8000", "4000"]),
    ("data.high_pass_hz=[0, 100]", ["data.high_pass_hz"]),
    ("data.reverb_s=0.5", ["data.reverb_s", "0.5"]),
    ("data.noise_db=[-40]", ["data.noise_db"]),
    ("data.level_min_db=10", ["level_min_db", "10"])])
def test_a_bad_setting_is_one_clear_line(setting: str, words: list[str]):
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[setting])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
