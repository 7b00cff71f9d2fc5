"""What happens to music between the studio and the input of a live system, as pure functions.

Each takes stems [stems, channels, samples] and treats all of them alike: the same filter, codec,
room, gain curve. So what comes out of the sum of the stems is the sum of what comes out of
them, and a network whose stems add up to its input can still learn it. Where nature is not linear
(clipping), it is the gain that the mixture gets which is applied to every stem.
"""

from __future__ import annotations

import io
from typing import cast

import numpy as np
import soundfile
from scipy import fft, signal

EARLY_S = 0.05  # reflections that are heard one by one come before this
REFLECTIONS = 8  # on each way
OCTAVE_HZ = 31.25 * 2.0 ** np.arange(10)  # to 16 kHz
HARMONICS = 4  # of mains hum
STEREO = 2
MP3_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz
PAD = 4096  # samples that a filter may ring before its end would meet the beginning


def band_limit(stems: np.ndarray, sample_rate: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Only what lies between low_hz (12 dB an octave) and high_hz (48 dB an octave): a telephone,
    a small loudspeaker."""
    samples = stems.shape[-1]
    n = _fast(samples + PAD)
    hz = np.maximum(fft.rfftfreq(n, 1 / sample_rate), 1e-3)
    below, above = np.square(low_hz / hz), np.square(hz / high_hz)
    for _ in range(3):
        above = np.square(above)
    gain = 1 / np.sqrt((1 + np.square(below)) * (1 + above))  # Butterworth's, of order 2 and 8
    return _waveform(_spectrum(stems, n) * gain.astype(np.float32), n)[..., :samples]


def coded(stems: np.ndarray, sample_rate: int, level: float) -> np.ndarray:
    """Every stem as MP3 gives it back (LAME, through libsndfile): what is above its low-pass is
    gone, and what it takes for inaudible is quantised away. level: libsndfile's compression level,
    from 0, the largest files (about 250 kbit/s), to 0.95 (about 80).

    A codec hears the mixture, and what loud stems mask in quiet ones goes too; here every stem goes
    its own way, so that they still add up to what is heard.
    """
    return np.stack([_mp3(stem, sample_rate, level) for stem in stems])


def _mp3(waveform: np.ndarray, sample_rate: int, level: float) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, waveform.T, sample_rate, format="MP3", subtype="MPEG_LAYER_III",
                    compression_level=level)
    file.seek(0)
    # aligned and as long as before: LAME writes how much it added, and the decoder takes it away
    heard = soundfile.read(file, dtype="float32", always_2d=True)[0].T
    if heard.shape != waveform.shape:
        raise RuntimeError(f"{waveform.shape} came back from MP3 as {heard.shape}")
    return heard


def equalise(waveform: np.ndarray, sample_rate: int, gains_db: np.ndarray) -> np.ndarray:
    """[channels, samples] with other gains at OCTAVE_HZ, straight lines between them over the
    logarithm of frequency: another instrument of its kind, voice or microphone. Nothing is
    delayed: the filter has no phase."""
    samples = waveform.shape[-1]
    n = _fast(samples + PAD)
    octaves = np.log2(np.maximum(fft.rfftfreq(n, 1 / sample_rate), 1.0))
    gain = 10 ** (np.interp(octaves, np.log2(OCTAVE_HZ), gains_db) / 20)
    return _waveform(_spectrum(waveform, n) * gain.astype(np.float32), n)[..., :samples]


def room_response(sample_rate: int, reverb_s: float, direct_db: float, low_hz: float,
                  rng: np.random.Generator) -> np.ndarray:
    """A made-up impulse response from two loudspeakers to two microphones, [2 out, 2 in, n].

    The direct sound comes at once, so that nothing is delayed; then a few single reflections, then
    noise that has decayed by 60 dB after reverb_s, the highs in half that time. The direct sound is
    direct_db above everything later; loudspeakers give nothing below low_hz.
    """
    n = max(2, round(reverb_s * sample_rate))
    time = np.arange(n, dtype=np.float32) / n  # 1 after reverb_s
    noise = rng.standard_normal((2, STEREO, STEREO, n), dtype=np.float32)
    smooth = signal.butter(1, min(1500, 0.4 * sample_rate), fs=sample_rate, output="sos")
    later = signal.sosfilt(smooth, noise[0]) * np.exp(-6.9 * time)
    later += 0.3 * noise[1] * np.exp(-13.8 * time)
    later *= np.minimum(1, time * (reverb_s / EARLY_S))  # it takes time to build up
    early = rng.integers(1, min(n, round(EARLY_S * sample_rate)), (STEREO, STEREO, REFLECTIONS))
    heights = rng.uniform(-1, 1, early.shape) * 3 * np.sqrt(np.mean(later**2) * n / REFLECTIONS)
    out, into, _ = np.indices(early.shape)
    np.add.at(later, (out, into, early), heights)
    later *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(later**2) / STEREO)
    nearer = rng.uniform(0.3, 1)  # each microphone hears the other loudspeaker too
    later[:, :, 0] = [[1, nearer], [nearer, 1]]
    later /= np.sqrt(np.sum(later**2) / STEREO)  # about as loud as before
    speaker = signal.butter(2, low_hz, "highpass", fs=sample_rate, output="sos")
    return np.asarray(signal.sosfilt(speaker, later), np.float32)


def in_room(stems: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Stems as microphones hear them; response [2 out, 2 in, n]. The tail is cut at the end."""
    samples = stems.shape[-1]
    n = _fast(samples + response.shape[-1] - 1)
    heard = np.einsum("sif,oif->sof", _spectrum(stems, n), _spectrum(response, n))
    return _waveform(heard, n)[..., :samples]


def mono(stems: np.ndarray, kind: str) -> np.ndarray:
    """`both`: left and right are their mean. `left` or `right`: the other channel is silent."""
    if kind == "both":
        return np.broadcast_to(stems.mean(1, keepdims=True), stems.shape).copy()
    only = np.array({"left": [1, 0], "right": [0, 1]}[kind], np.float32)
    return stems * only[:, None]


def clip(stems: np.ndarray, over_db: float) -> np.ndarray:
    """The mixture's peak is driven over_db above full scale, and the mixture clipped there."""
    mixture = np.abs(stems.sum(0))
    peak = float(mixture.max())
    if peak == 0:
        return stems
    drive = np.float32(10 ** (over_db / 20) / peak)
    return stems * (drive / np.maximum(1, mixture * drive))


def pause(stems: np.ndarray, start: int, stop: int, fade: int) -> np.ndarray:
    """Everybody rests from start to stop; the sound fades before and after, over `fade` samples."""
    place = np.arange(stems.shape[-1])
    beyond = np.maximum(start - place, place - stop + 1)  # samples outside the pause
    return stems * np.clip(beyond / fade, 0, 1).astype(np.float32)


def background(samples: int, sample_rate: int, rms_db: float, slope: float, hum: float,
               hum_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power falls as frequency to the `slope`, and mains hum, [2, samples].

    rms_db: of both together (dBFS). hum: its share of the power, 0 to 1.
    """
    n = _fast(samples)
    spectrum = _spectrum(rng.standard_normal((STEREO, n), dtype=np.float32), n)
    spectrum *= np.arange(1, spectrum.shape[1] + 1, dtype=np.float32) ** np.float32(-slope / 2)
    noise = _waveform(spectrum, n)[:, :samples]
    harmonics = np.arange(1, 1 + HARMONICS)
    phase = np.arange(samples, dtype=np.float32) * np.float32(2 * np.pi * hum_hz / sample_rate)
    heights = (rng.uniform(0.1, 1, HARMONICS) / harmonics).astype(np.float32)
    tone = heights @ np.sin(harmonics.astype(np.float32)[:, None] * phase)
    both = (np.sqrt((1 - hum) / np.mean(noise**2)) * noise
            + np.sqrt(hum / np.mean(tone**2)) * tone) * 10 ** (rms_db / 20)
    return both.astype(np.float32)


def _fast(samples: int) -> int:
    """The next length that has small factors only."""
    return cast(int, fft.next_fast_len(samples, real=True))


# scipy's transforms, which keep float32 and take a quarter of numpy's time, have no types
def _spectrum(waveform: np.ndarray, n: int) -> np.ndarray:
    return cast(np.ndarray, fft.rfft(waveform, n))


def _waveform(spectrum: np.ndarray, n: int) -> np.ndarray:
    return cast(np.ndarray, fft.irfft(spectrum, n))
