"""Steps of the sandwich rule in plain torch."""

from regressions import Headed, X, Y, fresh
from spaces import set_path
from torch import nn

from nni_magic.samplers import UniformSampler

LARGEST, SMALLEST = (dict.fromkeys(Headed().simplify(), name) for name in ("linear", "skip"))


def by_hand(divergence, n_random=1):
    """A supernet trained in one backward pass for each child of a step."""
    sampler = UniformSampler(Headed(), seed=3)
    net, optimizer = fresh(Headed)
    for start in range(0, 16, 4):
        x, y = X[start : start + 4], Y[start : start + 4]
        optimizer.zero_grad()
        set_path(net, LARGEST)
        teacher = net(x)
        nn.functional.mse_loss(teacher, y).backward()
        for child in [SMALLEST, *(sampler.next() for _ in range(n_random))]:
            set_path(net, child)
            divergence(net(x), teacher.detach()).backward()
        optimizer.step()
    return net
