"""What the README shows is true."""

import hashlib
import hmac
import json
import re
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.client import SIGNATURE_HEADERS, Refused, verify
from slayq_tw.config import Config, load
from slayq_tw.payload import parse_payload, request_body
from slayq_tw.signing import sign
from tests.processes import ROOT, program

README = (ROOT / "README.md").read_text("utf-8")
SECRET = 'G,4DgB$.?>X]"w}w1745Xq2nKoM4BG74'


def block(language: str, containing: str) -> str:
    """A code block of the README."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return str(found)


def a_request(now: float) -> tuple[bytes, str]:
    """A body, as it is delivered at that time, and its signature."""
    payload = parse_payload(
        '{"url":"http://app.test/","retry":0,"event":"e","data":{"10":1.0,"9":"é\\u2028","x":1e21,"f":-0.0}}'
    )
    body = request_body(payload, job_key="k", attempt=1, now_ms=int(now * 1000))
    return body, sign(body, SECRET.encode())


class VerificationTests(SynchronousTestCase):
    """The two ways to verify a delivery."""

    def test_python(self) -> None:
        """The Python one takes what is delivered, and refuses what is changed, or late."""
        namespace: dict[str, object] = {}
        exec(block("python", "def verified"), namespace)
        verified = namespace["verified"]
        assert callable(verified)
        body, signature = a_request(time.time())
        self.assertTrue(verified(body, signature, SECRET))
        self.assertFalse(verified(body + b" ", signature, SECRET))
        self.assertFalse(verified(body, signature, "another"))
        self.assertFalse(verified(*a_request(time.time() - 60), SECRET))

    def test_node(self) -> None:
        """So does the JavaScript one."""
        ask = """
        const [text, signature, secret] = JSON.parse(process.argv[1]);
        console.log(verified(text, signature, secret));
        """
        script = block("js", "export function verified").replace("export function", "function") + ask
        answers = []
        for body, signature in (a_request(time.time()), a_request(time.time() - 60)):
            for secret in (SECRET, "another"):
                arguments = json.dumps([body.decode(), signature, secret])
                ended = subprocess.run(
                    [program("node"), "--input-type=module", "--eval", script, "--", arguments],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                answers.append(ended.stdout.strip())
        self.assertEqual(answers, ["true", "false", "false", "false"])

    def test_change_in_node(self) -> None:
        """While the secret changes, it takes either field under either secret, and nothing else."""
        ask = """
        const [text, headers, secrets] = JSON.parse(process.argv[1]);
        """
        script = (
            block("js", "export function verified").replace("export function", "function")
            + ask
            + block("js", "x-slayq-signature-previous")
            + "console.log(accepted);"
        )
        body, signature = a_request(time.time())
        first, second = "x-slayq-signature", "x-slayq-signature-previous"
        other = sign(body, b"another")
        for headers, secrets, accepted in (
            ({first: signature}, [SECRET], True),
            ({first: other, second: signature}, [SECRET], True),
            ({first: signature}, ["another", SECRET], True),
            ({first: other, second: other}, [SECRET], False),
            ({}, [SECRET], False),
        ):
            arguments = json.dumps([body.decode(), headers, secrets])
            ended = subprocess.run(
                [program("node"), "--input-type=module", "--eval", script, "--", arguments],
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertEqual(ended.stdout.strip(), str(accepted).lower(), headers)

    def test_client(self) -> None:
        """So does the call of `slayq_tw.client`, as it is written there."""
        body, signature = a_request(time.time())
        (call,) = re.findall(r"`(verify\(request\.body.*?\))` returns", README)
        request = SimpleNamespace(body=body, headers={"X-SlayQ-Signature": signature})
        names = {
            "verify": verify,
            "SIGNATURE_HEADERS": SIGNATURE_HEADERS,
            "request": request,
            "secret": SECRET,
        }
        self.assertEqual(eval(call, names)["event"], "e")
        self.assertRaises(Refused, eval, call, {**names, "secret": "another"})

    def test_signature(self) -> None:
        """It is what the text says: HMAC-SHA512 of the body, in hex."""
        body, signature = a_request(0.0)
        self.assertEqual(signature, hmac.new(SECRET.encode(), body, hashlib.sha512).hexdigest())


class ConfigurationTests(SynchronousTestCase):
    """The configuration that it shows."""

    def test_example(self) -> None:
        """The example is accepted, and every key of the table is known."""
        document = json.loads(block("json", '"reports"'))
        Path("slay-config.json").write_text(json.dumps(document))
        environment = {
            "SLAY_Q_DATABASE_URL": "postgresql://localhost/x",
            "SLAY_Q_SECRET": "s",
            "SLAY_Q_CRON_URL": "http://localhost:3000/",
        }
        config = load("slay-config.json", environment)
        self.assertIsInstance(config, Config)
        self.assertEqual([queue.timeout for queue in config.queues], [None, 900.0, None])
        self.assertEqual(config.grant_execute_to, ("app",))

    def test_origin_secrets(self) -> None:
        """The example of a receiver's own secret is accepted."""
        Path("slay-config.json").write_text(block("json", '"origin_secrets"'))
        environment = {
            "SLAY_Q_DATABASE_URL": "postgresql://localhost/x",
            "SLAY_Q_SECRET": "s",
            "SLAY_Q_SECRET_SHOP": "t",
            "SLAY_Q_CRON_URL": "http://localhost:3000/",
        }
        config = load("slay-config.json", environment)
        self.assertEqual({keys.current for keys in config.origin_keys.values()}, {b"t"})

    def test_keys(self) -> None:
        """Every key of the file stands in its table, and the table names no other."""
        schema = json.loads((ROOT / "slay-config.schema.json").read_text("utf-8"))
        table = README.partition("| key | meaning | default |")[2].partition("\n\n")[0]
        named = {name.partition(".")[0] for name in re.findall(r"(?m)^\| `([\w.<>]+)`", table)}
        self.assertEqual(named, schema["properties"].keys() - {"$schema"})

    def test_targets(self) -> None:
        """The targets of `make`, and the files that it names, are there."""
        makefile = (ROOT / "Makefile").read_text()
        for target in re.findall(r"make ([a-z-]+)", README):
            if target != "of":
                self.assertRegex(makefile, rf"(?m)^{target}:|\.PHONY:.* {target}\b", target)
        for name in (
            "docker/slayq.tac",
            "docker/Dockerfile",
            "docker/docker-compose.yml",
            "slay-config.schema.json",
        ):
            self.assertIn(name, README)
            self.assertTrue((ROOT / name).exists(), name)
