# The one entry for people and for CI. `make help` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test run bench micro build tidy fuzz clean

RELEASE := swift build -c release --static-swift-stdlib --product apus
APUS := .build/release/apus
PYTEST := .build/venv/bin/python -m pytest -c Tests/pytest.ini

# Tests with sockets and clocks of their own. They go apart from those that compute for seconds on end: Swift Testing runs all on as
# many threads as there are processors, and a test that waits for its turn must not run out of time.
LIVE := ^(KafkaClientTests|NIOServerTests|ApusTests|ObservabilityTests)\.

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/' | column -ts'|'

build: ## the release binary, .build/release/apus
	@.ci/setup build
	$(RELEASE)

demo: build ## install what is missing, build, and show a broker at work
	Tests/Demo/demo.sh

test: ## install what the tests need, and run every test
	@.ci/setup test
	swift build --build-tests
	$(RELEASE)
	swift test --skip-build --skip '$(LIVE)'
	swift test --skip-build --filter '$(LIVE)'
	$(PYTEST) Tests/Clients Tests/Crash Tests/Demo

run: build ## a broker on 127.0.0.1:9092 with its data in ./apus-data
	exec $(APUS) start

bench: build ## the standard benchmarks; results under Benchmarks/results
	Benchmarks/standard.sh

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
