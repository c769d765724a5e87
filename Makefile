# The commands of the project. `make demo` and `make test` work on a fresh machine with Swift, make, git and Python 3.

SHELL := /bin/bash
BUILD := .build/release
VENV  := .build/venv
PACKAGE := .build/package-venv
TESTING := -c release -Xswiftc -enable-testing --scratch-path .build/testing
MESSAGES := Sources/CNeedletailMessages
PROTOS := $(shell cd Proto && find . -name '*.proto' | sed 's,^\./,,' | sort)
DEBIAN := libnghttp2-dev libprotobuf-c-dev liblmdb-dev zlib1g-dev pkg-config python3-venv
# What Helm is made of; it is not in Debian itself.
CHART_NEEDS := golang-go golang-github-masterminds-sprig-dev golang-gopkg-yaml.v3-dev
# For tests only: real metadata stores to run against, and tools that read what Deploy/ has.
TESTS_NEED := chromium curl etcd-client etcd-server iproute2 procps util-linux prometheus systemd $(CHART_NEEDS)
RENDER := GO111MODULE=off GOPATH=/usr/share/gocode go run Tests/Chart/render.go
CLOCKED := Needletail(GRPC|Metadata|Coordinator|Backup)Tests
# Without it all tests begin at once, and each waits minutes for a processor.
FEW_AT_ONCE := --experimental-maximum-parallelization-width 4

.PHONY: deps build demo test chaos upgrade load bench bench-load bench-failover bench-backups bench-moves bench-rpc bench-splits bench-tail bench-telemetry bench-restart bench-peers bench-servers bench-cost bench-plan bench-import fuzz proto reference manifests format lint clean

# Installs the Debian packages that are missing; says plainly when Swift is absent or too old.
deps:
	@bash Deploy/setup.sh $(DEBIAN)

build: deps
	swift build -c release

demo: build
	$(BUILD)/needletail demo

# Everything: unit and property tests, then real processes driven by a real grpcio client. Optimised, since graphs are built, and in a
# folder of its own, since white-box tests want the modules compiled for testing. Tests in which peers stall, time out or lose their
# leases on purpose do not share the processors with graphs being built; nor does the simulation, which fills them.
test: deps lint $(VENV)/ready $(PACKAGE)/ready
	@bash Deploy/setup.sh $(TESTS_NEED)
	swift build $(TESTING) --build-tests
	NEEDLETAIL_PYTHON=$(CURDIR)/$(VENV)/bin/python bash Deploy/swift-test.sh $(TESTING) --skip-build --filter '$(CLOCKED)'
	bash Deploy/swift-test.sh $(TESTING) --skip-build --filter NeedletailSimulationTests
	NEEDLETAIL_PYTHON=$(CURDIR)/$(VENV)/bin/python bash Deploy/swift-test.sh $(TESTING) --skip-build $(FEW_AT_ONCE) --skip '$(CLOCKED)' --skip NeedletailSimulationTests
	cd Tests/Python && NEEDLETAIL_BIN=$(CURDIR)/.build/testing/release ../../$(VENV)/bin/python -m pytest
	cd Deploy/python/tests && NEEDLETAIL_BIN=$(CURDIR)/.build/testing/release $(CURDIR)/$(PACKAGE)/bin/python -m pytest

