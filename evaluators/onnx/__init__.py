"""ONNX files: reading, checking, comparing with the runtime, writing."""
