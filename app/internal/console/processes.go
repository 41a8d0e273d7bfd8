package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// processesFrame is what the master knows of its slots.
type processesFrame struct {
	Type string `json:"type"` // processes
	// At is when it was asked, in milliseconds since 1970: rates are made of two
	// frames, and their distance is not always a second.
	At    int64 `json:"at"`
	Login bool  `json:"login"`
	// Description says that the page links the OpenAPI description of the server.
	Description bool   `json:"description"`
	Problem     string `json:"problem,omitempty"`
	// Status is the answer of /status as it is.
	Status json.RawMessage `json:"status,omitempty"`
	// Bounds are the upper ends of the classes of durations, in seconds.
	Bounds  []float64           `json:"bounds"`
	Figures map[string]*figures `json:"figures"` // by slot
	// Clients is how many clients /broadcast has in all processes; absent if it is
	// not known.
	Clients *float64 `json:"clients,omitempty"`
}

// figures are those of a slot on /metrics that the page plots. Counters are as
// they are there: they never fall, and the page makes rates of them.
type figures struct {
	Requests  float64              `json:"requests"`
	Errors    float64              `json:"errors"`    // requests that were answered 5xx
	Durations []float64            `json:"durations"` // requests within each of Bounds, and all
	Started   float64              `json:"started"`   // of its process, seconds since 1970
	Pools     map[string]poolLevel `json:"pools"`
}

type poolLevel struct {
	Running float64 `json:"running"`
	Waiting float64 `json:"waiting"`
	Workers float64 `json:"workers"`
}

func (c *Console) processes(ctx context.Context) processesFrame {
	f := processesFrame{Type: "processes", At: time.Now().UnixMilli(), Login: c.opts.Login, Description: c.opts.Description, Bounds: []float64{}, Figures: map[string]*figures{}}
	if c.opts.Ask == nil {
		f.Problem = "there is no admin endpoint to be asked: see -admin"
		return f
	}
	status, err := c.ask(ctx, "/status")
	f.Status = status
	if err != nil {
		f.Problem = "the admin endpoint does not answer"
		c.opts.Logger.Debug("console: no answer from the master", "error", err)
		return f
	}
	text, err := c.ask(ctx, "/metrics")
	if err == nil {
		err = f.read(text)
	}
	if err != nil {
		f.Problem = "figures cannot be read from the admin endpoint"
		c.opts.Logger.Debug("console: no figures", "error", err)
	}
	return f
}

// ask fetches a page that must be answered 200.
func (c *Console) ask(ctx context.Context, page string) ([]byte, error) {
	code, body, err := c.opts.Ask(ctx, page)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%s is answered %d", page, code)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// read takes what is plotted out of a page in Prometheus' text format.
func (f *processesFrame) read(text []byte) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return err
	}
	each := func(name string, take func(s *figures, m *dto.Metric)) {
		for _, m := range families[name].GetMetric() {
			if slot := label(m, "slot"); slot != "" {
				take(f.of(slot), m)
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

// durations notes a histogram; all slots have the same bounds.
func (f *processesFrame) durations(s *figures, h *dto.Histogram) {
	bounds, upTo := []float64{}, []float64{}
	for _, b := range h.GetBucket() {
		if b.GetUpperBound() < 1e9 { // else it is +Inf, which JSON has no word for
			bounds = append(bounds, b.GetUpperBound())
			upTo = append(upTo, float64(b.GetCumulativeCount()))
		}
	}
	upTo = append(upTo, float64(h.GetSampleCount()))
	f.Bounds, s.Durations = bounds, upTo
}

func (f *processesFrame) of(slot string) *figures {
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
