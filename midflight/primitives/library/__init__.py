"""The primitives that come with Midflight, a module each."""
