"""python -m bench.peers: our tiers beside HS-TasNet, side by side in one run.

    python -m bench.peers train --size small --data SONGS/train --segments N --out RUN
    python -m bench.peers --data SONGS/test --hs-tasnet RUN

uSDR and cSDR per stem on the same songs, beside what the best constant gain of the mixture reaches;
latency, held against the signal's own delay; parameters; CPU time per second of audio on one
thread, hop by hop at the pace of a performance in ONNX Runtime. HS-TasNet without a trained run is
listed with what it costs and is not scored.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from bench.peers import table, train
from bench.peers.hstasnet import SIZES, PeerError
from bench.peers.measure import check, cpu_seconds, scores
from bench.peers.peers import Peer, tier_peer, trained_hs_tasnet, untrained_hs_tasnet
from model.data import DataError, open_songs
from rt.sections import DataSection
from rt.session import SessionError, packaged_model


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["train"]:
        return train.main(argv[1:])
    args = _parse(argv)
    torch.set_num_threads(1)
    try:
        rows = compare(args)
        print(table.text(rows))
        small = next(row for row in rows if row.peer.name == "hs-tasnet small")
        print("\n".join(table.against(rows, small)))
        for path in table.write(rows, args.out) if args.out else ():
            print(f"written to {path}")
    except (PeerError, DataError, SessionError) as error:
        print(f"bench.peers: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"bench.peers: {error.filename or args.out}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def compare(args: argparse.Namespace) -> list[table.Row]:
    """Raises PeerError, DataError, SessionError or OSError."""
    ours = [tier_peer(Path(name) if name.endswith(".onnx")
                      else packaged_model(name, provider="cpu")) for name in args.model]
    theirs = [trained_hs_tasnet(folder) for folder in args.hs_tasnet]
    stems, rate = ours[0].stems, ours[0].sample_rate
    known = {peer.name for peer in theirs}
    theirs += [untrained_hs_tasnet(size, stems, rate) for size in SIZES
               if f"hs-tasnet {size}" not in known]
    peers: list[Peer] = ours + theirs
    for peer in peers:
        if (peer.stems, peer.sample_rate) != (stems, rate):
            raise PeerError(f"{peer.name}: has other stems or another rate than {ours[0].name}")
        check(peer)
    songs, problems = open_songs(args.data, DataSection(), stems, rate)
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    signal = np.sum([songs[0].read(stem) for stem in stems], 0)
    print(f"{len(songs)} songs of {args.data}; costs over {args.seconds:g} s each", flush=True)
    costs = cpu_seconds(peers, signal, args.seconds)
    return [table.Row(peer, cost, scores(peer, songs) if peer.trained_on else {})
            for peer, cost in zip(peers, costs, strict=True)]


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description="Our tiers and HS-TasNet on the same songs (python -m bench.peers train "
                    "--help: how HS-TasNet is trained).")
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="SONGS",
        help="folder of test songs: 16-bit WAV in the MUSDB18-HQ layout")
    add("--hs-tasnet", type=Path, nargs="+", default=[], metavar="RUN",
        help="runs of python -m bench.peers train")
    add("--model", nargs="+", default=["live", "ultra"], metavar="MODEL",
        help="tiers or .onnx files of ours (default: live ultra)")
    add("--seconds", type=float, default=10.0,
        help="of audio that each peer's cost is measured over (default 10)")
    add("--out", type=Path, metavar="FOLDER", help="also write peers.tsv, .json and .png here")
    args = parser.parse_args(argv)
    if not 0 < args.seconds <= 600:
        parser.error(f"--seconds {args.seconds:g}: between 0 and 600")
    return args


if __name__ == "__main__":
    sys.exit(main())
