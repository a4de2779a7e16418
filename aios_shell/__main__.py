"""`python -m aios_shell` is `aios`."""

from aios_shell.cli import main

main()
