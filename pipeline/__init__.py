"""Stages: paths in, one artifact and a small result out."""
