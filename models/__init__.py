"""Datasets, losses, networks, thresholds, metrics, detectors, and their life in MLflow."""
