"""Scores of checkpoints, step graphs and streams on songs whose stems are known."""
