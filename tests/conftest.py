"""Load what the tests import in the one order that works everywhere."""

import os

import torch

from nni_magic import compat

compat.load_torchvision()
compat.import_nni_quietly()

# Several processes with as many threads as cores each would wait for each other.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
