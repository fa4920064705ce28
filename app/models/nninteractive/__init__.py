"""nnInteractive's models: any folder in its format, official or our own."""
