package console

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const metricsPage = `# TYPE gale_http_requests_total counter
gale_http_requests_total{code="200",method="GET",slot="serve.0"} 10
gale_http_requests_total{code="503",method="GET",slot="serve.0"} 2
gale_http_requests_total{code="404",method="GET",slot="serve.0"} 5
gale_http_requests_total{code="500",method="POST",slot="serve.0"} 1
gale_http_requests_total{code="other",method="POST",slot="serve.1"} 4
# TYPE gale_http_request_duration_seconds histogram
gale_http_request_duration_seconds_bucket{slot="serve.0",le="0.001"} 5
gale_http_request_duration_seconds_bucket{slot="serve.0",le="0.5"} 12
gale_http_request_duration_seconds_bucket{slot="serve.0",le="+Inf"} 13
gale_http_request_duration_seconds_sum{slot="serve.0"} 3.5
gale_http_request_duration_seconds_count{slot="serve.0"} 13
# TYPE gale_pool_running gauge
gale_pool_running{pool="blocking",slot="serve.0"} 3
# TYPE gale_pool_workers gauge
gale_pool_workers{pool="blocking",slot="serve.0"} 20
# TYPE process_start_time_seconds gauge
process_start_time_seconds{slot="serve.0"} 1.7e+09
# TYPE gale_broadcast_clients gauge
gale_broadcast_clients{slot="serve.0"} 3
gale_broadcast_clients{slot="serve.1"} 4
`

func TestFiguresOfSlots(t *testing.T) {
	f := processesFrame{Figures: map[string]*figures{}}
	if err := f.parse([]byte(metricsPage)); err != nil {
		t.Fatal(err)
	}
	s := f.Figures["serve.0"]
	if s.Requests != 18 || s.Errors != 3 || s.Started != 1.7e9 || s.Pools["blocking"] != (poolLevel{Running: 3, Workers: 20}) {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(f.Bounds, []float64{.001, .5}) || !slices.Equal(s.Durations, []float64{5, 12, 13}) {
		t.Errorf("%v %v", f.Bounds, s.Durations)
	}
	if other := f.Figures["serve.1"]; other.Requests != 4 || other.Errors != 0 {
		t.Errorf("%+v", other)
	}
	if f.Clients == nil || *f.Clients != 7 {
		t.Errorf("clients: %v", f.Clients)
	}
}

// Without the metric, the number of clients is unknown and not 0.
func TestUnknownNumberOfClients(t *testing.T) {
	f := processesFrame{Figures: map[string]*figures{}}
	if err := f.parse(nil); err != nil {
		t.Fatal(err)
	}
	if text := frame(f); strings.Contains(string(text), "clients") {
		t.Errorf("%s", text)
	}
}

func FuzzFigures(f *testing.F) {
	f.Add([]byte(metricsPage))
	f.Add([]byte(`gale_http_requests_total{slot="a",code="200"} NaN`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p := processesFrame{Type: "processes", Figures: map[string]*figures{}}
		_ = p.parse(text)
		if !json.Valid(frame(p)) {
			t.Errorf("%q gives the frame %q", text, frame(p))
		}
	})
}
