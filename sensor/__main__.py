"""`python -m sensor` is the command `sensor`."""

from sensor.cli.main import main

main()
