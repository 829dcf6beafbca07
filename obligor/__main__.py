"""``python -m obligor`` runs the command line."""

from obligor.cli.app import main

main()
