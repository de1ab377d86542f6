"""Pages of the website, one module each kind."""
