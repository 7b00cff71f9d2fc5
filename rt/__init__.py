"""The live system: streaming separation from an ONNX step graph. Never imports torch."""
