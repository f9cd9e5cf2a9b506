"""What can go wrong while deploying, told in one line that says what to do."""


class DeployProblem(Exception):
    """A step did not work; the text names it and the remedy."""
