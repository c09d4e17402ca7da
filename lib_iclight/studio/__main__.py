"""python -m lib_iclight.studio"""

from .page import main

if __name__ == "__main__":
    raise SystemExit(main())
