"""How calls travel: signing, sending, repeating, and reading what comes back."""
