"""From a trained checkpoint to the ONNX step graph that the live system runs."""
