//go:build e2e

package trace_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// span is a span as the Collector has received it.
type span struct {
	TraceID      string `json:"traceId"`
	SpanID       string `json:"spanId"`
	ParentSpanID string `json:"parentSpanId"`
	Name         string
	Kind         int
	Status       struct {
		Code    int
		Message string
	}
	Attributes []attribute
	Events     []struct {
		Name       string
		Attributes []attribute
	}

	slot string // of the process
}

// Values of span.Kind and span.Status.Code, see opentelemetry/proto/trace/v1/trace.proto.
const (
	kindServer   = 2
	kindProducer = 4
	kindConsumer = 5
	statusError  = 2
)

type attribute struct {
	Key   string
	Value struct{ StringValue, IntValue string }
}

func valueOf(all []attribute, key string) string {
	for _, a := range all {
		if a.Key == key {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

func (s span) attribute(key string) string { return valueOf(s.Attributes, key) }

// collector is a running Collector.
type collector struct {
	url  string // value of -trace
	file string // what it has received
}

// buildCollector builds the Collector and returns its path.
func buildCollector(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "collector")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir, cmd.Env = "test/collector", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the collector: %v\n%s", err, out)
	}
	return path
}

// startCollector starts a Collector until the test ends.
func startCollector(t *testing.T, program string) collector {
	t.Helper()
	address := "127.0.0.1:" + harness.FreePort(t)
	c := collector{url: "otlp://" + address, file: filepath.Join(t.TempDir(), "spans")}
	out, err := os.Create(c.file)
	if err != nil {
		t.Fatal(err)
	}
	log := &testutil.LogBuffer{}
	cmd := exec.Command(program, address)
	cmd.Stdout, cmd.Stderr = out, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("collector: %v\n%s", err, log)
		}
		_ = out.Close()
	})
	log.Await(t, "receiving spans")
	return c
}

// spans returns all spans received so far.
func (c collector) spans(t *testing.T) (all []span) {
	t.Helper()
	text, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // the Collector is writing it
		}
		var batch struct {
			ResourceSpans []struct {
				Resource   struct{ Attributes []attribute }
				ScopeSpans []struct{ Spans []span }
			}
		}
		if err := json.Unmarshal(line, &batch); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, r := range batch.ResourceSpans {
			for _, scope := range r.ScopeSpans {
				for _, s := range scope.Spans {
					s.slot = valueOf(r.Resource.Attributes, "gale.slot")
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// await waits until the Collector has a span for which match is true, and returns it.
func (c collector) await(t *testing.T, what string, match func(span) bool) (found span) {
	t.Helper()
	testutil.Eventually(t, "the collector has "+what, func() bool {
		all := c.spans(t)
		i := slices.IndexFunc(all, match)
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

// path returns the names of a span and of those above it, the root first. All of them must
// have arrived.
func (c collector) path(t *testing.T, s span) (names []string) {
	t.Helper()
	for s := s; ; {
		names = append(names, s.Name)
		if s.ParentSpanID == "" {
			slices.Reverse(names)
			return names
		}
		trace, id := s.TraceID, s.ParentSpanID
		s = c.await(t, "the span above "+strings.Join(names, ", "), func(other span) bool { return other.TraceID == trace && other.SpanID == id })
	}
}

func ended(name string) func(span) bool {
	return func(s span) bool { return s.Name == name && s.attribute("gale.task.outcome") != "" }
}
