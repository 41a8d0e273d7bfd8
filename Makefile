# Gale. `make help` lists the targets.

GO        ?= go
TOOLS     := $(CURDIR)/bin/tools
GOLANGCI  := $(TOOLS)/golangci-lint
GOLANGCI_VERSION := v2.5.0
GOVULNCHECK := $(TOOLS)/govulncheck
GOVULNCHECK_VERSION := v1.9.0
VERSITYGW := $(TOOLS)/versitygw
VERSITYGW_VERSION := v1.8.0
CENTRIFUGO := $(TOOLS)/centrifugo
CENTRIFUGO_VERSION := v6.9.1
RESULTS   := $(CURDIR)/bench/results
# The benchmarks write no results when the load average was above 1.5 before
# make started to build; BENCH_FLAGS=-any-load overrides it.
BENCH_LOAD  ?= $(shell cut -d ' ' -f 1-3 /proc/loadavg)
BENCH_LOAD  := $(BENCH_LOAD)
BENCH_FLAGS ?=
BENCH_OUT    = -out $(RESULTS) -load "$(BENCH_LOAD)" $(BENCH_FLAGS)
bench: export BENCH_LOAD := $(BENCH_LOAD)
TEST_FLAGS ?=

# WebSocket clients for the tests.
CLIENTS   := /usr/lib/python3/dist-packages/tornado:python3-tornado /usr/lib/python3/dist-packages/websockets:python3-websockets /usr/share/nodejs/ws:node-ws node:nodejs

# Tests run the binary that is shipped: static, without cgo. Only the race detector
# needs cgo.
export CGO_ENABLED = 0
race: export CGO_ENABLED = 1
# The same flags for all builds: go build compiles each package once for all of them.
export GOFLAGS ?= -trimpath

# Folders of `make install`, all below DESTDIR.
DESTDIR   ?=
PREFIX    ?= /usr/local
SYSCONF   ?= /etc/gale
UNITS     := $(PREFIX)/lib/systemd/system
SHARE     := $(PREFIX)/share/gale

.PHONY: console-images install uninstall help build run test race e2e faults torture soak fuzz lint vulncheck check fmt bench bench-cost bench-sockets bench-jobs bench-uploads bench-idle bench-plots bench-packages docs dist rename-module clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/server
	$(GO) build -trimpath -o bin/server .

run: build ## build bin/server and start it with the default flags: http://127.0.0.1:8888
	exec bin/server

install: build ## install the binary, the systemd units and examples below PREFIX; DESTDIR=… stages
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(UNITS) $(DESTDIR)$(SHARE) $(DESTDIR)$(SYSCONF)
	install -m 0755 bin/server $(DESTDIR)$(PREFIX)/bin/server.new
	mv -f $(DESTDIR)$(PREFIX)/bin/server.new $(DESTDIR)$(PREFIX)/bin/server
	for unit in gale.service gale.socket gale-worker.service; do \
		sed -e 's|/usr/local/bin/|$(PREFIX)/bin/|; s|/etc/gale/|$(SYSCONF)/|' deploy/systemd/$$unit > $(DESTDIR)$(UNITS)/$$unit && \
		chmod 0644 $(DESTDIR)$(UNITS)/$$unit || exit 1; \
	done
	for conf in server.conf worker.conf; do \
		[ -e $(DESTDIR)$(SYSCONF)/$$conf ] || install -m 0644 deploy/systemd/$$conf $(DESTDIR)$(SYSCONF)/$$conf || exit 1; \
	done
	cp -R deploy/nginx deploy/haproxy deploy/prometheus deploy/grafana deploy/tasks.toml deploy/worker.toml deploy/worker.sh $(DESTDIR)$(SHARE)/

uninstall: ## remove the installed files, but not the configuration and the state
	rm -f $(DESTDIR)$(PREFIX)/bin/server $(DESTDIR)$(UNITS)/gale.service $(DESTDIR)$(UNITS)/gale.socket $(DESTDIR)$(UNITS)/gale-worker.service
	rm -rf $(DESTDIR)$(SHARE)
	@echo "left: $(DESTDIR)$(SYSCONF) and /var/lib/gale"

