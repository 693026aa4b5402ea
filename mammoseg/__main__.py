"""`python -m mammoseg`: the command `mammoseg`."""

from mammoseg.command import main

raise SystemExit(main())
