"""A simulated user who knows the truth: how good and how fast is a model's click? `segloop simulate clicks`."""
