"""Songs on disk and the random mixtures that the network is trained on."""

from model.data.mixes import RandomMixes
from model.data.songs import DataError, Song, open_songs

__all__ = ["DataError", "RandomMixes", "Song", "open_songs"]
