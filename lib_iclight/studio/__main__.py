"""python -m lib_iclight.studio"""

from .serve import main

if __name__ == "__main__":
    raise SystemExit(main())
