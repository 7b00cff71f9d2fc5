"""The paper's offline network, as its public implementation keeps it on disk."""
