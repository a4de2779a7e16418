"""The command language: parse a line, expand its words, run its pipelines."""
