"""Where sound with known phones comes from: synthetic voices, recordings, and what is not speech at all."""
