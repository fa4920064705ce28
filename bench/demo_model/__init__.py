"""Making of the demo model: phantoms, prompt simulation, training and evaluation (see docs/demo-model.md)."""
