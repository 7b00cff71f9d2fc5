"""What is measured of a peer: that it runs as claimed, what it costs, how it scores."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from bench.peers.hstasnet import PeerError
from bench.peers.peers import Peer
from model.data import Song
from model.evaluate.scores import Scores, score_song, summarise
from rt.spec import CHANNELS

PROBE_S = 0.6
TOLERANCE = 1e-4  # of a stream against the same network offline
ROUND_S = 2.0


def check(peer: Peer) -> None:
    """Raises PeerError where the stems do not trail their input by what the window says, or where
    a stream's samples are not those of the offline pass that is scored."""
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((CHANNELS, round(PROBE_S * peer.sample_rate)))
    noise = noise.astype(np.float32)
    stems = peer.streamed(noise)
    lag, due = _lag(noise.mean(0), stems.sum(0).mean(0)), peer.window - peer.hop
    if lag != due:
        raise PeerError(f"{peer.name}: its stems trail the input by {lag} samples, not by {due}")
    if peer.whole is not None:
        offline = peer.separate(noise)[..., :stems.shape[-1] - due]
        error = float(np.abs(stems[..., due:] - offline).max())
        if not error <= TOLERANCE:
            raise PeerError(f"{peer.name}: streamed and offline differ by {error:.1e}")


def _lag(signal: np.ndarray, heard: np.ndarray) -> int:
    """Samples by which `heard` trails `signal`: where their correlation is largest."""
    size = 2 * max(len(signal), len(heard))
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(signal, size))
    return int(np.fft.irfft(product)[:size // 2].argmax())


def cpu_seconds(peers: Sequence[Peer], signal: np.ndarray, seconds: float) -> list[float]:
    """CPU seconds per second of audio on one thread, signal [2, n] hop by hop at the pace of a
    performance, the peers taking turns every two seconds: what disturbs one disturbs all."""
    rounds = max(1, round(seconds / ROUND_S))
    spent, heard = np.zeros(len(peers)), np.zeros(len(peers))
    for turn in range(-1, rounds):
        for i, peer in enumerate(peers):
            hops = round((0.2 if turn < 0 else ROUND_S) * peer.sample_rate / peer.hop)
            used = _paced(peer, signal, hops)
            if turn >= 0:  # the first turn only warms up
                spent[i] += used
                heard[i] += hops * peer.hop / peer.sample_rate
    return (spent / heard).tolist()


def _paced(peer: Peer, signal: np.ndarray, hops: int) -> float:
    available = signal.shape[1] // peer.hop
    pace, used = peer.hop / peer.sample_rate, 0.0
    start = time.perf_counter()
    for k in range(hops):
        at = k % available * peer.hop
        hop = np.ascontiguousarray(signal[:, at:at + peer.hop].T)
        if (wait := start + k * pace - time.perf_counter()) > 0:
            time.sleep(wait)
        before = time.thread_time()
        peer.stream.step(hop)
        used += time.thread_time() - before
    return used


def scores(peer: Peer, songs: Sequence[Song]) -> Scores:
    """model.evaluate's summary over whole songs, each from silence."""
    per_song = []
    for song in songs:
        targets = np.stack([song.read(stem) for stem in peer.stems])
        mixture = targets.sum(0)
        per_song.append(score_song(peer.stems, targets, peer.separate(mixture), mixture,
                                   peer.sample_rate))
    return summarise(per_song)
