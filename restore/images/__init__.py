"""Photos and masks: files, samples, windows. No models."""
