"""Songs on disk and the random mixtures that the network is trained on."""

from model.data.dataset import Dataset, open_dataset, open_songs
from model.data.mixes import RandomMixes
from model.data.songs import DataError, Song

__all__ = ["DataError", "Dataset", "RandomMixes", "Song", "open_dataset", "open_songs"]
