"""Run an ONNX file: providers, sessions, their profile; only here is onnxruntime known."""
