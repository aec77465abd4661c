"""Measures: numbers of batches and runs, which figures draw and anybody may call; nothing here needs matplotlib."""
