"""Thousands of hosts and guests: what is known of each distinct one, once, and questions to all of them together.

A capture becomes facts (``facts.py``, ``gather.py``): documents without what differs between two CPUs of one machine,
so that equal hosts have equal facts. The store (``store.py``) keeps each document once, and a row a capture. Questions
are put to the distinct documents: ``relation.py`` says which guest may go to which host, and by which bits it may not,
with the rules of ``inspector/machine``; ``lattice.py``, ``checked.py``, ``forecast.py`` and ``odd.py`` count in it.
"""
