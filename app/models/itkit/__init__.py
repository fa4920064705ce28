"""Models as ITKIT's server runs them: ONNX files, and MMEngine models in processes of their own."""
