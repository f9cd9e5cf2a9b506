"""`python3 -m deploy.offline`: see the package."""

import argparse
import sys

import deploy.offline
from deploy.offline import daemon, images, packages
from deploy.problems import DeployProblem
from services.broker.problems import BrokerProblem


def main() -> int:
    """Run one command; problems are one line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m deploy.offline",
        description=deploy.offline.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", help="Docker from Debian where it is missing; the daemon where none runs")
    commands.add_parser("stop", help="end the daemon that `start` started")
    commands.add_parser("packages", help="fetch the Python packages of the services' image (needs pip)")
    build = commands.add_parser("build", help="make base images")
    build.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(images.IMAGES)}; all without any"
    )
    build.add_argument(
        "--again", action="store_true", help="also where the image is there, for newer packages"
    )
    options = parser.parse_args()
    if unknown := sorted(set(getattr(options, "names", [])) - images.IMAGES.keys()):
        parser.error(f"no image is named {unknown[0]}: choose from {', '.join(images.IMAGES)}")
    try:
        if options.command == "stop":
            daemon.stop()
            return 0
        if options.command == "packages":
            packages.fetch()
            return 0
        daemon.start()
        if options.command == "build":
            for name in options.names or images.IMAGES:
                images.build(name, again=options.again)
    except (DeployProblem, BrokerProblem) as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
