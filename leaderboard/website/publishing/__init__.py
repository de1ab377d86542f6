"""What readers take home from the website: data in the formats that other programs read."""
