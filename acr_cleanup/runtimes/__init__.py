"""Edge: where we run. Strings in, strings out; no domain word is known here."""
