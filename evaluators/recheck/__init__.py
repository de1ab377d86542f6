"""The independent checker: its own arithmetic and its own reader of ONNX files."""
