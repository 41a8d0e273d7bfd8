// Package otlptest is an OpenTelemetry Collector for tests: it receives spans by OTLP over
// HTTP with protobuf and keeps them.
package otlptest

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/galeserver/gale/internal/testutil"
)

// Span is a span that was received. Ids are in hexadecimal digits.
type Span struct {
	Name, TraceID, SpanID string
	ParentID              string // empty for a root
	Kind                  trace.Span_SpanKind
	Error                 bool   // the status is error
	Reason                string // text of the status
	Sampled               bool
	Attributes, Resource  map[string]string
	Links                 []string // span ids
}

// Receiver is a Collector. Set Status to refuse requests.
type Receiver struct {
	URL    string       // for -trace
	Status atomic.Int32 // status of responses; 0 is 200

	requests atomic.Int64
	mu       sync.Mutex
	spans    []Span
}

// New returns a Receiver that ends with the test.
func New(t testing.TB) *Receiver {
	r := new(Receiver)
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	r.URL = "otlp://" + strings.TrimPrefix(srv.URL, "http://")
	return r
}

// Requests returns the number of requests, those refused included.
func (r *Receiver) Requests() int64 { return r.requests.Load() }

// Spans returns the spans that were received, in this order.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Span(nil), r.spans...)
}

// Await waits for a span with a name and returns the first one.
func (r *Receiver) Await(t testing.TB, name string) (found Span) {
	t.Helper()
	testutil.Eventually(t, "there is a span "+name, func() bool {
		for _, s := range r.Spans() {
			if s.Name == name {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.requests.Add(1)
	if status := r.Status.Load(); status != 0 {
		w.WriteHeader(int(status))
		return
	}
	if request.Method != http.MethodPost || request.URL.Path != "/v1/traces" || request.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "not OTLP", http.StatusNotFound)
		return
	}
	if err := r.read(request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (r *Receiver) read(request *http.Request) (err error) {
	body := io.Reader(request.Body)
	if request.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return err
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var batch collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(data, &batch); err != nil {
		return fmt.Errorf("decode spans: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, each := range batch.GetResourceSpans() {
		resource := values(each.GetResource().GetAttributes())
		for _, scope := range each.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				r.spans = append(r.spans, spanOf(s, resource))
			}
		}
	}
	return nil
}

func spanOf(s *trace.Span, resource map[string]string) Span {
	got := Span{
		Name: s.GetName(), Kind: s.GetKind(), Resource: resource, Attributes: values(s.GetAttributes()),
		TraceID: hex.EncodeToString(s.GetTraceId()), SpanID: hex.EncodeToString(s.GetSpanId()), ParentID: hex.EncodeToString(s.GetParentSpanId()),
		Error: s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR, Reason: s.GetStatus().GetMessage(), Sampled: s.GetFlags()&1 == 1,
	}
	for _, l := range s.GetLinks() {
		got.Links = append(got.Links, hex.EncodeToString(l.GetSpanId()))
	}
	return got
}

// values returns attributes as texts.
func values(all []*common.KeyValue) map[string]string {
	texts := make(map[string]string, len(all))
	for _, a := range all {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			texts[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			texts[a.GetKey()] = fmt.Sprint(v.IntValue)
		default:
			texts[a.GetKey()] = a.GetValue().String()
		}
	}
	return texts
}