test: ## all tests except the slow ones; under five minutes
	.ci/need curl:curl flac:flac openssl:openssl redis-server:redis-server,redis-tools /usr/bin/python3:python3 pip3:python3-pip $(CLIENTS)
	$(GO) test -parallel 4 -timeout 30m $(TEST_FLAGS) ./...
	cd test/openapi && $(GO) test -timeout 30m $(TEST_FLAGS) ./...

race: ## the same under the race detector
	.ci/need curl:curl flac:flac openssl:openssl gcc:gcc,libc6-dev redis-server:redis-server,redis-tools /usr/bin/python3:python3 $(CLIENTS)
	$(GO) test -race -timeout 30m $(TEST_FLAGS) ./...

e2e: $(VERSITYGW) ## slow tests with other programs, which are installed if missing
	.ci/need curl:curl flac:flac openssl:openssl $(CLIENTS) python3:python3 pip3:python3-pip npm:npm chromium:chromium soxi:sox,libsox-fmt-mp3 ffprobe:ffmpeg systemd-analyze:systemd celery:celery,python3-celery,python3-redis redis-server:redis-server,redis-tools siege:siege strace:strace mkfs.ext4:e2fsprogs mount:mount nginx:nginx haproxy:haproxy promtool:prometheus unshare:util-linux ip:iproute2 \
		buildah:buildah docker-compose:docker-compose qemu-aarch64:qemu-user mandoc:mandoc /usr/sbin/clamd:clamav-daemon,clamdscan fish:fish zsh:zsh git:git tmux:tmux /etc/ssl/certs/ca-certificates.crt:ca-certificates
	$(GO) test -tags e2e -run '^TestE2E' -count 1 -p 1 -timeout 30m -v $(TEST_FLAGS) ./test/...
	cd deploy/kubernetes && $(GO) test -count 1 .
	$(GO) run ./bench/faults

console-images: ## create the pictures of the console in README.md and docs/
	.ci/need node:nodejs npm:npm chromium:chromium ffmpeg:ffmpeg
	CONSOLE_SHOTS=$(CURDIR)/bin/console $(GO) test -tags e2e -run '^TestE2EConsoleImages$$' -count 1 -v ./test/console
	mkdir -p docs/images
	for name in console tasks task workflow files queues schedules workers channels; do \
		ffmpeg -v error -y -i bin/console/$$name.png -vf 'split[a][b];[a]palettegen=max_colors=128[p];[b][p]paletteuse=dither=none' docs/images/$$name.png || exit 1; \
	done

faults: ## inject faults into a server under load; fails if a connection is lost
	$(GO) run ./bench/faults

torture: $(VERSITYGW) ## random operations and faults: make torture MINUTES=10 SEED=7 STORE=redis, or STORE=machines; the seed is random and the store sqlite unless given
	.ci/need redis-server:redis-server,redis-tools ip:iproute2 tc:iproute2 nsenter:util-linux
	TORTURE_MINUTES=$(or $(MINUTES),10) TORTURE_SEED=$(SEED) TORTURE_STORE=$(STORE) $(GO) test -tags e2e -run '^TestTorture$$' -count 1 -timeout 0 -v ./test/torture

soak: ## mixed traffic for a long time; fails if memory, descriptors, goroutines, keys or files grow: make soak MINUTES=60 STORE=sqlite
	.ci/need redis-server:redis-server,redis-tools
	SOAK_MINUTES=$(or $(MINUTES),60) SOAK_STORE=$(STORE) $(GO) test -tags e2e -run '^TestSoak$$' -count 1 -timeout 0 -v ./test/soak

fuzz: ## fuzz each parser of outside bytes for TIME: make fuzz TIME=1h; what fails is kept in testdata/fuzz
	@grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$file); do \
			echo "$$(dirname $$file) $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(or $(TIME),1m) $$(dirname $$file) </dev/null || exit 1; \
		done || exit 1; \
	done

