"""``python -m silicost``."""

from silicost.cli import main

main()
