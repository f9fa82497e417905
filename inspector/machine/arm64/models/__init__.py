"""Named CPU models on hosts: realization, accepted values, baseline."""
