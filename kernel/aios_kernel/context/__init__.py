"""Contexts: what each process has said to the model, and where the KV state of it is."""
