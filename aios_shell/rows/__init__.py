"""Rows of the table of commands, those of each manager in a module of their own; `registry` puts them together."""
