"""`python -m lib_iclight`: see `cli`."""

import sys

from .cli import main

sys.exit(main())
