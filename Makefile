# The one entry for people and for CI. `make help` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test sim mutants run cluster cluster-down failover bench micro build image up down tidy fuzz clean

# -cross-module-optimization was measured: 2% fewer instructions of its own per produced batch, no less time, and a larger binary.
RELEASE := swift build -c release --static-swift-stdlib --product apus
APUS := .build/release/apus
PYTEST := .build/venv/bin/python -m pytest -c Tests/pytest.ini

# Where the image's binary comes from: `build` compiles it in the image, `prebuilt` takes the release build of this machine.
BINARY_FROM ?= build
DOCKER ?= docker
COMPOSE ?= $(shell $(DOCKER) compose version >/dev/null 2>&1 && echo $(DOCKER) compose || echo docker-compose) --project-name apus -f Docker/docker-compose.yml

# Tests with sockets and clocks of their own. They go apart from those that compute for seconds on end: Swift Testing runs all on as
# many threads as there are processors, and a test that waits for its turn must not run out of time.
LIVE := ^(KafkaClientTests|NIOServerTests|ApusTests|ObservabilityTests)\.

SIM_SEEDS ?= 10000

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/' | column -ts'|'

build: ## the release binary, .build/release/apus
	@.ci/setup build
	$(RELEASE)

demo: build ## install what is missing, build, and show a broker at work
	@Tests/Demo/demo.sh

test: ## install what the tests need, and run every test
	@.ci/setup test
	swift build --build-tests
	$(RELEASE)
	swift test --skip-build --skip '$(LIVE)'
	swift test --skip-build --filter '$(LIVE)'
	$(PYTEST) Tests/Clients Tests/Cluster Tests/Crash Tests/Demo Tests/Docker --ignore=Tests/Cluster/test_failover.py

sim: build ## SIM_SEEDS (default 10,000) whole clusters in virtual time, half of them of five nodes; a failure prints its story and its seed
	$(APUS) sim run --nodes 3 --seeds $$(( $(SIM_SEEDS) / 2 ))
	$(APUS) sim run --nodes 5 --seeds $$(( $(SIM_SEEDS) / 2 ))

mutants: ## deliberate bugs, one after the other: the simulation of whole clusters has to find each within its seeds
	@.ci/setup build
	$(RELEASE) --scratch-path .build/mutants -Xswiftc -DAPUS_MUTANTS
	.build/mutants/release/apus sim mutants

run: build ## a broker on 127.0.0.1:9092 with its data in ./apus-data
	exec $(APUS) start

cluster: build ## three brokers on this machine that elect their leaders, with their data in ./apus-cluster; says how to use them
	@Tests/Cluster/three.sh up

cluster-down: ## stop the brokers of `make cluster`; their data stays
	@Tests/Cluster/three.sh down

failover: build ## how long partitions cannot be written to when a broker fails, 30 rounds of each fault; results in failover.json
	@.ci/setup test
	.build/venv/bin/python Tests/Cluster/failover.py --json failover.json

bench: build ## the standard benchmarks, beside a plain C reference; results under Benchmarks/results
	Benchmarks/standard.sh

image: $(if $(filter prebuilt,$(BINARY_FROM)),build) ## the container image `apus`; BINARY_FROM=prebuilt takes the release build of this machine
	@[ "$(BINARY_FROM)" != prebuilt ] || { mkdir -p .build/image && strip -o .build/image/apus $(APUS); }
	DOCKER_BUILDKIT=1 $(DOCKER) build --build-arg BINARY_FROM=$(BINARY_FROM) --file Docker/Dockerfile --tag apus .
	$(DOCKER) run --rm apus --version

up: ## a broker in a container on localhost:9092, with its data in a volume; the image is built if it is missing
	@$(DOCKER) image inspect apus >/dev/null 2>&1 || $(MAKE) image
	$(COMPOSE) up --detach
	@for _ in $$(seq 100); do $(COMPOSE) exec -T apus apus topic list >/dev/null 2>&1 && exit; sleep 0.2; done; \
	  $(COMPOSE) logs --tail 20; echo "the broker does not answer" >&2; exit 1

down: ## stop the broker of `make up`; its data stays
	$(COMPOSE) down

fuzz: ## coverage-guided fuzzing of everything that reads foreign bytes; FUZZ_SECONDS for each target
	@.ci/setup build
	Tests/Fuzz/run.sh

micro: ## the microbenchmarks of codecs, batches, checksums, appends and reads
	@.ci/setup build
	cd Benchmarks && swift package --allow-writing-to-package-directory benchmark

tidy: ## only the checks of layering, size and style
	swift test --filter Tidy

clean: ## remove everything that was built
	rm -rf .build Benchmarks/.build Tests/Fuzz/.build
