"""``python -m nni_magic.programs`` is the console script ``nni-magic``."""

from .main import main

if __name__ == "__main__":
    main()
