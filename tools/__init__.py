"""The tools that turn Dune's spec into the generated client. Users do not install them."""
