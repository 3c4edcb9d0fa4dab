# SPDX-License-Identifier: Apache-2.0
"""CMakeLists.txt is a front over Meson: it builds, its tests are Meson's, its target links.

Compiled with the options of the part `asan`, whose objects the compiler cache has: it is the front that is
tested here. For that the build directory stands as deep in the tree as that part's.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("S32_SOURCE", Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get("S32_BUILD", ROOT / "build"))
DIRECTORY = ROOT / "build-cmake"
SANITIZE = "address,undefined"
LEAKS = ROOT / "tests" / "sanitize" / "lsan.supp"  # what is not ours

sys.path.insert(0, str(ROOT / "tests"))
from runner import meson  # noqa: E402
from runner.parts import ASAN_BUILD  # noqa: E402


def run(*argv, timeout=900):
    done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=timeout, check=False, cwd=ROOT,
                          env={**os.environ, **meson.clang(), "LSAN_OPTIONS": f"suppressions={LEAKS}"})
    assert done.returncode == 0, f"{' '.join(map(str, argv))}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def front():
    """The front, configured and built."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    run("cmake", "-B", DIRECTORY, f"-DSLASH32_MESON_ARGS={';'.join(ASAN_BUILD)}")
    run("cmake", "--build", DIRECTORY)
    return DIRECTORY


def introspect(directory, what):
    return json.loads(run("meson", "introspect", f"--{what}", directory))


@pytest.mark.timeout(900)
def test_it_builds_what_meson_builds(front):
    # What Meson installs stands in the front's build directory.
    for target in introspect(front / "meson", "targets"):
        if target["installed"]:
            for name in target["filename"]:
                assert Path(name).exists(), f"{name} was not built"


def test_it_keeps_its_options(front):
    """Configured again, as any change of a meson.build makes it, it builds as it was told the first time."""
    def options():
        return {o["name"]: o["value"] for o in introspect(front / "meson", "buildoptions")}

    before = options()
    assert before["optimization"] == "0" and before["cpp_args"] == ["-gline-tables-only"]
    run("cmake", "-B", front)
    assert options() == before


def test_its_tests_are_mesons(front):
    listed = json.loads(run("ctest", "--test-dir", front, "--show-only=json-v1"))
    ours = {test["name"] for test in listed["tests"]}
    assert ours == {test["name"] for test in introspect(front / "meson", "tests")}
    assert ours


def test_ctest_runs_them(front):
    """One of them, the quickest to name: all are run, optimised, by the part `unit`."""
    names = sorted(test["name"] for test in introspect(front / "meson", "tests"))
    chosen = "unit-base" if "unit-base" in names else names[0]
    said = run("ctest", "--test-dir", front, "-R", f"^{chosen}$", "--output-on-failure")
    assert "100% tests passed" in said


def test_imported_target_links(front, tmp_path):
    if shutil.which("clang++-14") is None:
        pytest.skip("no C++ compiler")
    (tmp_path / "CMakeLists.txt").write_text(f"""
cmake_minimum_required(VERSION 3.20)
project(consumer LANGUAGES CXX)
add_subdirectory({ROOT} {front})
add_executable(consumer consumer.cc)
target_link_libraries(consumer PRIVATE slash32::slash32)
""")
    (tmp_path / "consumer.cc").write_text("""
#include <slash32/client.h>
#include <cstdio>
int main() {
    slash32::client::Options options;
    options.socket = "/nonexistent/slash32.sock";
    const auto client = slash32::client::Client::connect(options);
    if (client) return 1;
    std::puts(client.error().text().c_str());
    return client.error().failure == slash32::client::Failure::kUnreachable ? 0 : 1;
}
""")
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build",
        "-DCMAKE_CXX_COMPILER=clang++-14", f"-DCMAKE_CXX_FLAGS=-fsanitize={SANITIZE}",
        f"-DSLASH32_MESON_ARGS={';'.join(ASAN_BUILD)}")
    run("cmake", "--build", tmp_path / "build", "--target", "consumer")
    run(tmp_path / "build" / "consumer")


def test_it_installs(front, tmp_path):
    done = subprocess.run(["cmake", "--install", front], stdin=subprocess.DEVNULL, text=True,
                          env={**os.environ, "DESTDIR": str(tmp_path)}, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.rglob("slash32d")) and list(tmp_path.rglob("slash32.pc"))
