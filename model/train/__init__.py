"""Training: python -m model.train [--config FILE] [key.sub=value ...]"""

from model.train.command import main

__all__ = ["main"]