lint: $(GOLANGCI) ## golangci-lint, go fix and go mod tidy
	$(GOLANGCI) run --allow-parallel-runners
	@echo "go fix -diff ./..."; diff=$$($(GO) fix -diff ./...) && [ -z "$$diff" ] || { echo "$$diff"; exit 1; }
	$(GO) mod tidy -diff
	cd bench/peers && $(GO) vet ./... && $(GO) mod tidy -diff
	cd bench/peers/caddy && $(GO) vet ./... && $(GO) mod tidy -diff
	cd bench/plots && $(GO) vet ./... && $(GO) mod tidy -diff && $(GO) test ./...
	cd deploy/kubernetes && $(GO) vet ./... && $(GO) mod tidy -diff
	cd test/openapi && $(GO) vet ./... && $(GO) mod tidy -diff
	cd test/collector && $(GO) vet ./... && $(GO) mod tidy -diff

vulncheck: $(GOVULNCHECK) ## known vulnerabilities in what the program calls; GOVULNDB=URL names another database
	$(GOVULNCHECK) $(if $(GOVULNDB),-db $(GOVULNDB)) ./...

$(GOVULNCHECK):
	GOBIN=$(TOOLS) $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)

$(GOLANGCI):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

$(VERSITYGW):
	GOBIN=$(TOOLS) $(GO) install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)

$(CENTRIFUGO):
	GOBIN=$(TOOLS) $(GO) install github.com/centrifugal/centrifugo/v6@$(CENTRIFUGO_VERSION)

check: fmt lint test race ## everything that a commit must pass

fmt: ## gofmt and go fix
	$(GO) fix ./...
	gofmt -w $$(git ls-files '*.go')

bench: build $(CENTRIFUGO) ## all comparisons with other programs, within 20 minutes; results in bench/results
	timeout 20m $(MAKE) bench-cost bench-sockets bench-idle bench-uploads bench-jobs
	$(MAKE) bench-plots

bench-cost: build ## requests, compared with fasthttp's prefork, net/http and Tornado
	.ci/need wrk:wrk taskset:util-linux /usr/bin/python3:python3 /usr/lib/python3/dist-packages/tornado:python3-tornado
	$(GO) run ./bench/cost $(BENCH_OUT)

bench-sockets: build $(CENTRIFUGO) ## WebSockets, compared with fasthttp/websocket, Centrifugo and Tornado
	.ci/need taskset:util-linux /usr/bin/python3:python3 /usr/lib/python3/dist-packages/tornado:python3-tornado
	$(GO) run ./bench/sockets $(BENCH_OUT)

bench-plots: ## draw the plots and tables of bench/results
	cd bench/plots && $(GO) run . $(RESULTS)

bench-packages: ## the benchmarks of the packages
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-jobs: build ## no-op tasks, compared with machinery's Redis broker, asynq, River, BullMQ and Celery
	.ci/need redis-server:redis-server,redis-tools celery:celery,python3-celery,python3-redis node:nodejs npm:npm
	npm ci --no-audit --no-fund --loglevel error --prefix bench/peers/bullmq
	cd bench/peers && $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 12m -v . -args $(BENCH_OUT)

bench-uploads: ## large, small and slow uploads, compared with nginx, tusd, Caddy and Tornado
	.ci/need nginx:nginx sha256sum:coreutils /usr/lib/python3/dist-packages/tornado:python3-tornado
	$(GO) run ./bench/uploads $(BENCH_OUT)

bench-idle: $(CENTRIFUGO) ## memory of idle connections, compared with Centrifugo and others; make bench-idle SOCKETS=200000
	.ci/need /usr/bin/python3:python3 /usr/lib/python3/dist-packages/tornado:python3-tornado
	$(GO) run ./bench/idle $(if $(SOCKETS),-sockets $(SOCKETS)) $(BENCH_OUT)

docs: ## generate docs/reference/configuration.md from the flags
	$(GO) run ./app/internal/reference > docs/reference/configuration.md.new
	mv docs/reference/configuration.md.new docs/reference/configuration.md

dist: ## build reproducible archives for linux/amd64 and linux/arm64, and the Python wheel, in dist/
	.ci/need python3:python3
	$(GO) run ./app/internal/dist

rename-module: ## change the module path: make rename-module MODULE=example.com/you/gale
	@[ -n "$(MODULE)" ] || { echo "usage: make rename-module MODULE=example.com/you/gale" >&2; exit 2; }
	old=$$($(GO) list -m) && git grep -lF "$$old" | xargs sed -i "s#$$old#$(MODULE)#g"
	gofmt -w $$(git ls-files '*.go')

clean: ## remove build results
	rm -rf bin dist