# The Python package as its users install it, in an environment of its own.
$(PACKAGE)/ready: $(wildcard Deploy/python/*.* Deploy/python/needletail/*.py Proto/needletail/v1/*.proto)
	python3 -m venv $(PACKAGE)
	$(PACKAGE)/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps Deploy/python
	$(PACKAGE)/bin/pip install --quiet --disable-pip-version-check 'Deploy/python[ray]' pytest pytest-timeout
	touch $@

$(VENV)/ready: Tests/Python/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r Tests/Python/requirements.txt
	touch $@

# Random faults for 20 minutes; `make test` has them for two. NEEDLETAIL_CHAOS_SEED replays a run's faults. As root, hosts are network
# namespaces; otherwise there are no partitions and no full disks.
CHAOS_SECONDS ?= 1200
chaos: deps $(VENV)/ready
	@bash Deploy/setup.sh $(TESTS_NEED)
	swift build $(TESTING)
	cd Tests/Python && NEEDLETAIL_CHAOS_SECONDS=$(CHAOS_SECONDS) NEEDLETAIL_BIN=$(CURDIR)/.build/testing/release ../../$(VENV)/bin/python -m pytest -s test_chaos.py

# An upgrade, process by process, from an older version (a tag or commit), which is built first; no request may fail.
PREVIOUS ?= $(or $(shell git describe --tags --abbrev=0 --match 'v*' HEAD^ 2>/dev/null),HEAD^)
upgrade: deps $(VENV)/ready
	@bash Deploy/setup.sh $(TESTS_NEED)
	rm -rf .build/previous && mkdir -p .build/previous
	git archive $(PREVIOUS) | tar -x -C .build/previous
	swift build -c release --package-path .build/previous --scratch-path .build/previous-build
	swift build -c release
	cd Tests/Python && NEEDLETAIL_PREVIOUS_BIN=$(CURDIR)/.build/previous-build/release NEEDLETAIL_BIN=$(CURDIR)/$(BUILD) \
	    ../../$(VENV)/bin/python -m pytest -rA test_rolling.py

# Every scenario against clusters of this machine, some five minutes; reports and results are left in LOAD_OUT. LOAD=steady-search runs that one.
LOAD ?= $(filter-out highest-rate,$(basename $(notdir $(wildcard Deploy/load/*.yaml))))
LOAD_OUT ?= .build/load
load: build
	@status=0; for scenario in $(LOAD); do \
	  echo "== $$scenario"; \
	  $(BUILD)/needletail-load run Deploy/load/$$scenario.yaml --out $(LOAD_OUT)/$$scenario || status=1; \
	done; exit $$status

# Measures everything that Docs/benchmarks.md quotes; one JSON object a line. Larger sets are taken when they lie beside the project.
SIFT := $(wildcard ../shared/data/sift-base.u8bin)
BASE := $(or $(SIFT),Sources/needletail/Resources/sample/vectors.f16bin)
QUERY := $(if $(SIFT),../shared/data/sift-query.u8bin,Sources/needletail/Resources/sample/queries.f16bin)
SET := --base $(BASE) --query $(QUERY)
bench: build
	for codec in none lvq8 lvq4; do $(BUILD)/needletail-bench ann $(SET) --metric l2 --codec $$codec; done
	$(BUILD)/needletail-bench build $(SET) --codec lvq8 --rounds 1
	$(BUILD)/needletail-bench churn $(SET) --codec lvq8 --turnovers 0.5,2
	$(BUILD)/needletail-bench filter $(SET) --codec lvq8 --queries 100
	$(BUILD)/needletail-bench batch $(SET) --codec lvq8
	$(BUILD)/needletail-bench codec
	$(BUILD)/needletail-bench kernels --rounds 3
	$(BUILD)/needletail-bench memory $(SET) --codec "lvq8,rescore(file)"
	$(BUILD)/needletail-bench shard $(SET)
	$(BUILD)/needletail-bench cluster $(SET) --loads 3
	$(BUILD)/needletail-bench rpc

# The highest rate of searches of a cluster on this machine, beside the same graph in one process.
bench-load: build
	$(BUILD)/needletail-load run Deploy/load/highest-rate.yaml --out $(LOAD_OUT)/highest-rate \
	    $(if $(SIFT),--set data.base=$(abspath $(SIFT)) --set data.query=$(abspath $(QUERY)) --set phases[0].search.ef=18)
	$(BUILD)/needletail-bench ann $(SET) --metric l2 --codec lvq8

# What clients notice when a shard worker is killed.
bench-failover: build $(VENV)/ready
	@bash Deploy/setup.sh $(TESTS_NEED)
	NEEDLETAIL_BIN=$(CURDIR)/$(BUILD) $(VENV)/bin/python Deploy/bench-failover.py

# What backups send and hold up, and how fast restores are.
bench-backups: build $(VENV)/ready
	NEEDLETAIL_BIN=$(CURDIR)/$(BUILD) $(VENV)/bin/python Deploy/bench-backups.py

# What all telemetry takes of the processors, with and without it at once; and what the recall sampler tells and costs. NEEDLETAIL_BEFORE_BIN: older binaries beside.
bench-telemetry: build $(VENV)/ready
	NEEDLETAIL_BIN=$(CURDIR)/$(BUILD) $(VENV)/bin/python Deploy/bench-telemetry.py

# The echo workload of `needletail-bench rpc` with grpc-swift-2, in turns with ours.
bench-rpc: build
	swift build -c release --package-path Tests/Peers/GRPCEcho --scratch-path .build/peers
	for round in 1 2 3; do $(BUILD)/needletail-bench rpc; .build/peers/release/GRPCEcho; done

# Searches while one of the replicas runs a tenth of the time.
bench-tail: build $(VENV)/ready
	$(VENV)/bin/python Deploy/bench-tail.py

# A shard of 100,000 points that is split beside writes, with one replica and with two.
bench-splits: build $(VENV)/ready
	$(VENV)/bin/python Deploy/bench-splits.py 100000 1
	$(VENV)/bin/python Deploy/bench-splits.py 100000 2

# A replica that moves, beside a plain copy of its files; and what moves when a node joins.
bench-moves: build $(VENV)/ready
	$(VENV)/bin/python Deploy/bench-moves.py

# A cluster of a million points, killed and started again.
bench-restart: build $(VENV)/ready
	$(VENV)/bin/python Deploy/bench-restart.py

# Recall against queries a second beside hnswlib, faiss, usearch and SVS, in turns; tables on stdout, curves in PLOT if given.
METRIC ?= l2
CODECS ?= none;lvq8;lvq4
bench-peers: build
	python3 -m venv .build/peers-venv
	.build/peers-venv/bin/pip install --quiet --disable-pip-version-check numpy hnswlib faiss-cpu usearch scalable-vs
	.build/peers-venv/bin/python Deploy/bench-peers.py --base $(BASE) --query $(QUERY) --metric $(METRIC) --codecs "$(CODECS)" \
	    $(if $(PLOT),--plot $(PLOT))

# Loading from Ray workers beside `needletail import`.
bench-import: build $(PACKAGE)/ready
	NEEDLETAIL_BIN=$(CURDIR)/$(BUILD) $(PACKAGE)/bin/python Deploy/bench-import.py

# What a search costs each process, alone and among many; with NEEDLETAIL_BEFORE_BIN in turns with older binaries.
bench-cost: build $(VENV)/ready
	NEEDLETAIL_BIN=$(CURDIR)/$(BUILD) $(VENV)/bin/python Deploy/bench-cost.py $(BASE) $(QUERY)

# What the model of scale predicts of three small clusters, beside what the load tester measures of them.
bench-plan: build $(VENV)/ready
	NEEDLETAIL_BIN=$(CURDIR)/$(BUILD) $(VENV)/bin/python Deploy/bench-plan.py $(BASE) $(QUERY) $(PROFILE)

# Beside Milvus 2.3 standalone, which the Python package brings, in turns: searches at equal recall by one stream and by sixteen, and loads.
bench-servers: build
	python3 -m venv .build/servers-venv
	.build/servers-venv/bin/pip install --quiet --disable-pip-version-check numpy 'milvus==2.3.5' 'pymilvus==2.3.7' 'grpcio-tools<=1.60' \
	    'setuptools<80' 'marshmallow<4' 'environs<10'
	NEEDLETAIL_BIN=$(CURDIR)/$(BUILD) .build/servers-venv/bin/python Deploy/bench-servers.py --base $(BASE) --query $(QUERY)

# libFuzzer on the readers of untrusted bytes, each for SECONDS_EACH seconds. What it learns stays in .build-fuzz/corpus; an input that
# fails lands in .build-fuzz: keep it in Tests/Fuzz/Corpus/<reader>, where `make test` replays it.
SECONDS_EACH ?= 60
READERS ?= frame message log checkpoint
FUZZ := .build-fuzz

fuzz: deps
	swift build -c release --package-path Tests/Fuzz --scratch-path $(FUZZ) --sanitize fuzzer -Xswiftc -use-ld=lld
	@set -e; for reader in $(READERS); do \
	  mkdir -p $(FUZZ)/corpus/$$reader Tests/Fuzz/Corpus/$$reader; \
	  export NEEDLETAIL_FUZZ=$$reader; \
	  NEEDLETAIL_FUZZ_SEEDS=$(FUZZ)/corpus/$$reader $(FUZZ)/release/NeedletailFuzz; \
	  $(FUZZ)/release/NeedletailFuzz -max_total_time=$(SECONDS_EACH) -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 \
	    -artifact_prefix=$(FUZZ)/$$reader- $(FUZZ)/corpus/$$reader Tests/Fuzz/Corpus/$$reader > $(FUZZ)/$$reader.log 2>&1 \
	    || { tail -60 $(FUZZ)/$$reader.log; exit 1; }; \
	  grep -E 'DONE' $(FUZZ)/$$reader.log | sed "s/^/$$reader: /"; \
	done

lint:
	python3 Deploy/lint.py

# The tables of Docs/configuration.md, from what the programs say of themselves, and Docs/reference.md, from Proto/.
reference: build $(VENV)/ready
	NEEDLETAIL_BIN=$(CURDIR)/$(BUILD) $(VENV)/bin/python Deploy/reference.py
	$(VENV)/bin/python Deploy/api_reference.py

# Regenerates the protobuf-c code and the descriptors for reflection, which are committed. Of etcd and OTLP we are a client: no reflection.
proto:
	@bash Deploy/setup.sh $(DEBIAN) protobuf-c-compiler protobuf-compiler
	rm -rf $(MESSAGES)/generated $(MESSAGES)/include/needletail $(MESSAGES)/include/grpc $(MESSAGES)/include/google $(MESSAGES)/include/etcd $(MESSAGES)/include/opentelemetry
	mkdir -p $(MESSAGES)/generated $(MESSAGES)/include
	cd Proto && protoc-c --c_out=../$(MESSAGES)/include -I. $(PROTOS)
	cd $(MESSAGES)/include && for f in $$(find . -name '*.pb-c.c' | sed 's,^\./,,'); do mv $$f ../generated/$$(echo $$f | tr / _); done
	cd Proto && protoc --include_imports --descriptor_set_out=../$(MESSAGES)/descriptors.bin -I. $(filter-out etcd/% opentelemetry/%,$(PROTOS))
	python3 Deploy/embed.py $(MESSAGES)/descriptors.bin nt_descriptor_set > $(MESSAGES)/generated/descriptors.c
	rm $(MESSAGES)/descriptors.bin
	(echo '#pragma once'; echo; cd $(MESSAGES)/include && find . -name '*.pb-c.h' | sed 's,^\./,,' | sort | sed 's/.*/#include "&"/'; \
	 echo; echo '#include <stddef.h>'; echo '#include <stdint.h>'; echo; \
	 echo '/// A google.protobuf.FileDescriptorSet of every file in Proto/ whose services are ours, imports before importers.'; \
	 echo 'extern const uint8_t nt_descriptor_set[];'; echo 'extern const size_t nt_descriptor_set_size;'; \
	 echo '/// Swift does not see arrays of unknown length.'; \
	 echo 'static inline const uint8_t *nt_descriptor_set_start(void) { return nt_descriptor_set; }') > $(MESSAGES)/include/CNeedletailMessages.h

# The plain manifests, which are committed, from the chart and its own values.
manifests:
	@bash Deploy/setup.sh $(CHART_NEEDS)
	(echo '# Made by `make manifests` from Deploy/helm/needletail and its values; change those.'; \
	 $(RENDER) Deploy/helm/needletail needletail needletail) > Deploy/kubernetes/needletail.yaml

format:
	swift format --in-place --recursive --parallel Sources Tests Package.swift

clean:
	rm -rf .build
