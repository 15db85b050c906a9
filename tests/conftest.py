"""Load what the tests import in the one order that works everywhere."""

from nni_magic import compat

compat.load_torchvision()
compat.import_nni_quietly()
