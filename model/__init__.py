"""The networks: training, evaluation and checkpoints. PyTorch; needs the `train` extra."""
