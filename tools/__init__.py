"""What a person runs here to make the generated client from Dune's spec; no part of what users install."""
