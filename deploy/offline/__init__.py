"""Docker and base images on a Debian machine that cannot pull any: from Debian packages and Maven jars alone.

    python3 -m deploy.offline start                  install Docker from Debian where it is missing, and start it
    python3 -m deploy.offline build kafka            make and tag apache/kafka:4.3.0 (needs Java and Maven once)
    python3 -m deploy.offline build                  every base image
    python3 -m deploy.offline packages               fetch the Python packages that go into the services' image
    python3 -m deploy.offline stop                   end the daemon, if `start` started it

As root, from the top of a checkout; needs Python 3.11 (`packages`: and pip) and no virtual environment. Each may be
called again: what is there already stays. docs/containers.md says what the images hold and how to carry them elsewhere.
"""
