"""The main job with the AWS CLI: every call is a run of `aws kinesis …`.
Usage: main_job.py AWS ENDPOINT LOG STREAM"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import mainjob  # noqa: E402
from command import AWS  # noqa: E402


def main():
    program, endpoint, log, stream = sys.argv[1:]
    # A run takes a good part of a second: few large pages instead of many small ones.
    mainjob.run(AWS(program, endpoint), pathlib.Path(log).read_bytes(), stream, limit=10000, page=1000)


main()
