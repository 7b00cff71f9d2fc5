"""What is read in training: random mixtures by the step, whole songs for validation.

Every process of a distributed run reads its own items: item i of process r in step s has the
number (s · processes + r) · batch + i in one endless sequence (model.data.mixes). So a step's
items depend on nothing that was read before, a resumed run reads on where it stopped, and two
processes with a batch of one read what one process reads with a batch of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import lightning
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from model.data import RandomMixes, Song, open_dataset
from model.train.plan import Plan
from rt.config import Config


class Songs(Dataset[torch.Tensor]):
    """Whole songs: float32 [sources, channels, samples]."""

    def __init__(self, songs: list[Song], sources: tuple[str, ...]) -> None:
        self.songs = songs
        self.sources = sources

    def __len__(self) -> int:
        return len(self.songs)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.stack([torch.from_numpy(self.songs[index].read(s)) for s in self.sources])


class StepBatches(Sampler[list[int]]):
    """The numbers of one process's items, an epoch at a time, from the step that is now."""

    def __init__(self, step: Callable[[], int], batch: int, rank: int, processes: int,
                 steps_per_epoch: int, max_steps: int) -> None:
        self.step = step
        self.batch, self.rank, self.processes = batch, rank, processes
        self.steps_per_epoch, self.max_steps = steps_per_epoch, max_steps

    def __len__(self) -> int:
        """Steps in the epoch that begins now: the last one may be shorter."""
        return min(self.steps_per_epoch, max(self.max_steps - self.step(), 1))

    def __iter__(self) -> Iterator[list[int]]:
        begin = self.step()
        for step in range(begin, begin + len(self)):
            first = (step * self.processes + self.rank) * self.batch
            yield list(range(first, first + self.batch))


class MixData(lightning.LightningDataModule):
    """Raises ConfigError or DataError where there is nothing to train on or to validate with."""

    def __init__(self, config: Config, plan: Plan, shortest: int) -> None:
        """shortest: samples that a validation song must have."""
        super().__init__()
        self.config = config
        self.plan = plan
        songs = open_dataset(config.data, plan.sources, plan.sample_rate, plan.segment, shortest)
        self.training, self.validation, self.notes = songs.training, songs.validation, songs.notes
        self._mixes(processes=1)  # now, so that what is missing is said at once
        self._loader: DataLoader[torch.Tensor] | None = None

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        """The same one in every epoch, so that its workers live on."""
        if self._loader is None:
            trainer, train = self.trainer, self.config.train
            assert trainer is not None
            workers = self.config.data.workers
            batches = StepBatches(lambda: trainer.global_step, train.batch, trainer.global_rank,
                                  trainer.world_size, train.steps_per_epoch, train.max_steps)
            self._loader = DataLoader(
                self._mixes(trainer.world_size), batch_sampler=batches, num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=trainer.strategy.root_device.type == "cuda")
        return self._loader

    def val_dataloader(self) -> DataLoader[torch.Tensor]:
        """Every process has its share of the songs, or all where there are too few: no process
        may be left without one, because they wait for each other at the end."""
        assert self.trainer is not None
        count, processes = len(self.validation), self.trainer.world_size
        share = (range(self.trainer.global_rank, count, processes) if count >= processes
                 else range(count))
        return DataLoader(Songs([self.validation[i] for i in share], self.plan.sources))

    def _mixes(self, processes: int) -> RandomMixes:
        train = self.config.train
        return RandomMixes(self.training, self.plan.sources, self.config.data,
                           samples=self.plan.segment, seed=train.seed, first=0,
                           items=train.max_steps * train.batch * processes)
