"""The main job with boto3. Usage: main_job.py ENDPOINT LOG STREAM"""

import pathlib
import sys

import boto3
from botocore.config import Config

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import mainjob  # noqa: E402


def main():
    endpoint, log, stream = sys.argv[1:]
    client = boto3.client("kinesis", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))
    mainjob.run(client, pathlib.Path(log).read_bytes(), stream)


main()
