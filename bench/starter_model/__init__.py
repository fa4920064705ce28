"""Making of the starter model: scenes, prompt simulation, training and evaluation (see docs/starter-model.md)."""
