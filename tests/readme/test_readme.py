# SPDX-License-Identifier: Apache-2.0
"""The README's commands, in their order, in one shell, as a reader would type them.

Blocks marked `sh` are run; `console` and `xml` are examples. The two commands that are parts of the test
run themselves (make demo, make test), and the build that it stands on, are only looked up.
"""

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("S32_SOURCE", Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get("S32_BUILD", ROOT / "build"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def script():
    """All blocks as one script that announces each of them."""
    lines = ["set -euo pipefail"]
    for number, block in enumerate(BLOCKS):
        block = re.sub(r"^make (demo|test|build)$", r"make -n \1 >/dev/null", block, flags=re.MULTILINE)
        block = block.replace("$PWD/build/", f"{BUILD}/")
        lines += [f"echo '@@ {number}'", block]
    return "\n".join([*lines, "echo '@@ end'"])


@pytest.fixture(scope="module")
def transcript(tmp_path_factory):
    """{number of a block: its output}, up to the one that failed; "end" is there if none did."""
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    if not Path("/dev/net/tun").exists():
        pytest.skip("no /dev/net/tun")
    before = set(subprocess.run(["ip", "netns"], capture_output=True, text=True,
                                check=False).stdout.split())
    directory = tmp_path_factory.mktemp("tour")
    with open(directory / "output", "w+", encoding="utf-8") as output:
        child = subprocess.Popen(["bash", "-c", script()], cwd=ROOT, stdin=subprocess.DEVNULL,
                                 stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                                 env={**os.environ, "TMPDIR": str(directory)})
        try:
            child.wait(180)
        except subprocess.TimeoutExpired:
            pass
        finally:
            subprocess.run(["pkill", "-KILL", "-s", str(child.pid)], check=False)  # this session's
            for name in ("tour-red", "tour-blue"):
                if name not in before:
                    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
            shutil.rmtree(directory / "run", ignore_errors=True)
        output.seek(0)
        parts = re.split(r"^@@ (\w+)\n", output.read(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_works(transcript, number):
    ran = [int(key) for key in transcript if key != "end"]
    assert number in ran, f"not reached: block {max(ran)} failed"
    following = "end" if number == len(BLOCKS) - 1 else str(number + 1)
    assert following in transcript, f"{BLOCKS[number]}\n--- said\n{transcript[str(number)]}"


def test_the_tour_shows_what_it_says(transcript):
    if "end" not in transcript:
        pytest.skip("the tour did not come to its end: see the blocks")
    said = "".join(transcript.values())
    assert "3 received" in said, "the ping was not answered"
    assert re.search(r"^10\.0\.0\.12 dev red lladdr (?!52:54:00:00:00:12)", said, re.MULTILINE), \
        "blue's ARP entry is not the gateway's"
    assert "spoofed_source" in said, "the spoofed packet was not counted"
    assert "ICMP echo request" in said, "the capture does not show the ping"


def test_domain_xml_is_well_formed():
    blocks = re.findall(r"^```xml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        interface = xml.fromstring(block).find("devices/interface")
        assert interface.get("type") == "vhostuser"
        assert interface.find("source").get("mode") == "server"


def test_limits_are_those_of_the_code():
    code = (ROOT / "dp" / "base" / "limits.h").read_text(encoding="utf-8")

    def constant(name):
        return int(re.search(rf"{name} = (\d+);", code).group(1))
    table = README[README.index("## Limits"):]
    # Neither 0 nor the resolver's (dp/abi/port.h).
    assert f"{constant('kMaxPorts') - 2:,} in all" in table
    assert f"| queue pairs a port | {constant('kMaxQueuePairs')} |" in table
    assert f"| {constant('kMaxAddressesPerPort')}; gateways {constant('kMaxGatewaysPerPort')} |" in table
    assert f"| workers | {constant('kMaxWorkers')} |" in table
    assert f"| MTU | {constant('kMinMtu'):,} to {constant('kMaxMtu'):,} |" in table
    assert f"| {1 << constant('kVrfBits'):,} |" in table
