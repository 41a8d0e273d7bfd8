package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// processesFrame holds the state and the metrics of the slots.
type processesFrame struct {
	Type string `json:"type"` // processes
	// At is the time of the state in Unix milliseconds. The page computes rates from two
	// frames, whose distance varies.
	At    int64 `json:"at"`
	Login bool  `json:"login"`
	// Description is true if the page links the OpenAPI description of the server.
	Description bool `json:"description"`
	// TraceLink is the URL of a trace, with {id} for the trace id.
	TraceLink string `json:"trace_link,omitempty"`
	Problem   string `json:"problem,omitempty"`
	// Status is the body of /status.
	Status json.RawMessage `json:"status,omitempty"`
	// Bounds are the upper bounds of the buckets of durations, in seconds.
	Bounds  []float64           `json:"bounds"`
	Figures map[string]*figures `json:"figures"` // by slot
	// Clients is the number of clients of /broadcast in all processes; nil if unknown.
	Clients *float64 `json:"clients,omitempty"`
}

// figures are the metrics of a slot that the page plots. Counters never decrease; the page
// computes rates from them.
type figures struct {
	Requests  float64              `json:"requests"`
	Errors    float64              `json:"errors"`    // responses with a 5xx status
	Durations []float64            `json:"durations"` // cumulative counts for each of Bounds, and the total
	Started   float64              `json:"started"`   // start time of the process, Unix seconds
	Pools     map[string]poolLevel `json:"pools"`
}

type poolLevel struct {
	Running float64 `json:"running"`
	Waiting float64 `json:"waiting"`
	Workers float64 `json:"workers"`
}

// plottedPage has the metrics that parse reads, and no others.
var plottedPage = "/metrics?" + url.Values{"name[]": {
	"gale_http_requests_total", "gale_http_request_duration_seconds", "process_start_time_seconds",
	"gale_pool_running", "gale_pool_waiting", "gale_pool_workers", "gale_broadcast_clients",
}}.Encode()

func (c *Console) processes(ctx context.Context) processesFrame {
	f := processesFrame{Type: "processes", At: time.Now().UnixMilli(), Login: c.opts.Login, Description: c.opts.Description, TraceLink: c.opts.TraceLink, Bounds: []float64{}, Figures: map[string]*figures{}}
	if c.opts.GetAdmin == nil {
		f.Problem = "the admin endpoint is off; set -admin to see processes and plots"
		return f
	}
	status, err := c.getAdmin(ctx, "/status")
	f.Status = status
	if err != nil {
		f.Problem = "the admin endpoint does not respond; check -admin"
		c.opts.Logger.Debug("console: cannot read the admin endpoint", "error", err)
		return f
	}
	text, err := c.getAdmin(ctx, plottedPage)
	if err == nil {
		err = f.parse(text)
	}
	if err != nil {
		f.Problem = "metrics cannot be read from the admin endpoint"
		c.opts.Logger.Debug("console: cannot read metrics", "error", err)
	}
	return f
}

// getAdmin requests a page of the admin endpoint. A status other than 200 is an error.
func (c *Console) getAdmin(ctx context.Context, page string) ([]byte, error) {
	code, body, err := c.opts.GetAdmin(ctx, page)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%s returned status %d", page, code)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// parse reads the plotted metrics from a page in Prometheus' text format.
func (f *processesFrame) parse(text []byte) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return err
	}
	each := func(name string, take func(s *figures, m *dto.Metric)) {
		for _, m := range families[name].GetMetric() {
			if slot := label(m, "slot"); slot != "" {
				take(f.slot(slot), m)
			}
		}
	}
	each("gale_http_requests_total", func(s *figures, m *dto.Metric) {
		s.Requests += m.GetCounter().GetValue()
		if code, _ := strconv.Atoi(label(m, "code")); code >= 500 {
			s.Errors += m.GetCounter().GetValue()
		}
	})
	each("gale_http_request_duration_seconds", func(s *figures, m *dto.Metric) { f.durations(s, m.GetHistogram()) })
	each("process_start_time_seconds", func(s *figures, m *dto.Metric) { s.Started = m.GetGauge().GetValue() })
	for name, set := range map[string]func(*poolLevel, float64){
		"gale_pool_running": func(p *poolLevel, v float64) { p.Running = v },
		"gale_pool_waiting": func(p *poolLevel, v float64) { p.Waiting = v },
		"gale_pool_workers": func(p *poolLevel, v float64) { p.Workers = v },
	} {
		each(name, func(s *figures, m *dto.Metric) {
			level := s.Pools[label(m, "pool")]
			set(&level, m.GetGauge().GetValue())
			s.Pools[label(m, "pool")] = level
		})
	}
	if serving := families["gale_broadcast_clients"].GetMetric(); len(serving) > 0 {
		clients := 0.0
		for _, m := range serving {
			clients += m.GetGauge().GetValue()
		}
		f.Clients = &clients
	}
	return nil
}

// durations stores a histogram. All slots have the same bounds.
func (f *processesFrame) durations(s *figures, h *dto.Histogram) {
	bounds, upTo := []float64{}, []float64{}
	for _, b := range h.GetBucket() {
		if b.GetUpperBound() < 1e9 { // JSON cannot represent the bound +Inf
			bounds = append(bounds, b.GetUpperBound())
			upTo = append(upTo, float64(b.GetCumulativeCount()))
		}
	}
	upTo = append(upTo, float64(h.GetSampleCount()))
	f.Bounds, s.Durations = bounds, upTo
}

func (f *processesFrame) slot(slot string) *figures {
	if f.Figures[slot] == nil {
		f.Figures[slot] = &figures{Durations: []float64{}, Pools: map[string]poolLevel{}}
	}
	return f.Figures[slot]
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
