"""What bytes and bits mean: declarations only, no behaviour.

Structures are declared with construct, bit fields and tables with the words of
:mod:`layouts.vocabulary`. Nothing here reads a file or decides a rule, and nothing here
imports the rest of the project.
"""
