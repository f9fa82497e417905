"""Words and captures become hosts, worlds and labs."""
