"""The requests of each protocol, as its clients send them, and as nobody should. Each module has `play(site)`."""
