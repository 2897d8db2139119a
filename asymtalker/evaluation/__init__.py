"""Evaluation of a checkpoint on a dataset: settings, clips, measurement, summary and report."""
