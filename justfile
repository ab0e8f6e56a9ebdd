# Recipes of agentctl. `./justw RECIPE` runs them without an installed just.

set shell := ["bash", "-euo", "pipefail", "-c"]

golangci := "v2.15.0"
tools := justfile_directory() / ".cache" / "bin"
version := env("AGENTCTL_VERSION", `git describe --tags --always --dirty 2>/dev/null || echo dev`)

sdk := "2.1.12"
peer := "3.0.3"
just := quote(just_executable()) + " --justfile " + quote(justfile())
gofiles := "$(git ls-files --cached --others --exclude-standard -- '*.go')"

# The version comes by ldflags; stamping by git fails in a folder of another owner.

export GOFLAGS := env("GOFLAGS", "-buildvcs=false")
export AGENTCTL_SDK_VENV := env("AGENTCTL_SDK_VENV", justfile_directory() / ".cache" / "sdk-" + sdk)

[doc("List the recipes")]
default:
    @{{ just }} --list --unsorted

[doc("Check for Go, Python, git, gcc and libseccomp; install what lacks with apt (as root)")]
setup:
    @bash test/setup/setup.sh

[doc("Build bin/agentctl, the shim inside it")]
build: setup
    @bash test/setup/build.sh '{{ version }}'

[doc("Run two tasks through a declared node, with the real clearml SDK")]
quickstart node="node.yaml": build
    @bash examples/quickstart/run.sh {{ quote(node) }}

[doc("Run bin/agentctl with arguments, freshly built")]
run *args: build
    @bin/agentctl {{ args }}

[doc("Format the Go files and this justfile")]
fmt: setup
    @gofmt -w {{ gofiles }}
    @{{ just }} --fmt --unstable

[doc("Fail if `fmt` would change something")]
fmt-check: setup
    @files=$(gofmt -l {{ gofiles }}); [ -z "$files" ] || { echo "not formatted, run just fmt:"; echo "$files"; exit 1; }
    @{{ just }} --fmt --check --unstable

[doc("Lint with golangci-lint (the first time it is built, some minutes)")]
lint: setup _golangci
    @'{{ tools }}/golangci-lint-{{ golangci }}' run ./...

[doc("Run all tests, with the race detector and shuffled")]
test *args: build _sdk _vm
    @go run ./test/gotest {{ args }}

[doc("Put the ClearML server at a URL under the conformance suite (keys: CLEARML_API_ACCESS_KEY, CLEARML_API_SECRET_KEY; files: CLEARML_FILES_HOST)")]
conformance url: setup
    @AGENTCTL_CONFORMANCE_URL={{ quote(url) }} go test -count=1 -v ./test/conformance

[doc("Run tests of sandboxes on a kernel with cgroup v2, in user-mode Linux")]
test-vm: build _vm
    @go test -count=1 -v ./test/vm

[doc("Run the tests with those that take long, three times each")]
test-long *args: build _sdk
    @go run ./test/gotest -tags long -count 3 -timeout 60m {{ args }}

[doc("Fuzz every fuzz test for a time each")]
fuzz time="30s": setup
    @bash test/setup/fuzz.sh '{{ time }}'

[doc("Measure agentctl beside clearml-agent, one after the other, as a ratio")]
bench *args: build _sdk
    @bash test/bench/bench.sh {{ args }}

[doc("Measure how environments are built and handed over, beside pip, uv, poetry and clearml-agent")]
bench-env *args: build
    @go run ./test/bench/env {{ args }}

[doc("Measure what building the next task's environment costs running tasks (goal: 5 %)")]
bench-ahead *args: build
    @go test -v -count=1 -tags bench -run TestAhead ./test/bench -args {{ args }}

[doc("Measure the embedded server; -tasks 100000 -lines 10000000 -plot FILE: on a large store too")]
bench-server *args: setup
    @go run ./test/bench/server {{ args }}

[doc("Measure from an edit of node.yaml to its plan carried out, and planning alone")]
bench-reconcile *args: build
    @go test -v -count=1 -timeout 30m -tags bench -run TestReconcile ./test/bench -args {{ args }}
    @go test -count=1 -run '^$' -bench Compute -benchmem ./reconcile

[doc("Measure sandboxes and images beside runc, crun, bubblewrap, podman and docker, and tasks in them from end to end")]
bench-sandbox *args: build
    @go test -v -count=1 -timeout 30m -tags bench -run 'TestSandboxStart|TestImagePull' ./test/bench/box -args {{ args }}
    @go test -v -count=1 -tags bench -run TestSandboxes ./test/bench

[doc("Rewrite the golden files of the tests; look at the diff after it")]
golden: build
    @bash test/setup/golden.sh
    @git diff --stat

[doc("Generate what is generated (JSON schema, references)")]
gen: setup
    @go generate ./...

[doc("What a change must pass: format, vet, import directions, all tests")]
check: fmt-check build
    @go vet ./...
    @go test -count=1 ./internal/archtest
    @{{ just }} test

[doc("Remove what was built and every cache of this folder")]
clean:
    @rm -rf bin .cache

# Built by Go from source: no download of a prebuilt program.
_golangci:
    @[ -x '{{ tools }}/golangci-lint-{{ golangci }}' ] || { echo 'building golangci-lint {{ golangci }} …' >&2; mkdir -p '{{ tools }}'; GOBIN='{{ tools }}' go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@{{ golangci }}; mv '{{ tools }}/golangci-lint' '{{ tools }}/golangci-lint-{{ golangci }}'; }

_vm:
    @bash test/setup/vm.sh

_sdk:
    @bash test/setup/sdk.sh {{ sdk }} "$AGENTCTL_SDK_VENV"
    @bash test/setup/sdk.sh {{ peer }} "$(dirname "$AGENTCTL_SDK_VENV")/clearml-agent-{{ peer }}" clearml-agent
