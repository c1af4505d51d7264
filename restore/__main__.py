"""`python -m restore` is `restore`."""

from restore.cli import main

main()
