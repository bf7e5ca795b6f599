"""The AWS CLI as a Python object: every method call is a run of `aws kinesis …`."""

import base64
import json
import subprocess
import tempfile

from botocore import xform_name


class Failed(Exception):
    """A run that failed. text is what it wrote to stderr, code its exit code."""

    def __init__(self, operation, code, text):
        super().__init__(f"aws kinesis {operation}: exit code {code}: {text}")
        self.code, self.text = code, text


class AWS:
    """Looks like a boto3 client; turns each method call into a command line."""

    def __init__(self, program, endpoint):
        self.command = [program, "--endpoint-url", endpoint, "--output", "json", "kinesis"]

    def __getattr__(self, method):
        return lambda **arguments: self.call(method.replace("_", "-"), arguments)

    def call(self, operation, arguments):
        command = self.command + [operation]
        if operation == "list-shards":
            command.append("--no-paginate")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            for name, value in arguments.items():
                option = "--" + xform_name(name, "-")
                if isinstance(value, list):
                    json.dump(value, file, default=bytes.decode)
                    file.flush()
                    value = f"file://{file.name}"
                command += [option, str(value)]
            done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise Failed(operation, done.returncode, done.stderr.decode().strip())
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
        if operation == "get-records":
            for record in answer["Records"]:
                record["Data"] = base64.b64decode(record["Data"], validate=True)
        return answer
