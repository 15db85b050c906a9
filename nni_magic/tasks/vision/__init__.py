"""Images: from files to supernets trained to classify them."""
