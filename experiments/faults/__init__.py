"""A campaign of faults: real processes are killed, disks filled, files damaged, nonsense entered.

::

    python -m experiments.faults                 # the whole campaign, and its record
    python -m experiments.faults kills --short   # one part of it, a few of each kind

Every part gives :class:`~experiments.faults.tried.Tried`, one for each fault, and the campaign's
table counts them.
"""
