# SPDX-License-Identifier: Apache-2.0
# The few commands a person types. Meson (meson.build) is the build definition; this is a front for it.

BUILD := build
PREFIX ?= /usr/local
# The configuration belongs to the machine, unless the prefix is a private one.
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
MESON_ARGS ?=
PYTHON := /usr/bin/python3

.DEFAULT_GOAL := help
.PHONY: help deps build demo demo-fabric demo-overlay test lint lint-all bench bench-publish install clean

help:
	@echo 'slash32: a userspace router for hypervisors'
	@echo
	@echo '  make demo           two virtual machines and the router between them, step by step'
	@echo '                      KEEP=1 leaves them running, with commands to try'
	@echo '  make demo-fabric    two hypervisors in a fabric of BGP routers; links cut, machines moved'
	@echo '                      BGP=bird instead of FRR'
	@echo '  make demo-overlay   two tenants with the same addresses, in SRv6 tunnels over that fabric'
	@echo '  make test           every test; the last line is "N passed, N failed"'
	@echo '                      T=pattern runs some, STRICT=1 fails on a skip'
	@echo '  make bench          measure, and write build/bench.json'
	@echo '                      ROWS=pattern measures some, QUICK=1 takes under 5 minutes'
	@echo '  make bench-publish  write the last measurement to docs/performance.md'
	@echo '  make build          compile into build/ (MESON_ARGS=... for the first configuration)'
	@echo '  make lint           format of all files, clang-tidy on the changed ones'
	@echo '  make lint-all       format and clang-tidy on all files'
	@echo '  make install        into PREFIX (default /usr/local), under DESTDIR if given'
	@echo '  make deps           install the packages of all of the above'
	@echo '  make clean          remove build/'
	@echo
	@echo 'Each target first installs what it needs and lacks (as root; it says what).'

deps:
	@.ci/deps.sh all

# A build directory that was left half-configured is configured anew.
define compile
	@test -e $(BUILD)/build.ninja || meson setup $(BUILD) $(MESON_ARGS)
	@ninja -C $(BUILD)
endef

build:
	@.ci/deps.sh build
	$(compile)

demo:
	@.ci/deps.sh demo
	$(compile)
	@.ci/hugepages.sh 1024 $(PYTHON) tests/demo/demo.py --build $(BUILD) $(if $(filter-out 0,$(KEEP)),--keep)

demo-fabric:
	@.ci/deps.sh test
	$(compile)
	@$(PYTHON) tests/fabric/demo.py --build $(BUILD) $(if $(BGP),--bgp $(BGP))

demo-overlay:
	@.ci/deps.sh test
	$(compile)
	@$(PYTHON) tests/fabric/overlay.py --build $(BUILD) $(if $(BGP),--bgp $(BGP))

test:
	@.ci/deps.sh test
	@.ci/hugepages.sh 1024 $(PYTHON) tests/run.py --build $(BUILD) \
	    $(if $(T),'--match=$(T)') $(if $(filter-out 0,$(STRICT)),--strict)

lint:
	@.ci/deps.sh build lint
	$(compile)
	@$(PYTHON) .ci/lint.py --build $(BUILD)

lint-all:
	@.ci/deps.sh build lint
	$(compile)
	@$(PYTHON) .ci/lint.py --build $(BUILD) --all

bench:
	@.ci/deps.sh build bench
	$(compile)
	@.ci/hugepages.sh 3072 $(PYTHON) perf/bench.py --build $(BUILD) \
	    $(if $(ROWS),'--rows=$(ROWS)') $(if $(filter-out 0,$(QUICK)),--quick)

bench-publish:
	@$(PYTHON) perf/bench.py --build $(BUILD) --publish

install:
	@.ci/deps.sh build
	@test -e $(BUILD)/build.ninja || meson setup $(BUILD) $(MESON_ARGS)
	@meson configure $(BUILD) -Dprefix=$(PREFIX) -Dsysconfdir=$(SYSCONFDIR)
	@ninja -C $(BUILD)
	@meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

clean:
	rm -rf $(BUILD)
