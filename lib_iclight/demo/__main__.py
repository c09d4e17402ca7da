"""python -m lib_iclight.demo"""

import sys

from . import main

sys.exit(main())
